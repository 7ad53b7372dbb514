-- Runs: leases, checkpoints, and what follows them. These work across owners; a run writes with the token of its lease.

-- Takes the leases of at most `p_most` unfinished stories that no run holds, oldest first; `p_story_ids` null: any.
-- Without `p_expired` not those whose lease has expired. One that has more than twice its duration left has expired too:
-- it was taken before the clock was set back. Rows that another claimer has locked are passed over, so no two claimers get
-- the same.
create function tales.claim_stories(
  p_duration_us bigint, p_most integer, p_story_ids uuid[] default null, p_expired boolean default true,
  p_now timestamptz default null
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
      and (
        lease_expires_at is null
        or p_expired and (
          lease_expires_at <= v_now or lease_expires_at - v_now > 2 * (lease_expires_at - renewed_at)
        )
      )
      and (p_story_ids is null or id = any (p_story_ids))
    order by created_at, id
    limit p_most
    for no key update skip locked
  ), taken as (
    update tales.stories s set
      lease_token = s.lease_token + 1,
      lease_expires_at = v_now + p_duration_us * interval '1 microsecond',
      pickup_count = s.pickup_count + (s.renewed_at is not null)::integer,
      work_us = s.work_us + tales.worked_us(s.renewed_at, s.lease_expires_at, v_now),
      renewed_at = v_now
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

-- Releases leases ([{id, lease_token}]) for others to take at once; how many were held with the token given.
create function tales.release_stories(p_leases jsonb, p_now timestamptz default null) returns integer
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_released integer;
begin
  with given as (
    select s.id from tales.stories s
    join jsonb_to_recordset(p_leases) as g (id uuid, lease_token bigint)
      on g.id = s.id and g.lease_token = s.lease_token
    where s.lease_expires_at is not null
    order by s.id
    for no key update of s
  )
  update tales.stories s set
    work_us = s.work_us + tales.worked_us(s.renewed_at, s.lease_expires_at, v_now),
    lease_expires_at = null, renewed_at = null
  from given where s.id = given.id;
  get diagnostics v_released = row_count;
  return v_released;
end
$$;

-- Why a run with this token cannot write to a story, null if it can. An expired lease still holds until the story is
-- claimed.
create function tales.lease_refusal(p_story tales.stories, p_lease_token bigint) returns text
  language sql immutable
  return case
    when p_story.lease_token <> p_lease_token then 'LEASE_LOST'
    when p_story.ended_at is not null then 'WRONG_STATE'
    when p_story.lease_expires_at is null then 'LEASE_LOST'
  end;

-- Stores what runs have made, all in one transaction; one verdict for each item, in order: {id, refused, message,
-- lease_expires_at}. An item is {id, lease_token} and, of what is new, state, title, text {offset, text},
-- content_complete, generation {record}, narration {audio_id, header}, segments [{index, key, sha256, text_start,
-- text_end, audio_start, audio_end, segment}], attempts, problems, embedded_parts; `waiting`: the time since the checkpoint
-- before is no work. What is stored already and agrees is passed over, so a batch can be repeated. `p_ending` {ended_at, ending} is as in `tales.update_story`.
create function tales.checkpoint_stories(
  p_lease_us bigint, p_items jsonb, p_ending jsonb, p_now timestamptz default null
) returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_expires timestamptz := v_now + p_lease_us * interval '1 microsecond';
  v_keys text[];
  v_item jsonb;
  v_verdicts jsonb := '[]';
begin
  -- Stories before segments, each by key: one order for all transactions, so that no two wait for each other.
  perform from tales.stories
    where id in (select (one ->> 'id')::uuid from jsonb_array_elements(p_items) as given (one))
    order by id
    for no key update;
  v_keys := array(
    select segment ->> 'key' from jsonb_array_elements(p_items) as given (one),
      jsonb_array_elements(coalesce(one -> 'segments', '[]')) as of_one (segment)
  );
  v_keys := array(select key from tales.segments where key = any (v_keys) order by key for key share);
  for v_item in select one from jsonb_array_elements(p_items) with ordinality as given (one, place) order by place loop
    v_verdicts := v_verdicts || tales.checkpoint_story(v_item, v_keys, p_ending, v_now, v_expires);
  end loop;
  if v_keys <> '{}' then
    insert into tales.segment_uses (story_id, key)
      select distinct story_id, key from tales.story_segments
      where key = any (v_keys)
        and story_id in (select (one ->> 'id')::uuid from jsonb_array_elements(p_items) as given (one))
      order by key, story_id
      on conflict do nothing;
  end if;
  return v_verdicts;
end
$$;

create function tales.checkpoint_refused(p_id uuid, p_reason text, p_message text) returns jsonb
  language sql immutable
  return jsonb_build_object('id', p_id, 'refused', p_reason, 'message', p_message);

-- One item of a batch; its row is locked, and so are the segments `p_keys`.
create function tales.checkpoint_story(
  p_item jsonb, p_keys text[], p_ending jsonb, p_now timestamptz, p_expires timestamptz
) returns jsonb
  language plpgsql
as $$
declare
  v_id uuid := p_item ->> 'id';
  v_token bigint := p_item ->> 'lease_token';
  v_story tales.stories;
  v_stored_audio_id uuid;
  v_refused text;
  v_text text := '';
  v_start integer;
  v_end integer;
  v_overlap integer;
  v_length integer;
  v_title text := '';
  v_audio_id uuid := p_item -> 'narration' ->> 'audio_id';
  v_begins boolean;
  v_stored_segments integer;
  v_segments jsonb[] := '{}';
  v_segment jsonb;
  v_index integer;
  v_known_key text;
  v_known_sha256 bytea;
  v_text_end bigint := 0;
  v_audio_end bigint := 0;
  v_complete boolean;
  v_state text;
  v_moved boolean;
  v_progress boolean;
  v_worked bigint;
begin
  select * into v_story from tales.stories where id = v_id;
  if not found then
    return tales.checkpoint_refused(v_id, 'STORY_NOT_FOUND', 'There is no story of that id.');
  end if;
  select audio_id into v_stored_audio_id from tales.story_audio where story_id = v_id;
  v_state := coalesce(p_item ->> 'state', v_story.state);
  v_moved := v_state <> v_story.state;

  -- The lease. The checkpoint that ended the story may come once more, and a run that learns late that its story has
  -- ended may add to the ledger.
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
    v_length := v_story.content_length;
    v_start := (p_item -> 'text' ->> 'offset')::bigint;
    v_text := p_item -> 'text' ->> 'text';
    if v_start > v_length then
      return tales.checkpoint_refused(
        v_id, 'CHECKPOINT_CONFLICT', 'The text begins beyond the end of what is stored.'
      );
    end if;
    v_end := v_start + char_length(v_text);
    v_overlap := least(v_end, v_length) - v_start;
    if substr(v_story.content, v_start + 1, v_overlap) <> left(v_text, v_overlap) then
      return tales.checkpoint_refused(v_id, 'CHECKPOINT_CONFLICT', 'The text differs from what is stored.');
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

  -- The narration. Under an audio id that is known the first header stays: it is pinned.
  v_begins := v_audio_id is not null and v_audio_id is distinct from v_story.narration_audio_id;
  if v_begins and v_audio_id = v_stored_audio_id then
    return tales.checkpoint_refused(v_id, 'CHECKPOINT_CONFLICT', 'The audio id names the audio that is stored.');
  end if;
  if not v_begins then
    v_audio_id := v_story.narration_audio_id;
  end if;

  -- Its manifest.
  v_stored_segments := case when v_begins then 0 else v_story.segment_count end;
  if v_stored_segments > 0 and p_item ? 'segments' then
    select text_end, audio_end into v_text_end, v_audio_end from tales.story_segments
      where story_id = v_id and audio_id = v_audio_id and position = v_stored_segments - 1;
  end if;
  for v_segment in select one from jsonb_array_elements(coalesce(p_item -> 'segments', '[]')) as given (one) loop
    v_index := v_segment ->> 'index';
    if v_audio_id is null then
      return tales.checkpoint_refused(
        v_id, 'CHECKPOINT_CONFLICT', 'There is no narration yet that the segments could belong to.'
      );
    elsif v_index > v_stored_segments + cardinality(v_segments) then
      return tales.checkpoint_refused(
        v_id, 'CHECKPOINT_CONFLICT', 'A segment is missing before the one that is given.'
      );
    elsif v_index = v_stored_segments + cardinality(v_segments) then
      if (v_segment ->> 'text_start')::bigint <> v_text_end or (v_segment ->> 'audio_start')::bigint <> v_audio_end
        or (v_segment ->> 'text_end')::bigint < v_text_end
      then
        return tales.checkpoint_refused(
          v_id, 'CHECKPOINT_CONFLICT', 'A segment does not begin where the one before it ends.'
        );
      end if;
      v_text_end := v_segment ->> 'text_end';
      v_audio_end := v_segment ->> 'audio_end';
      if not exists (
        select from tales.segments
        where key = any (p_keys) and key = v_segment ->> 'key' and sha256 = tales.to_bytes(v_segment ->> 'sha256')
          and size_bytes = v_audio_end - (v_segment ->> 'audio_start')::bigint
      ) then
        return tales.checkpoint_refused(
          v_id, 'CHECKPOINT_CONFLICT', 'A segment is not in the segment store with its key, size and SHA-256.'
        );
      end if;
      v_segments := v_segments || v_segment;
      continue;
    elsif v_index >= v_stored_segments then
      v_known_key := v_segments[v_index - v_stored_segments + 1] ->> 'key';
      v_known_sha256 := tales.to_bytes(v_segments[v_index - v_stored_segments + 1] ->> 'sha256');
    else
      select key, sha256 into v_known_key, v_known_sha256 from tales.story_segments
        where story_id = v_id and audio_id = v_audio_id and position = v_index;
    end if;
    if v_known_key is distinct from v_segment ->> 'key'
      or v_known_sha256 is distinct from tales.to_bytes(v_segment ->> 'sha256')
    then
      return tales.checkpoint_refused(
        v_id, 'CHECKPOINT_CONFLICT', 'A segment differs from the one that is stored.'
      );
    end if;
  end loop;

  -- The state.
  v_complete := v_story.content_complete or coalesce((p_item ->> 'content_complete')::boolean, false);
  if v_moved then
    if v_state = 'CANCELLED' then
      v_refused := 'A run does not cancel its story.';
    elsif v_state = 'WRITING' and v_story.state = 'NARRATING' then
      v_refused := 'A story whose text is whole is not written any more.';
    elsif v_state in ('NARRATING', 'READY', 'READY_WITHOUT_AUDIO') and not v_complete then
      v_refused := 'The text is not whole yet.';
    elsif v_state = 'READY' and v_story.narrate and v_stored_audio_id is null then
      v_refused := 'The audio is not stored yet.';
    elsif v_state = 'READY_WITHOUT_AUDIO' and v_stored_audio_id is not null then
      v_refused := 'The audio is stored.';
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
  perform tales.store_attempts(v_id, coalesce(p_item -> 'attempts', '[]'));
  perform tales.store_problems(v_id, coalesce(p_item -> 'problems', '[]'));
  if v_story.ended_at is not null then
    perform tales.cancel_attempts(v_id, p_ending);
    if p_item ? 'generation' then
      update tales.stories set generation = tales.to_bytes(p_item -> 'generation' ->> 'record') where id = v_id;
    end if;
    return jsonb_build_object('id', v_id);
  end if;
  if v_begins then
    -- The manifest before it goes, unless the stored audio was composed from it.
    delete from tales.story_segments
      where story_id = v_id and audio_id is distinct from v_stored_audio_id;
  end if;
  perform tales.store_manifest(v_id, v_audio_id, to_jsonb(v_segments));
  if v_state not in ('PENDING', 'WRITING', 'NARRATING') then
    p_expires := null;
  end if;
  v_worked := case when p_item ? 'waiting' then 0
    else tales.worked_us(v_story.renewed_at, v_story.lease_expires_at, p_now)
  end;
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
      segment_count = v_stored_segments + cardinality(v_segments),
      pickup_count = case when v_progress then 0 else pickup_count end,
      ended_at = case when p_expires is null then p_now end,
      work_us = work_us + v_worked,
      lease_expires_at = p_expires,
      renewed_at = p_now
    where id = v_id;
  else
    update tales.stories set
      work_us = work_us + v_worked,
      lease_expires_at = p_expires,
      renewed_at = p_now
    where id = v_id;
  end if;
  return jsonb_build_object('id', v_id, 'lease_expires_at', p_expires);
end
$$;

-- What is new in stories, in order: {changes, more}. A position is {story_id, lease_token, state, text_length, audio_id,
-- segment_count, problem_count}; a change is {id, state, leased, title, content_complete, text, narration, segments,
-- problems}, the last four being what lies behind the position, or {id} of a story that is not there. With a lease token
-- only the end of that run's lease is new, and only {id, state, leased} is returned. Ends, with `more`, once the changes
-- have `p_most_bytes`.
create function tales.follow_stories(p_positions jsonb, p_most_bytes bigint, p_now timestamptz default null)
  returns jsonb
  language plpgsql stable
as $$
declare
  v_one record;
  v_change jsonb;
  v_changes jsonb[] := '{}';
  v_bytes bigint := 0;
begin
  for v_one in
    select g.*, s.id, s.state as state_now, s.ended_at, s.lease_token as token_now, s.title, s.content_length,
      s.content_complete, s.narration_audio_id, s.segment_count as segments_now,
      s.lease_expires_at > coalesce(p_now, clock_timestamp()) as leased,
      case when s.narration_audio_id::text = g.audio_id then g.segment_count else 0 end as segments_known
    from rows from (
      jsonb_to_recordset(p_positions) as (
        story_id uuid, lease_token bigint, state text, text_length integer, audio_id text, segment_count integer,
        problem_count integer
      )
    ) with ordinality as g (
      story_id, lease_token, state, text_length, audio_id, segment_count, problem_count, place
    )
    left join tales.stories s on s.id = g.story_id
    where s.id is null or case when g.lease_token <> 0 then s.ended_at is not null or s.lease_token <> g.lease_token
      else s.state <> g.state
        or s.content_length > g.text_length
        or s.narration_audio_id::text <> g.audio_id
        or (s.narration_audio_id::text = g.audio_id and s.segment_count > g.segment_count)
        or (select count(*) from tales.story_problems p where p.story_id = s.id) > g.problem_count
        -- A position does not say whether these are known.
        or (s.title <> '' and s.content_length = 0)
        or (s.content_complete and s.state in ('PENDING', 'WRITING'))
      end
    order by g.place
  loop
    if v_bytes > p_most_bytes then
      return jsonb_build_object('changes', to_jsonb(v_changes), 'more', true);
    end if;
    v_change := jsonb_build_object('id', v_one.story_id);
    if v_one.id is not null then
      v_change := v_change || jsonb_build_object(
        'state', v_one.state_now, 'leased', coalesce(v_one.leased, false)
      );
    end if;
    if v_one.lease_token = 0 then
      v_change := v_change || jsonb_build_object(
        'title', v_one.title,
        'content_complete', v_one.content_complete,
        'text', (
          select substr(content, v_one.text_length + 1) from tales.stories
          where id = v_one.id and v_one.content_length > v_one.text_length
        ),
        'narration', (
          select tales.to_base64(narration) from tales.stories
          where id = v_one.id and narration_audio_id::text <> v_one.audio_id
        ),
        'segments', (
          select coalesce(jsonb_agg(tales.to_base64(segment) order by position), '[]') from tales.story_segments
          where story_id = v_one.id and audio_id = v_one.narration_audio_id
            and position >= v_one.segments_known and position < v_one.segments_now
        ),
        'problems', (
          select coalesce(jsonb_agg(tales.to_base64(problem) order by sequence), '[]') from (
            select sequence, problem from tales.story_problems
            where story_id = v_one.id order by sequence offset v_one.problem_count
          ) as new
        )
      );
    end if;
    v_changes := v_changes || v_change;
    v_bytes := v_bytes + octet_length(v_change::text);
  end loop;
  return jsonb_build_object('changes', to_jsonb(v_changes), 'more', false);
end
$$;
