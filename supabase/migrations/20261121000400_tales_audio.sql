-- Audio: objects of bytes, the segment store, manifests and finished files. Bytes are in object stores; each object is
-- noted here before its first byte.

-- Notes new objects.
create function tales.note_objects(p_kind text, p_object_ids uuid[], p_now timestamptz default null) returns void
  language sql
as $$
  insert into tales.objects (object_id, kind, changed_at)
    select object_id, p_kind, coalesce(p_now, clock_timestamp()) from unnest(p_object_ids) as given (object_id)
    on conflict do nothing
$$;

-- Marks objects ([{kind, object_id}]) DELETED that no record refers to; of all that are given those that are DELETED
-- now.
create function tales.mark_deleted(p_objects jsonb, p_now timestamptz default null) returns jsonb
  language plpgsql
as $$
begin
  insert into tales.objects (object_id, kind, state, changed_at)
    select object_id, kind, 'DELETED', coalesce(p_now, clock_timestamp())
    from jsonb_to_recordset(p_objects) as given (object_id uuid, kind text)
    order by object_id
    on conflict (object_id) do update set state = 'DELETED', changed_at = excluded.changed_at
      where objects.state = 'NOTED';
  return (
    select coalesce(jsonb_agg(jsonb_build_object('kind', kind, 'object_id', object_id)), '[]') from tales.objects
    where state = 'DELETED'
      and object_id in (select (one ->> 'object_id')::uuid from jsonb_array_elements(p_objects) as given (one))
  );
end
$$;

-- At most `p_most` objects whose bytes are to be removed, by their id, behind `p_after`. A note older than `p_grace_us`
-- is DELETED first, so that its writer, should it come back, is refused.
create function tales.take_deleted(
  p_grace_us bigint, p_most integer, p_after uuid default null, p_now timestamptz default null
) returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_found jsonb;
begin
  with stale as (
    select object_id from tales.objects
    where state <> 'STORED' and state = 'NOTED' and changed_at < v_now - p_grace_us * interval '1 microsecond'
    order by changed_at, object_id
    limit p_most
    for update skip locked
  )
  update tales.objects o set state = 'DELETED' from stale where o.object_id = stale.object_id;
  select coalesce(jsonb_agg(jsonb_build_object('kind', kind, 'object_id', object_id)), '[]') into v_found from (
    select kind, object_id from tales.objects
    where state <> 'STORED' and state = 'DELETED' and (p_after is null or object_id > p_after)
    order by object_id
    limit p_most
  ) as page;
  return v_found;
end
$$;

-- Removes the notes of objects whose bytes are gone.
create function tales.remove_notes(p_object_ids uuid[]) returns void
  language sql
as $$
  delete from tales.objects where object_id = any (p_object_ids) and state = 'DELETED'
$$;

-- Makes a noted object STORED; refuses one that is not noted any more: its bytes may be gone.
create function tales.mark_stored(p_object_id uuid) returns void
  language plpgsql
as $$
begin
  update tales.objects set state = 'STORED', changed_at = tales.now()
    where object_id = p_object_id and state = 'NOTED';
  if not found then
    perform tales.refuse('STORAGE_CONFLICT');
  end if;
end
$$;

-- Marks objects DELETED that no record refers to any more: [{kind, object_id}].
create function tales.drop_objects(p_object_ids uuid[]) returns jsonb
  language sql
as $$
  with dropped as (
    update tales.objects set state = 'DELETED', changed_at = tales.now()
    where object_id = any (p_object_ids) and state <> 'DELETED'
    returning kind, object_id
  )
  select coalesce(jsonb_agg(jsonb_build_object('kind', kind, 'object_id', object_id)), '[]') from dropped
$$;

-- Adds to the bytes of all segments; the sum. Last in its transaction: others wait for this row.
create function tales.add_to_total(p_bytes bigint) returns bigint
  language sql
as $$
  insert into tales.segment_total (size_bytes) values (greatest(p_bytes, 0))
    on conflict (only_row) do update set size_bytes = segment_total.size_bytes + p_bytes
    returning size_bytes
$$;

-- Notes which stories use which segments, [{key, story_id}], and that these are used now; what is not there is passed
-- over. Stories before segments, each in order of their keys: one order for all transactions.
create function tales.use_segments(p_uses jsonb) returns void
  language plpgsql
as $$
declare
  v_stories uuid[];
  v_keys text[];
begin
  v_stories := array(
    select id from tales.stories
    where id in (select (one ->> 'story_id')::uuid from jsonb_array_elements(p_uses) as given (one))
    order by id
    for key share
  );
  v_keys := array(
    select key from tales.segments
    where key in (select one ->> 'key' from jsonb_array_elements(p_uses) as given (one))
    order by key
    for key share
  );
  insert into tales.segment_uses (story_id, key)
    select distinct story_id, key from jsonb_to_recordset(p_uses) as given (story_id uuid, key text)
    where story_id = any (v_stories) and key = any (v_keys)
    order by key, story_id
    on conflict do nothing;
  -- To the minute: a hit that writes nothing costs less, and one that another call is at is marked by that one.
  with idle as (
    select key from tales.segments
    where key = any (v_keys) and last_used_at < tales.now() - interval '1 minute'
    for no key update skip locked
  )
  update tales.segments s set last_used_at = tales.now() from idle where s.key = idle.key;
end
$$;

-- Of segments that are looked for ([{key, story_id}], the story may be null) those that are stored, in base64.
create function tales.find_segments(p_lookups jsonb, p_now timestamptz default null) returns jsonb
  language plpgsql
as $$
declare
  v_hits jsonb;
  v_found jsonb;
begin
  perform tales.begin_call(p_now);
  select jsonb_agg(one) into v_hits from jsonb_array_elements(p_lookups) as given (one)
    where exists (select from tales.segments where key = one ->> 'key');
  if v_hits is null then
    return '[]';
  end if;
  perform tales.use_segments(v_hits);
  select coalesce(jsonb_agg(tales.to_base64(segment)), '[]') into v_found from tales.segments
    where key in (select one ->> 'key' from jsonb_array_elements(v_hits) as given (one));
  return v_found;
end
$$;

-- Stores a segment {key, object_id, size_bytes, sha256, segment} unless one is there under its key, and notes that a
-- story (or null) uses it; {segment, created, stored_bytes}.
create function tales.add_segment(p_segment jsonb, p_story_id uuid, p_now timestamptz default null) returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_key text := p_segment ->> 'key';
  v_object_id uuid := p_segment ->> 'object_id';
  v_size bigint := p_segment ->> 'size_bytes';
  v_stored tales.segments;
  v_added bigint := 0;
  v_reason text;
begin
  if p_story_id is not null then
    perform from tales.stories where id = p_story_id for key share;
    if not found then
      perform tales.refuse('STORY_NOT_FOUND');
    end if;
  end if;
  loop
    select * into v_stored from tales.segments where key = v_key for key share;
    exit when found;
    perform tales.mark_stored(v_object_id);
    insert into tales.segments (key, object_id, size_bytes, sha256, segment, last_used_at)
      values (
        v_key, v_object_id, v_size, tales.to_bytes(p_segment ->> 'sha256'), tales.to_bytes(p_segment ->> 'segment'),
        v_now
      )
      on conflict (key) do nothing
      returning * into v_stored;
    if found then
      v_added := v_size;
      exit;
    end if;
    -- Another call was first, and its segment may be evicted by now.
    update tales.objects set state = 'NOTED' where object_id = v_object_id;
  end loop;
  if v_stored.object_id <> v_object_id then
    update tales.objects set state = 'DELETED', changed_at = v_now
      where object_id = v_object_id and state = 'NOTED';
  end if;
  if p_story_id is not null then
    insert into tales.segment_uses (story_id, key) values (p_story_id, v_key) on conflict do nothing;
  end if;
  return jsonb_build_object(
    'segment', tales.to_base64(v_stored.segment),
    'created', v_stored.object_id = v_object_id,
    'stored_bytes', tales.add_to_total(v_added)
  );
exception when sqlstate 'TALES' then
  get stacked diagnostics v_reason = message_text;
  return jsonb_build_object('refused', v_reason);
end
$$;

-- A segment and its object: {segment, object_id}, or {} where it is not stored.
create function tales.get_segment(p_key text) returns jsonb
  language sql stable
as $$
  select coalesce(
    (
      select jsonb_build_object('segment', tales.to_base64(segment), 'object_id', object_id)
      from tales.segments where key = p_key
    ), '{}'
  )
$$;

-- Removes a segment whose bytes are lost; false where it has another object by now.
create function tales.drop_segment(p_key text, p_object_id uuid, p_now timestamptz default null) returns boolean
  language plpgsql
as $$
declare
  v_size bigint;
begin
  perform tales.begin_call(p_now);
  delete from tales.segments where key = p_key and object_id = p_object_id returning size_bytes into v_size;
  if found then
    perform tales.drop_objects(array[p_object_id]);
    perform tales.add_to_total(-v_size);
  end if;
  return v_size is not null;
end
$$;

-- Removes at most `p_most` segments that no unfinished story uses, least recently used first, until all together have
-- at most `p_down_to` bytes; {dropped, stored_bytes}. What other calls are at is passed over, so this waits for none.
create function tales.evict_segments(p_down_to bigint, p_most integer, p_now timestamptz default null) returns jsonb
  language plpgsql
as $$
declare
  v_total bigint;
  v_left bigint;
  v_one record;
  v_object_ids uuid[] := '{}';
begin
  perform tales.begin_call(p_now);
  -- One call evicts at a time.
  select size_bytes into v_total from tales.segment_total for update;
  v_left := coalesce(v_total, 0);
  if v_left > p_down_to then
    for v_one in
      select key, object_id, size_bytes from tales.segments g
      where not exists (
        select from tales.segment_uses u join tales.stories s on s.id = u.story_id
        where u.key = g.key and s.ended_at is null
      )
      order by last_used_at, key
      limit p_most
      for update skip locked
    loop
      exit when v_left <= p_down_to;
      -- Once more, now that it is locked: a story may have begun to use it.
      delete from tales.segments where key = v_one.key and not exists (
        select from tales.segment_uses u join tales.stories s on s.id = u.story_id
        where u.key = v_one.key and s.ended_at is null
      );
      if found then
        v_left := v_left - v_one.size_bytes;
        v_object_ids := v_object_ids || v_one.object_id;
      end if;
    end loop;
    perform tales.add_to_total(v_left - v_total);
  end if;
  return jsonb_build_object('dropped', tales.drop_objects(v_object_ids), 'stored_bytes', v_left);
end
$$;

-- The pieces of a manifest, in order: [{key, sha256, audio_end, object_id}]; the last one null where the segment store
-- does not have those bytes any more.
create function tales.parts_of(p_story_id uuid, p_audio_id uuid, p_count integer) returns jsonb
  language sql stable
as $$
  select coalesce(
    jsonb_agg(
      jsonb_build_object(
        'key', m.key, 'sha256', tales.to_base64(m.sha256), 'audio_end', m.audio_end, 'object_id', g.object_id
      ) order by m.position
    ), '[]'
  )
  from tales.story_segments m
  left join tales.segments g on g.key = m.key and g.sha256 = m.sha256
  where m.story_id = p_story_id and m.audio_id = p_audio_id and m.position < p_count
$$;

-- The finished audio of a story, {audio, object_id}, unless it is another than `p_audio_id`; null then.
create function tales.finished_audio(p_story_id uuid, p_audio_id uuid) returns jsonb
  language sql stable
as $$
  select jsonb_build_object('audio', tales.to_base64(audio), 'object_id', object_id)
  from tales.story_audio where story_id = p_story_id and audio_id = coalesce(p_audio_id, audio_id)
$$;

-- A narration to compose: what `finished_audio` returns where it is finished, or else {header, segments, parts,
-- content_length, content_complete}.
create function tales.load_manifest(p_story_id uuid, p_lease_token bigint, p_audio_id uuid) returns jsonb
  language plpgsql stable
as $$
declare
  v_story tales.stories;
  v_refused text;
  v_finished jsonb;
begin
  select * into v_story from tales.stories where id = p_story_id;
  if not found then
    return jsonb_build_object('refused', 'STORY_NOT_FOUND');
  end if;
  v_refused := tales.lease_refusal(v_story, p_lease_token);
  if v_story.lease_token = p_lease_token then
    v_finished := tales.finished_audio(p_story_id, p_audio_id);
    if v_finished is not null then
      return v_finished;
    end if;
  end if;
  if v_refused is null and v_story.narration_audio_id is distinct from p_audio_id then
    v_refused := 'OTHER_NARRATION';
  end if;
  if v_refused is not null then
    return jsonb_build_object('refused', v_refused);
  end if;
  return jsonb_build_object(
    'header', tales.to_base64(v_story.narration),
    'segments', tales.segments_of(p_story_id, p_audio_id, v_story.segment_count),
    'parts', tales.parts_of(p_story_id, p_audio_id, v_story.segment_count),
    'content_length', v_story.content_length,
    'content_complete', v_story.content_complete
  );
end
$$;

-- Stores the audio of a story, in place of what was there; its noted object becomes STORED.
create function tales.store_audio(p_story_id uuid, p_audio jsonb, p_segment_count integer) returns void
  language plpgsql
as $$
begin
  perform tales.mark_stored((p_audio ->> 'object_id')::uuid);
  insert into tales.story_audio (
      story_id, audio_id, object_id, sha256, size_bytes, content_type, duration_us, segment_count, audio
    ) values (
      p_story_id, (p_audio ->> 'audio_id')::uuid, (p_audio ->> 'object_id')::uuid,
      tales.to_bytes(p_audio ->> 'sha256'), (p_audio ->> 'size_bytes')::bigint, p_audio ->> 'content_type',
      (p_audio ->> 'duration_us')::bigint, p_segment_count, tales.to_bytes(p_audio ->> 'audio')
    )
    on conflict (story_id) do update set
      audio_id = excluded.audio_id, object_id = excluded.object_id, sha256 = excluded.sha256,
      size_bytes = excluded.size_bytes, content_type = excluded.content_type, duration_us = excluded.duration_us,
      segment_count = excluded.segment_count, audio = excluded.audio;
end
$$;

-- Makes `p_audio` {audio_id, object_id, sha256, size_bytes, content_type, duration_us, audio} the audio of a story;
-- {audio, dropped}: the audio as stored, and the objects that nothing refers to any more.
create function tales.attach_audio(
  p_story_id uuid, p_lease_token bigint, p_audio jsonb, p_now timestamptz default null
) returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_story tales.stories;
  v_old tales.story_audio;
  v_audio_id uuid := p_audio ->> 'audio_id';
  v_object_id uuid := p_audio ->> 'object_id';
  v_reason text;
begin
  select * into v_story from tales.stories where id = p_story_id for no key update;
  if not found then
    perform tales.refuse('STORY_NOT_FOUND');
  end if;
  select * into v_old from tales.story_audio where story_id = p_story_id;
  if v_old.audio_id = v_audio_id and v_story.lease_token = p_lease_token then
    return jsonb_build_object(
      'audio', tales.to_base64(v_old.audio),
      'dropped', tales.drop_objects(array_remove(array[v_object_id], v_old.object_id))
    );
  end if;
  if tales.lease_refusal(v_story, p_lease_token) is not null then
    perform tales.refuse(tales.lease_refusal(v_story, p_lease_token));
  end if;
  perform tales.store_audio(
    p_story_id, p_audio, case when v_story.narration_audio_id = v_audio_id then v_story.segment_count else 0 end
  );
  delete from tales.story_segments
    where story_id = p_story_id and audio_id <> v_audio_id and audio_id is distinct from v_story.narration_audio_id;
  update tales.stories set updated_at = v_now where id = p_story_id;
  return jsonb_build_object(
    'audio', p_audio ->> 'audio', 'dropped', tales.drop_objects(array_remove(array[v_old.object_id], null))
  );
exception when sqlstate 'TALES' then
  get stacked diagnostics v_reason = message_text;
  return jsonb_build_object('refused', v_reason);
end
$$;

-- The audio of a story: what `finished_audio` returns, or of the narration in progress {header, last, parts}, `last`
-- being its last segment; {} where there is no audio `p_audio_id` (null: any).
create function tales.find_audio(p_owner text, p_story_id uuid, p_audio_id uuid) returns jsonb
  language plpgsql stable
as $$
declare
  v_story tales.stories;
  v_finished jsonb;
begin
  select * into v_story from tales.stories where id = p_story_id and owner = p_owner;
  if not found then
    return jsonb_build_object('refused', 'STORY_NOT_FOUND');
  end if;
  v_finished := tales.finished_audio(p_story_id, p_audio_id);
  if v_finished is not null then
    return v_finished;
  end if;
  if v_story.narration_audio_id is distinct from coalesce(p_audio_id, v_story.narration_audio_id)
    or v_story.narration_audio_id is null
  then
    return '{}';
  end if;
  return jsonb_build_object(
    'header', tales.to_base64(v_story.narration),
    'last', (
      select tales.to_base64(segment) from tales.story_segments
      where story_id = p_story_id and audio_id = v_story.narration_audio_id and position = v_story.segment_count - 1
    ),
    'parts', tales.parts_of(p_story_id, v_story.narration_audio_id, v_story.segment_count)
  );
end
$$;
