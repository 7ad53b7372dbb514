-- Stories: made, read, listed, changed, deleted. Every function answers with jsonb; a refusal is
-- {"refused": reason, "detail": {…}}, and then nothing was changed. Times come and go as timestamptz, bytes as base64.

create function tales.refuse(p_reason text, p_detail jsonb default '{}') returns void
  language plpgsql
as $$
begin
  raise exception using errcode = 'TALES', message = p_reason, detail = p_detail::text;
end
$$;

create function tales.to_bytes(p_base64 text) returns bytea
  language sql immutable
  return decode(p_base64, 'base64');

create function tales.to_base64(p_bytes bytea) returns text
  language sql immutable
  return translate(encode(p_bytes, 'base64'), E'\n', '');

-- A child or hero. The text of bytea itself would depend on `bytea_output`.
create function tales.profile_row(p_profile tales.profiles) returns jsonb
  language sql immutable
  return to_jsonb(p_profile) || jsonb_build_object('profile', tales.to_base64(p_profile.profile));

-- What a request was about when it came before, null if it did not. `p_request`: {rpc, id, fingerprint}, or null.
create function tales.find_request(p_owner text, p_request jsonb, p_resource_id uuid default null) returns uuid
  language plpgsql
as $$
declare
  v_stored tales.requests;
begin
  if p_request is null then
    return null;
  end if;
  select * into v_stored from tales.requests where owner = p_owner and request_id = p_request ->> 'id';
  if not found then
    return null;
  end if;
  -- A fingerprint of zeros stands for a request whose content is erased.
  if v_stored.rpc <> p_request ->> 'rpc'
    or v_stored.fingerprint not in (tales.to_bytes(p_request ->> 'fingerprint'), decode(repeat('00', 32), 'hex'))
    or v_stored.resource_id <> coalesce(p_resource_id, v_stored.resource_id)
  then
    perform tales.refuse('REQUEST_ID_REUSED');
  end if;
  if exists (select from tales.tombstones where resource_id = v_stored.resource_id and owner = p_owner) then
    perform tales.refuse('DELETED', jsonb_build_object('id', v_stored.resource_id));
  end if;
  return v_stored.resource_id;
end
$$;

-- Leaves a tombstone: an id, whose it was and when it went, and nothing else. What requests asked for is erased: a hash
-- of a name and a wish is guessed from a list of names. Each of their ids then answers that its story is deleted.
create function tales.bury(p_owner text, p_resource_id uuid, p_now timestamptz) returns void
  language sql
as $$
  insert into tales.tombstones (resource_id, owner, deleted_at) values (p_resource_id, p_owner, p_now);
  update tales.requests set fingerprint = decode(repeat('00', 32), 'hex')
    where resource_id = p_resource_id and owner = p_owner;
$$;

-- Stores a request; false where another call was quicker.
create function tales.store_request(p_owner text, p_request jsonb, p_resource_id uuid) returns boolean
  language plpgsql
as $$
begin
  if p_request is null then
    return true;
  end if;
  insert into tales.requests (owner, request_id, rpc, fingerprint, resource_id, created_at)
    values (
      p_owner, p_request ->> 'id', p_request ->> 'rpc', tales.to_bytes(p_request ->> 'fingerprint'), p_resource_id,
      tales.now()
    )
    on conflict (owner, request_id) do nothing;
  return found;
end
$$;

-- Microseconds that have passed at `p_now` of a lease that was taken or renewed at one time and ends at another; 0 where
-- there is none.
create function tales.worked_us(p_renewed_at timestamptz, p_expires_at timestamptz, p_now timestamptz) returns bigint
  language sql immutable
  return case when p_expires_at is null or p_renewed_at is null then 0
    else greatest(0, extract(epoch from least(p_now, p_expires_at) - p_renewed_at) * 1000000)::bigint
  end;

-- Takes the lease of a story that is known to be free. The first claim and one after a hand-over do not count.
create function tales.take_lease(p_story_id uuid, p_duration_us bigint) returns void
  language sql
as $$
  update tales.stories set
    lease_token = lease_token + 1,
    lease_expires_at = tales.now() + p_duration_us * interval '1 microsecond',
    pickup_count = pickup_count + (renewed_at is not null)::integer,
    work_us = work_us + tales.worked_us(renewed_at, lease_expires_at, tales.now()),
    renewed_at = tales.now()
  where id = p_story_id
$$;

create function tales.store_problems(p_story_id uuid, p_problems jsonb) returns void
  language sql
as $$
  insert into tales.story_problems (story_id, reason, problem)
    select p_story_id, one ->> 'reason', tales.to_bytes(one ->> 'problem')
    from jsonb_array_elements(p_problems) with ordinality as given (one, place)
    order by place
    on conflict do nothing
$$;

-- Stores lines of the ledger, each in place of an earlier one of its id. Of lines with the same id in `p_attempts` the last
-- one counts, at the place of the first.
create function tales.store_attempts(p_story_id uuid, p_attempts jsonb) returns void
  language sql
as $$
  insert into tales.story_attempts (
      story_id, attempt_id, kind, provider, model, outcome, reason, cost_usd, cost_known, started_at, ended_at, attempt
    )
    select p_story_id, (one ->> 'attempt_id')::uuid, one ->> 'kind', one ->> 'provider', one ->> 'model',
      one ->> 'outcome', one ->> 'reason', (one ->> 'cost_usd')::double precision, (one ->> 'cost_known')::boolean,
      (one ->> 'started_at')::timestamptz, (one ->> 'ended_at')::timestamptz, tales.to_bytes(one ->> 'attempt')
    from (
      select distinct on (one ->> 'attempt_id') one, min(place) over (partition by one ->> 'attempt_id') as first
      from jsonb_array_elements(p_attempts) with ordinality as given (one, place)
      order by one ->> 'attempt_id', place desc
    ) as lines
    order by first
    on conflict (story_id, attempt_id) do update set
      kind = excluded.kind, provider = excluded.provider, model = excluded.model, outcome = excluded.outcome,
      reason = excluded.reason, cost_usd = excluded.cost_usd, cost_known = excluded.cost_known,
      started_at = excluded.started_at, ended_at = excluded.ended_at, attempt = excluded.attempt
$$;

-- Adds segments [{index, key, sha256, text_end, audio_end, segment}] to a manifest.
create function tales.store_manifest(p_story_id uuid, p_audio_id uuid, p_segments jsonb) returns void
  language sql
as $$
  insert into tales.story_segments (story_id, audio_id, position, key, sha256, text_end, audio_end, segment)
    select p_story_id, p_audio_id, (one ->> 'index')::integer, one ->> 'key', tales.to_bytes(one ->> 'sha256'),
      (one ->> 'text_end')::bigint, (one ->> 'audio_end')::bigint, tales.to_bytes(one ->> 'segment')
    from jsonb_array_elements(p_segments) as given (one)
$$;

create function tales.segments_of(p_story_id uuid, p_audio_id uuid, p_count integer) returns jsonb
  language sql stable
as $$
  select coalesce(jsonb_agg(tales.to_base64(segment) order by position), '[]')
  from tales.story_segments
  where story_id = p_story_id and audio_id = p_audio_id and position < p_count
$$;

-- A story as stored; without `p_full` less its ledger and the segments of its audio.
create function tales.story_record(p_owner text, p_story_id uuid, p_full boolean) returns jsonb
  language plpgsql stable
as $$
declare
  v_story tales.stories;
  v_audio tales.story_audio;
begin
  select * into v_story from tales.stories where id = p_story_id and owner = p_owner;
  if not found then
    perform tales.refuse('STORY_NOT_FOUND');
  end if;
  select * into v_audio from tales.story_audio where story_id = p_story_id;
  return to_jsonb(v_story) - '{search,spec,story,voice,narration,generation}'::text[] || jsonb_build_object(
    'spec', tales.to_base64(v_story.spec),
    'story', tales.to_base64(v_story.story),
    'voice', tales.to_base64(v_story.voice),
    'narration', tales.to_base64(v_story.narration),
    'generation', tales.to_base64(v_story.generation),
    'problems', (
      select coalesce(jsonb_agg(tales.to_base64(problem) order by sequence), '[]')
      from tales.story_problems where story_id = p_story_id
    ),
    'segments', tales.segments_of(p_story_id, v_story.narration_audio_id, v_story.segment_count),
    'audio', tales.to_base64(v_audio.audio)
  ) || case when p_full then jsonb_build_object(
    'attempts', (
      select coalesce(jsonb_agg(tales.to_base64(attempt) order by sequence), '[]')
      from tales.story_attempts where story_id = p_story_id
    ),
    'audio_segments', tales.segments_of(p_story_id, v_audio.audio_id, v_audio.segment_count)
  ) else '{}' end;
end
$$;

create function tales.get_story(p_owner text, p_story_id uuid, p_full boolean) returns jsonb
  language plpgsql
as $$
declare
  v_reason text;
  v_detail text;
begin
  return tales.story_record(p_owner, p_story_id, p_full);
exception when sqlstate 'TALES' then
  get stacked diagnostics v_reason = message_text, v_detail = pg_exception_detail;
  return jsonb_build_object('refused', v_reason, 'detail', v_detail::jsonb);
end
$$;

-- Stores a story unless its request or id is known. `p_story` holds the columns that are given by value; `p_request` and
-- `p_lease_us` may be null. The stored child and hero are taken into it as they are now.
create function tales.create_story(
  p_owner text, p_story jsonb, p_problems jsonb, p_request jsonb, p_lease_us bigint, p_now timestamptz default null
) returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_new tales.stories := jsonb_populate_record(null::tales.stories, p_story - '{spec,story,voice}'::text[]);
  v_known uuid;
  v_child jsonb;
  v_hero jsonb;
  v_whole boolean;
  v_reason text;
  v_detail text;
begin
  v_known := tales.find_request(p_owner, p_request);
  if v_known is null then
    select id into v_known from tales.stories where id = v_new.id;
  end if;
  if v_known is null and exists (select from tales.tombstones where resource_id = v_new.id and owner = p_owner) then
    perform tales.refuse('DELETED', jsonb_build_object('id', v_new.id));
  end if;
  if v_known is not null then
    return jsonb_build_object('created', false, 'record', tales.story_record(p_owner, v_known, false));
  end if;
  if v_new.child_id is not null then
    select tales.profile_row(p) into v_child from tales.profiles p
      where id = v_new.child_id and owner = p_owner and kind = 'child' for share;
    if not found then
      perform tales.refuse('CHILD_NOT_FOUND', jsonb_build_object('id', v_new.child_id));
    end if;
  end if;
  if v_new.hero_id is not null then
    select tales.profile_row(p) into v_hero from tales.profiles p
      where id = v_new.hero_id and owner = p_owner and kind = 'hero' for share;
    if not found then
      perform tales.refuse('HERO_NOT_FOUND', jsonb_build_object('id', v_new.hero_id));
    end if;
  end if;
  if v_new.parent_story_id is not null then
    select content_complete into v_whole from tales.stories where id = v_new.parent_story_id and owner = p_owner;
    if not found then
      perform tales.refuse('STORY_NOT_FOUND', jsonb_build_object('id', v_new.parent_story_id));
    elsif not v_whole then
      perform tales.refuse('WRONG_STATE', jsonb_build_object('id', v_new.parent_story_id));
    end if;
  end if;
  insert into tales.stories (
      id, owner, state, kind, child_id, child_name, hero_id, parent_story_id, language_code, length_minutes, narrate,
      embedded_parts, created_at, updated_at, spec, story, voice, child, hero
    ) values (
      v_new.id, p_owner, 'PENDING', v_new.kind, v_new.child_id, coalesce(v_child ->> 'name', v_new.child_name),
      v_new.hero_id, v_new.parent_story_id, v_new.language_code, v_new.length_minutes, v_new.narrate,
      v_new.embedded_parts, v_now, v_now, tales.to_bytes(p_story ->> 'spec'), tales.to_bytes(p_story ->> 'story'),
      tales.to_bytes(p_story ->> 'voice'), v_child, v_hero
    )
    on conflict (id) do nothing;
  if not found then
    -- The same call, twice at once.
    return jsonb_build_object('created', false, 'record', tales.story_record(p_owner, v_new.id, false));
  end if;
  if not tales.store_request(p_owner, p_request, v_new.id) then
    delete from tales.stories where id = v_new.id;
    v_known := tales.find_request(p_owner, p_request);
    return jsonb_build_object('created', false, 'record', tales.story_record(p_owner, v_known, false));
  end if;
  perform tales.store_problems(v_new.id, p_problems);
  if p_lease_us is not null then
    perform tales.take_lease(v_new.id, p_lease_us);
  end if;
  return jsonb_build_object('created', true, 'record', tales.story_record(p_owner, v_new.id, false));
exception when sqlstate 'TALES' then
  get stacked diagnostics v_reason = message_text, v_detail = pg_exception_detail;
  return jsonb_build_object('refused', v_reason, 'detail', v_detail::jsonb);
end
$$;

-- Every configuration that a story's language can lead to.
create function tales.search_configs() returns setof regconfig
  language sql immutable
as $$
  select distinct tales.search_config(code) from unnest(
    '{ar,ca,da,de,el,en,es,eu,fi,fr,ga,hi,hu,hy,id,it,lt,ne,nl,no,pt,ro,ru,sr,sv,ta,tr,yi,zz}'::text[]
  ) as known (code)
$$;

-- At most `p_limit` summaries, newest first, from the one behind `p_after` ({created_at, id} or null) on. `p_filter` has
-- child_id, hero_id, child_name, language_code, kind, states, min_rating, max_rating, created_from, created_before and
-- query; what is not in it does not choose.
create function tales.list_stories(p_owner text, p_filter jsonb, p_limit integer, p_after jsonb) returns jsonb
  language plpgsql stable
as $$
declare
  v_terms text := '';
  v_query tsquery;
  v_found jsonb;
begin
  if p_filter ? 'child_id' then v_terms := v_terms || ' and s.child_id = ($2 ->> ''child_id'')::uuid'; end if;
  if p_filter ? 'hero_id' then v_terms := v_terms || ' and s.hero_id = ($2 ->> ''hero_id'')::uuid'; end if;
  if p_filter ? 'child_name' then v_terms := v_terms || ' and s.child_name = $2 ->> ''child_name'''; end if;
  if p_filter ? 'language_code' then v_terms := v_terms || ' and s.language_code = $2 ->> ''language_code'''; end if;
  if p_filter ? 'kind' then v_terms := v_terms || ' and s.kind = $2 ->> ''kind'''; end if;
  if p_filter ? 'states' then
    -- Spelt out, so that the planner knows which states are rare.
    v_terms := v_terms || format(
      ' and s.state in (%s)',
      (select string_agg(quote_literal(one), ', ') from jsonb_array_elements_text(p_filter -> 'states') as one)
    );
  end if;
  if p_filter ? 'min_rating' then v_terms := v_terms || ' and s.rating >= ($2 ->> ''min_rating'')::integer'; end if;
  if p_filter ? 'max_rating' then v_terms := v_terms || ' and s.rating <= ($2 ->> ''max_rating'')::integer'; end if;
  if p_filter ? 'created_from' then
    v_terms := v_terms || ' and s.created_at >= ($2 ->> ''created_from'')::timestamptz';
  end if;
  if p_filter ? 'created_before' then
    v_terms := v_terms || ' and s.created_at < ($2 ->> ''created_before'')::timestamptz';
  end if;
  if p_filter ? 'query' then
    -- The index finds what matches in any language; then each story is asked in its own.
    select (string_agg('(' || one::text || ')', ' | '))::tsquery into v_query from (
      select distinct websearch_to_tsquery(config, p_filter ->> 'query') as one
      from tales.search_configs() as known (config)
    ) as queries
    where numnode(one) > 0;
    v_terms := v_terms || ' and s.search @@ $5'
      || ' and s.search @@ websearch_to_tsquery(tales.search_config(s.language_code), $2 ->> ''query'')';
  end if;
  if p_after is not null then
    v_terms := v_terms
      || ' and (s.created_at, s.id) < (($4 ->> ''created_at'')::timestamptz, ($4 ->> ''id'')::uuid)';
  end if;
  execute
    'select coalesce(jsonb_agg(to_jsonb(page) order by page.created_at desc, page.id desc), ''[]'') from ('
    ' select s.id, s.state, s.title, s.kind, s.child_id, s.hero_id, s.child_name, s.language_code, s.length_minutes,'
    '  s.rating, s.created_at, s.updated_at, s.revision, left(s.content, 201) as beginning,'
    '  (select a.duration_us from tales.story_audio a where a.story_id = s.id) as duration_us'
    ' from tales.stories s where s.owner = $1' || v_terms
    || ' order by s.created_at desc, s.id desc limit $3) as page'
    into v_found using p_owner, p_filter, p_limit, p_after, v_query;
  return v_found;
end
$$;

-- Ends the attempts of a story that are STARTED. `p_ending` is {ended_at, ending}; `ending` has the fields of an Attempt
-- that say so: in a serialized message the last value of a field counts.
create function tales.cancel_attempts(p_story_id uuid, p_ending jsonb) returns void
  language sql
as $$
  update tales.story_attempts set
    outcome = 'CANCELLED', ended_at = (p_ending ->> 'ended_at')::timestamptz,
    attempt = attempt || tales.to_bytes(p_ending ->> 'ending')
  where story_id = p_story_id and outcome = 'STARTED'
$$;

-- Makes a change: {kind: Rate, rating}, {kind: Cancel, ended_at, ending}, {kind: Retry} or {kind: Narrate, voice}.
-- `p_request`, `p_lease_us` and `p_expected_revision` may be null.
create function tales.update_story(
  p_owner text, p_story_id uuid, p_change jsonb, p_request jsonb, p_lease_us bigint, p_expected_revision bigint,
  p_now timestamptz default null
) returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_story tales.stories;
  v_kind text := p_change ->> 'kind';
  v_changed boolean := true;
  v_reason text;
  v_detail text;
begin
  select * into v_story from tales.stories where id = p_story_id and owner = p_owner for no key update;
  if not found then
    -- A repeated request learns that its story is gone.
    perform tales.find_request(p_owner, p_request, p_story_id);
    perform tales.refuse('STORY_NOT_FOUND');
  end if;
  if tales.find_request(p_owner, p_request, p_story_id) is not null
    or (v_kind = 'Cancel' and v_story.state = 'CANCELLED')
  then
    return jsonb_build_object('changed', false, 'record', tales.story_record(p_owner, p_story_id, false));
  end if;
  if v_story.revision <> p_expected_revision then
    perform tales.refuse(
      'REVISION_MISMATCH', jsonb_build_object('expected', p_expected_revision, 'actual', v_story.revision)
    );
  end if;
  if (v_kind = 'Cancel' and v_story.state not in ('PENDING', 'WRITING', 'NARRATING'))
    or (v_kind = 'Retry' and v_story.state <> 'FAILED')
    or (v_kind = 'Narrate' and v_story.state not in ('READY', 'READY_WITHOUT_AUDIO'))
  then
    perform tales.refuse('WRONG_STATE', jsonb_build_object('state', v_story.state));
  end if;
  if v_kind = 'Rate' then
    v_changed := v_story.rating is distinct from (p_change ->> 'rating')::smallint;
    if v_changed then
      update tales.stories set rating = (p_change ->> 'rating')::smallint, revision = revision + 1
        where id = p_story_id;
    end if;
  elsif v_kind = 'Cancel' then
    -- A finished story that is only being narrated again goes back to what it was, with its text and its audio.
    update tales.stories set
      state = case
        when state = 'NARRATING' and exists (select from tales.story_audio where story_id = p_story_id) then 'READY'
        else 'CANCELLED'
      end,
      revision = revision + 1, ended_at = v_now,
      work_us = work_us + tales.worked_us(renewed_at, lease_expires_at, v_now), lease_expires_at = null
    where id = p_story_id;
    perform tales.cancel_attempts(p_story_id, p_change);
  else
    if not tales.store_request(p_owner, p_request, p_story_id) then
      -- The same request id was used for another story at the same moment.
      perform tales.refuse('REQUEST_ID_REUSED');
    end if;
    update tales.stories set
      state = case v_kind when 'Retry' then 'PENDING' else 'NARRATING' end,
      revision = revision + 1, ended_at = null, lease_expires_at = null, renewed_at = null, work_us = 0,
      pickup_count = 0
    where id = p_story_id;
    if v_kind = 'Narrate' then
      -- The manifest in progress goes; the one that the stored audio was composed from stays.
      delete from tales.story_segments
        where story_id = p_story_id
        and audio_id not in (select audio_id from tales.story_audio where story_id = p_story_id);
      update tales.stories set
        narrate = true, narration = null, narration_audio_id = null, segment_count = 0,
        voice = tales.to_bytes(p_change ->> 'voice')
      where id = p_story_id;
    end if;
    if p_lease_us is not null then
      perform tales.take_lease(p_story_id, p_lease_us);
    end if;
  end if;
  return jsonb_build_object('changed', v_changed, 'record', tales.story_record(p_owner, p_story_id, false));
exception when sqlstate 'TALES' then
  get stacked diagnostics v_reason = message_text, v_detail = pg_exception_detail;
  return jsonb_build_object('refused', v_reason, 'detail', v_detail::jsonb);
end
$$;
