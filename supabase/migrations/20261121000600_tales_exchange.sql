-- Carries all that is stored to another set-up and back, across owners. For operators, at the command line.

-- At most `p_most` rows of a table that holds no stories, in the order of its key, from the one behind `p_after` (a row
-- of the page before, or null) on.
create function tales.export_rows(p_table text, p_after jsonb, p_most integer) returns jsonb
  language plpgsql stable
as $$
declare
  v_key text := case p_table
    when 'children' then 'id'
    when 'heroes' then 'id'
    when 'requests' then 'owner, request_id'
    when 'tombstones' then 'resource_id'
  end;
  v_found jsonb;
begin
  execute format(
    'select coalesce(jsonb_agg(to_jsonb(page) order by %2$s), ''[]'') from ('
    ' select * from tales.%1$I t where ($1 is null or (%2$s) > ('
    '   select %2$s from jsonb_populate_record(null::tales.%1$I, $1)'
    ' )) order by %2$s limit $2) as page',
    p_table, v_key
  ) into v_found using p_after, p_most;
  return v_found;
end
$$;

-- Stores rows of such tables, [{table, row}]; how many were new. What is known stays, and nothing speaks against what is
-- stored or was deleted here.
create function tales.import_rows(p_rows jsonb) returns integer
  language plpgsql
as $$
declare
  v_given jsonb;
  v_table text;
  v_id uuid;
  v_new integer := 0;
  v_count integer;
begin
  for v_given in select one from jsonb_array_elements(p_rows) with ordinality as given (one, place) order by place loop
    v_table := v_given ->> 'table';
    v_id := case v_table
      when 'tombstones' then v_given -> 'row' ->> 'resource_id'
      when 'requests' then null
      else v_given -> 'row' ->> 'id'
    end;
    if v_table in ('children', 'heroes') and exists (select from tales.tombstones where resource_id = v_id) then
      continue;
    elsif v_table = 'tombstones' and (
      exists (select from tales.stories where id = v_id)
      or exists (select from tales.children where id = v_id)
      or exists (select from tales.heroes where id = v_id)
    ) then
      continue;
    end if;
    execute format(
      'insert into tales.%1$I select (jsonb_populate_record(null::tales.%1$I, $1)).* on conflict do nothing', v_table
    ) using v_given -> 'row';
    get diagnostics v_count = row_count;
    v_new := v_new + v_count;
  end loop;
  return v_new;
end
$$;

-- Ids and owners of at most `p_most` stories, by id, from the one behind `p_after` (or null) on: [{id, owner}].
create function tales.export_story_ids(p_after uuid, p_most integer) returns jsonb
  language sql stable
as $$
  select coalesce(jsonb_agg(jsonb_build_object('id', id, 'owner', owner) order by id), '[]') from (
    select id, owner from tales.stories where p_after is null or id > p_after order by id limit p_most
  ) as page
$$;

-- A story in full, with the `object_id` of its audio, as both are at one moment.
create function tales.export_story(p_owner text, p_story_id uuid) returns jsonb
  language sql stable
as $$
  select case when exists (select from tales.stories where id = p_story_id and owner = p_owner) then
    tales.story_record(p_owner, p_story_id, true) || jsonb_build_object(
      'object_id', (select object_id from tales.story_audio where story_id = p_story_id)
    )
  else '{"refused": "STORY_NOT_FOUND"}' end
$$;

-- Of `p_story_ids` those that are neither stored nor deleted.
create function tales.missing_stories(p_story_ids uuid[]) returns jsonb
  language sql stable
as $$
  select coalesce(jsonb_agg(id), '[]') from unnest(p_story_ids) as given (id)
  where not exists (select from tales.stories s where s.id = given.id)
    and not exists (select from tales.tombstones t where t.resource_id = given.id)
$$;

-- Stores a story with all that hangs on it but a narration in the making; {created}, false where its id is known.
-- `p_story` holds its columns, those of bytes in base64, as do `p_segments` [{audio_id, index, key, sha256, text_end,
-- audio_end, segment}], `p_attempts`, `p_problems` and `p_audio` (or null).
create function tales.import_story(
  p_story jsonb, p_segments jsonb, p_attempts jsonb, p_problems jsonb, p_audio jsonb
) returns jsonb
  language plpgsql
as $$
declare
  v_story tales.stories := jsonb_populate_record(
    null::tales.stories, p_story - '{spec,story,voice,generation}'::text[]
  );
  v_reason text;
begin
  if exists (select from tales.tombstones where resource_id = v_story.id) then
    return jsonb_build_object('created', false);
  end if;
  insert into tales.stories (
      id, owner, state, revision, kind, child_id, child_name, hero_id, parent_story_id, language_code, length_minutes,
      narrate, rating, title, content, content_complete, embedded_parts, created_at, updated_at, ended_at, lease_token,
      started_at, pickup_count, handed_over, spec, story, voice, generation
    ) values (
      v_story.id, v_story.owner, v_story.state, v_story.revision, v_story.kind, v_story.child_id, v_story.child_name,
      v_story.hero_id, v_story.parent_story_id, v_story.language_code, v_story.length_minutes, v_story.narrate,
      v_story.rating, v_story.title, v_story.content, v_story.content_complete, v_story.embedded_parts,
      v_story.created_at, v_story.updated_at, v_story.ended_at, v_story.lease_token, v_story.started_at,
      v_story.pickup_count, v_story.handed_over, tales.to_bytes(p_story ->> 'spec'),
      tales.to_bytes(p_story ->> 'story'), tales.to_bytes(p_story ->> 'voice'),
      tales.to_bytes(p_story ->> 'generation')
    )
    on conflict (id) do nothing;
  if not found then
    return jsonb_build_object('created', false);
  end if;
  insert into tales.story_segments (story_id, audio_id, position, key, sha256, text_end, audio_end, segment)
    select v_story.id, (one ->> 'audio_id')::uuid, (one ->> 'index')::integer, one ->> 'key',
      tales.to_bytes(one ->> 'sha256'), (one ->> 'text_end')::bigint, (one ->> 'audio_end')::bigint,
      tales.to_bytes(one ->> 'segment')
    from jsonb_array_elements(p_segments) as given (one);
  insert into tales.story_attempts (
      story_id, attempt_id, kind, provider, model, outcome, reason, cost_usd, cost_known, started_at, ended_at, attempt
    )
    select v_story.id, (one ->> 'attempt_id')::uuid, one ->> 'kind', one ->> 'provider', one ->> 'model',
      one ->> 'outcome', one ->> 'reason', (one ->> 'cost_usd')::double precision, (one ->> 'cost_known')::boolean,
      (one ->> 'started_at')::timestamptz, (one ->> 'ended_at')::timestamptz, tales.to_bytes(one ->> 'attempt')
    from jsonb_array_elements(p_attempts) with ordinality as given (one, place)
    order by place;
  perform tales.keep_problems(v_story.id, p_problems);
  if p_audio is not null then
    perform tales.keep_object((p_audio ->> 'object_id')::uuid);
    insert into tales.story_audio (
        story_id, audio_id, object_id, sha256, size_bytes, content_type, duration_us, segment_count, audio
      ) values (
        v_story.id, (p_audio ->> 'audio_id')::uuid, (p_audio ->> 'object_id')::uuid,
        tales.to_bytes(p_audio ->> 'sha256'), (p_audio ->> 'size_bytes')::bigint, p_audio ->> 'content_type',
        (p_audio ->> 'duration_us')::bigint, (p_audio ->> 'segment_count')::integer,
        tales.to_bytes(p_audio ->> 'audio')
      );
  end if;
  return jsonb_build_object('created', true);
exception when sqlstate 'TALES' then
  get stacked diagnostics v_reason = message_text;
  return jsonb_build_object('refused', v_reason);
end
$$;

revoke all on all functions in schema tales from public, anon, authenticated;
grant execute on all functions in schema tales to service_role;
