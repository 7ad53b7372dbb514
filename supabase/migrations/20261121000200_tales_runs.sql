-- Runs: leases, checkpoints, audio. These work across owners; a run writes with the token of its lease.

-- Takes the leases of at most `p_most` unfinished stories that nobody holds, oldest first; `p_story_ids` null: any.
-- Rows that another claimer is at are passed over, so no two claimers get the same.
create function tales.claim_stories(
  p_runner text, p_duration_us bigint, p_most integer, p_story_ids uuid[] default null, p_now timestamptz default null
) returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_claimed jsonb;
begin
  with free as (
    select id from tales.stories
    where state in ('PENDING', 'WRITING', 'NARRATING')
      and (lease_expires_at is null or lease_expires_at <= v_now)
      and (p_story_ids is null or id = any (p_story_ids))
    order by created_at, id
    limit p_most
    for update skip locked
  ), taken as (
    update tales.stories s set
      lease_token = s.lease_token + 1,
      lease_expires_at = v_now + p_duration_us * interval '1 microsecond',
      runner = p_runner,
      pickup_count = s.pickup_count + (s.started_at is not null and not s.handed_over)::integer,
      handed_over = false,
      started_at = coalesce(s.started_at, v_now)
    from free where s.id = free.id
    returning s.id, s.owner, s.lease_token, s.pickup_count, s.created_at
  )
  select coalesce(
    jsonb_agg(
      jsonb_build_object('id', id, 'owner', owner, 'lease_token', lease_token, 'pickup_count', pickup_count)
      order by created_at, id
    ), '[]'
  ) into v_claimed from taken;
  return v_claimed;
end
$$;

-- Gives leases back ([{id, lease_token}]) for others to take at once; how many were held with the token given.
create function tales.release_stories(p_leases jsonb) returns integer
  language plpgsql
as $$
declare
  v_released integer;
begin
  with given as (
    select s.id from tales.stories s
    join jsonb_to_recordset(p_leases) as g (id uuid, lease_token bigint)
      on g.id = s.id and g.lease_token = s.lease_token
    where s.lease_expires_at is not null
    order by s.id
    for update of s
  )
  update tales.stories s set lease_expires_at = null, runner = '', handed_over = true from given where s.id = given.id;
  get diagnostics v_released = row_count;
  return v_released;
end
$$;

-- Why a run with this token can not write to a story, null if it can. A lease whose time is over still holds while
-- nobody has claimed the story.
create function tales.lease_refusal(p_story tales.stories, p_lease_token bigint) returns text
  language sql immutable
  return case
    when p_story.lease_token <> p_lease_token then 'LEASE_LOST'
    when p_story.ended_at is not null then 'WRONG_STATE'
    when p_story.lease_expires_at is null then 'LEASE_LOST'
  end;

-- Keeps what runs have made, all in one transaction; one verdict for each item, in order: {id, refused, message,
-- lease_expires_at}. An item is {id, lease_token} and, of what is new, state, title, text {offset, text},
-- content_complete, generation {record}, narration {audio_id, header}, segments [{index, sha256, segment}], attempts,
-- problems, embedded_parts. What is kept already and agrees is passed over, so a batch can be repeated.
create function tales.checkpoint_stories(p_lease_us bigint, p_items jsonb, p_now timestamptz default null)
  returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_expires timestamptz := v_now + p_lease_us * interval '1 microsecond';
  v_item jsonb;
  v_verdicts jsonb := '[]';
begin
  -- In one order, so that two batches can not wait for each other.
  perform from tales.stories
    where id in (select (one ->> 'id')::uuid from jsonb_array_elements(p_items) as given (one))
    order by id
    for update;
  for v_item in select one from jsonb_array_elements(p_items) with ordinality as given (one, place) order by place loop
    v_verdicts := v_verdicts || tales.checkpoint_story(v_item, v_now, v_expires);
  end loop;
  return v_verdicts;
end
$$;

create function tales.checkpoint_refused(p_id uuid, p_reason text, p_message text) returns jsonb
  language sql immutable
  return jsonb_build_object('id', p_id, 'refused', p_reason, 'message', p_message);

-- One item of a batch; its row is locked.
create function tales.checkpoint_story(p_item jsonb, p_now timestamptz, p_expires timestamptz) returns jsonb
  language plpgsql
as $$
declare
  v_id uuid := p_item ->> 'id';
  v_token bigint := p_item ->> 'lease_token';
  v_story tales.stories;
  v_kept_audio_id uuid;
  v_refused text;
  v_text text := '';
  v_start integer;
  v_end integer;
  v_overlap integer;
  v_length integer;
  v_title text := '';
  v_audio_id uuid := p_item -> 'narration' ->> 'audio_id';
  v_begins boolean;
  v_kept_segments integer;
  v_segments jsonb[] := '{}';
  v_segment jsonb;
  v_index integer;
  v_sha256 bytea;
  v_complete boolean;
  v_state text;
  v_moved boolean;
  v_progress boolean;
begin
  select * into v_story from tales.stories where id = v_id;
  if not found then
    return tales.checkpoint_refused(v_id, 'STORY_NOT_FOUND', 'There is no story of that id.');
  end if;
  select audio_id into v_kept_audio_id from tales.story_audio where story_id = v_id;
  v_state := coalesce(p_item ->> 'state', v_story.state);
  v_moved := v_state <> v_story.state;

  -- The lease. The checkpoint that ended the story may come once more: its answer was lost.
  if v_story.ended_at is not null and p_item ->> 'state' = v_story.state then
    v_refused := case when v_token <> v_story.lease_token then 'LEASE_LOST' end;
  else
    v_refused := tales.lease_refusal(v_story, v_token);
  end if;
  if v_refused = 'LEASE_LOST' then
    return tales.checkpoint_refused(v_id, v_refused, 'The lease token is not the one that holds the story.');
  elsif v_refused is not null then
    return tales.checkpoint_refused(v_id, v_refused, 'The story has ended.');
  end if;

  -- The text.
  if p_item ? 'text' then
    v_length := char_length(v_story.content);
    v_start := (p_item -> 'text' ->> 'offset')::bigint;
    v_text := p_item -> 'text' ->> 'text';
    if v_start > v_length then
      return tales.checkpoint_refused(
        v_id, 'CHECKPOINT_CONFLICT', 'The text begins beyond the end of what is kept.'
      );
    end if;
    v_end := v_start + char_length(v_text);
    v_overlap := least(v_end, v_length) - v_start;
    if substr(v_story.content, v_start + 1, v_overlap) <> left(v_text, v_overlap) then
      return tales.checkpoint_refused(v_id, 'CHECKPOINT_CONFLICT', 'The text differs from what is kept.');
    end if;
    if v_end <= v_length then
      v_text := '';
    elsif v_story.content_complete then
      return tales.checkpoint_refused(v_id, 'CHECKPOINT_CONFLICT', 'The text is whole already.');
    elsif v_end > 65536 then
      return tales.checkpoint_refused(
        v_id, 'TEXT_TOO_LONG', 'The text would be longer than 65536 characters.'
      );
    else
      v_text := substr(v_text, v_overlap + 1);
    end if;
  end if;

  -- The title.
  v_title := coalesce(p_item ->> 'title', '');
  if v_title = v_story.title then
    v_title := '';
  elsif v_title <> '' and v_story.title <> '' then
    return tales.checkpoint_refused(v_id, 'CHECKPOINT_CONFLICT', 'The story has another title.');
  end if;

  -- The book. Under the audio id that is kept the first header stays: it is pinned.
  v_begins := v_audio_id is not null and v_audio_id is distinct from v_story.narration_audio_id;
  if v_begins and v_audio_id = v_kept_audio_id then
    return tales.checkpoint_refused(v_id, 'CHECKPOINT_CONFLICT', 'The audio id names the audio that is kept.');
  end if;
  if not v_begins then
    v_audio_id := v_story.narration_audio_id;
  end if;

  -- Its segments.
  v_kept_segments := case when v_begins then 0 else v_story.segment_count end;
  for v_segment in select one from jsonb_array_elements(coalesce(p_item -> 'segments', '[]')) as given (one) loop
    v_index := v_segment ->> 'index';
    if v_audio_id is null then
      return tales.checkpoint_refused(
        v_id, 'CHECKPOINT_CONFLICT', 'There is no narration yet that the segments could belong to.'
      );
    elsif v_index > v_kept_segments + cardinality(v_segments) then
      return tales.checkpoint_refused(
        v_id, 'CHECKPOINT_CONFLICT', 'A segment is missing before the one that is given.'
      );
    elsif v_index = v_kept_segments + cardinality(v_segments) then
      v_segments := v_segments || v_segment;
      continue;
    elsif v_index >= v_kept_segments then
      v_sha256 := tales.to_bytes(v_segments[v_index - v_kept_segments + 1] ->> 'sha256');
    else
      select sha256 into v_sha256 from tales.story_segments
        where story_id = v_id and audio_id = v_audio_id and position = v_index;
    end if;
    if v_sha256 is distinct from tales.to_bytes(v_segment ->> 'sha256') then
      return tales.checkpoint_refused(
        v_id, 'CHECKPOINT_CONFLICT', 'A segment differs from the one that is kept.'
      );
    end if;
  end loop;

  -- The state.
  v_complete := v_story.content_complete or coalesce((p_item ->> 'content_complete')::boolean, false);
  if v_moved then
    if v_state = 'WRITING' and v_story.state = 'NARRATING' then
      v_refused := 'A story whose text is whole is not written any more.';
    elsif v_state in ('NARRATING', 'READY', 'READY_WITHOUT_AUDIO') and not v_complete then
      v_refused := 'The text is not whole yet.';
    elsif v_state = 'READY' and v_story.narrate and v_kept_audio_id is null then
      v_refused := 'The audio is not kept yet.';
    end if;
  end if;
  v_progress := v_text <> '' or v_title <> '' or v_begins or cardinality(v_segments) > 0 or v_moved
    or v_complete <> v_story.content_complete;
  if v_refused is null and v_progress and v_story.ended_at is not null then
    v_refused := 'The story has ended; nothing is added to it.';
  end if;
  if v_refused is not null then
    return tales.checkpoint_refused(v_id, 'WRONG_STATE', v_refused);
  end if;

  -- It holds: the ledger first, which an ended story takes too.
  insert into tales.story_attempts (
      story_id, attempt_id, kind, provider, model, outcome, reason, cost_usd, cost_known, started_at, ended_at, attempt
    )
    select v_id, (one ->> 'attempt_id')::uuid, one ->> 'kind', one ->> 'provider', one ->> 'model', one ->> 'outcome',
      one ->> 'reason', (one ->> 'cost_usd')::double precision, (one ->> 'cost_known')::boolean,
      (one ->> 'started_at')::timestamptz, (one ->> 'ended_at')::timestamptz, tales.to_bytes(one ->> 'attempt')
    from (
      -- Of lines with the same id the last one counts, at the place of the first.
      select distinct on (one ->> 'attempt_id') one, min(place) over (partition by one ->> 'attempt_id') as first
      from jsonb_array_elements(coalesce(p_item -> 'attempts', '[]')) with ordinality as given (one, place)
      order by one ->> 'attempt_id', place desc
    ) as lines
    order by first
    on conflict (story_id, attempt_id) do update set
      kind = excluded.kind, provider = excluded.provider, model = excluded.model, outcome = excluded.outcome,
      reason = excluded.reason, cost_usd = excluded.cost_usd, cost_known = excluded.cost_known,
      started_at = excluded.started_at, ended_at = excluded.ended_at, attempt = excluded.attempt;
  perform tales.keep_problems(v_id, coalesce(p_item -> 'problems', '[]'));
  if v_story.ended_at is not null then
    return jsonb_build_object('id', v_id);
  end if;
  if v_begins then
    -- The book before it is closed, unless the kept audio came from it.
    delete from tales.story_segments
      where story_id = v_id and audio_id is distinct from v_kept_audio_id;
  end if;
  insert into tales.story_segments (story_id, audio_id, position, sha256, segment)
    select v_id, v_audio_id, (one ->> 'index')::integer, tales.to_bytes(one ->> 'sha256'),
      tales.to_bytes(one ->> 'segment')
    from unnest(v_segments) as given (one);
  if v_state not in ('PENDING', 'WRITING', 'NARRATING') then
    p_expires := null;
  end if;
  if v_progress or p_item ?| '{attempts,problems,embedded_parts,generation}' then
    update tales.stories set
      state = v_state,
      title = case when v_title <> '' then v_title else title end,
      content = content || v_text,
      content_complete = v_complete,
      generation = coalesce(tales.to_bytes(p_item -> 'generation' ->> 'record'), generation),
      embedded_parts = embedded_parts || array(
        select part from jsonb_array_elements_text(coalesce(p_item -> 'embedded_parts', '[]'))
          with ordinality as given (part, place)
        where part <> all (embedded_parts)
        group by part order by min(place)
      ),
      narration_audio_id = v_audio_id,
      narration = case when v_begins then tales.to_bytes(p_item -> 'narration' ->> 'header') else narration end,
      segment_count = v_kept_segments + cardinality(v_segments),
      pickup_count = case when v_progress then 0 else pickup_count end,
      ended_at = case when p_expires is null then p_now end,
      runner = case when p_expires is null then '' else runner end,
      lease_expires_at = p_expires
    where id = v_id;
  else
    update tales.stories set lease_expires_at = p_expires where id = v_id;
  end if;
  return jsonb_build_object('id', v_id, 'lease_expires_at', p_expires);
end
$$;

-- Refuses unless a run holds the story with this token.
create function tales.check_lease(p_story_id uuid, p_lease_token bigint) returns jsonb
  language plpgsql stable
as $$
declare
  v_story tales.stories;
begin
  select * into v_story from tales.stories where id = p_story_id;
  if not found then
    return jsonb_build_object('refused', 'STORY_NOT_FOUND');
  end if;
  return jsonb_build_object('refused', tales.lease_refusal(v_story, p_lease_token));
end
$$;

-- Makes `p_audio` {audio_id, object_id, sha256, size_bytes, content_type, duration_us, audio} the audio of a story;
-- {audio, dropped}: the audio as kept, and the object that nothing refers to any more.
create function tales.attach_audio(
  p_story_id uuid, p_lease_token bigint, p_audio jsonb, p_now timestamptz default null
) returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_story tales.stories;
  v_kept tales.story_audio;
  v_audio_id uuid := p_audio ->> 'audio_id';
  v_object_id uuid := p_audio ->> 'object_id';
begin
  select * into v_story from tales.stories where id = p_story_id for update;
  if not found then
    return jsonb_build_object('refused', 'STORY_NOT_FOUND');
  end if;
  if tales.lease_refusal(v_story, p_lease_token) is not null then
    return jsonb_build_object('refused', tales.lease_refusal(v_story, p_lease_token));
  end if;
  select * into v_kept from tales.story_audio where story_id = p_story_id;
  if v_kept.audio_id = v_audio_id then
    if v_kept.sha256 <> tales.to_bytes(p_audio ->> 'sha256') then
      return jsonb_build_object('refused', 'AUDIO_MISMATCH');
    end if;
    return jsonb_build_object(
      'audio', tales.to_base64(v_kept.audio),
      'dropped', case when v_kept.object_id <> v_object_id then v_object_id end
    );
  end if;
  insert into tales.story_audio (
      story_id, audio_id, object_id, sha256, size_bytes, content_type, duration_us, segment_count, audio
    ) values (
      p_story_id, v_audio_id, v_object_id, tales.to_bytes(p_audio ->> 'sha256'), (p_audio ->> 'size_bytes')::bigint,
      p_audio ->> 'content_type', (p_audio ->> 'duration_us')::bigint,
      case when v_story.narration_audio_id = v_audio_id then v_story.segment_count else 0 end,
      tales.to_bytes(p_audio ->> 'audio')
    )
    on conflict (story_id) do update set
      audio_id = excluded.audio_id, object_id = excluded.object_id, sha256 = excluded.sha256,
      size_bytes = excluded.size_bytes, content_type = excluded.content_type, duration_us = excluded.duration_us,
      segment_count = excluded.segment_count, audio = excluded.audio;
  delete from tales.story_segments
    where story_id = p_story_id and audio_id <> v_audio_id and audio_id is distinct from v_story.narration_audio_id;
  update tales.stories set updated_at = v_now where id = p_story_id;
  return jsonb_build_object('audio', p_audio ->> 'audio', 'dropped', v_kept.object_id);
end
$$;

-- The audio of a story: {audio, object_id}, or {} while it has none.
create function tales.find_audio(p_owner text, p_story_id uuid) returns jsonb
  language plpgsql stable
as $$
declare
  v_audio tales.story_audio;
begin
  if not exists (select from tales.stories where id = p_story_id and owner = p_owner) then
    return jsonb_build_object('refused', 'STORY_NOT_FOUND');
  end if;
  select * into v_audio from tales.story_audio where story_id = p_story_id;
  if not found then
    return '{}';
  end if;
  return jsonb_build_object('audio', tales.to_base64(v_audio.audio), 'object_id', v_audio.object_id);
end
$$;

-- Of objects those that stories refer to: [{story_id, object_id}].
create function tales.known_audio(p_object_ids uuid[]) returns jsonb
  language sql stable
as $$
  select coalesce(jsonb_agg(jsonb_build_object('story_id', story_id, 'object_id', object_id)), '[]')
  from tales.story_audio where object_id = any (p_object_ids)
$$;

-- Notes a file of the bucket before its first byte is sent.
create function tales.note_audio_object(p_story_id uuid, p_object_id uuid, p_now timestamptz default null) returns void
  language sql
as $$
  insert into tales.audio_objects (object_id, story_id, created_at)
    values (p_object_id, p_story_id, coalesce(p_now, clock_timestamp()))
    on conflict (object_id) do nothing
$$;

-- At most `p_most` files that no story refers to and that were noted longer than `p_grace_us` ago, oldest first, from
-- the one behind `p_after` ({created_at, object_id} or null) on.
create function tales.list_audio_objects(
  p_grace_us bigint, p_after jsonb, p_most integer, p_now timestamptz default null
) returns jsonb
  language sql stable
as $$
  select coalesce(jsonb_agg(to_jsonb(page) order by page.created_at, page.object_id), '[]') from (
    select object_id, story_id, created_at from tales.audio_objects o
    where created_at < coalesce(p_now, clock_timestamp()) - p_grace_us * interval '1 microsecond'
      and not exists (select from tales.story_audio a where a.object_id = o.object_id)
      and (
        p_after is null
        or (created_at, object_id) > ((p_after ->> 'created_at')::timestamptz, (p_after ->> 'object_id')::uuid)
      )
    order by created_at, object_id
    limit p_most
  ) as page
$$;

-- Notes that files are gone from the bucket.
create function tales.forget_audio_objects(p_object_ids uuid[]) returns void
  language sql
as $$
  delete from tales.audio_objects where object_id = any (p_object_ids)
$$;

revoke all on all functions in schema tales from public, anon, authenticated;
grant execute on all functions in schema tales to service_role;
