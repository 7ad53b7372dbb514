-- Carries all that is stored to another set-up and back, across owners. For operators, at the command line.

-- At most `p_most` rows of a table that holds no stories, in the order of its key, from the one behind `p_after` (a row
-- of the page before, or null) on.
create function tales.scan_rows(p_table text, p_after jsonb, p_most integer) returns jsonb
  language plpgsql stable
as $$
declare
  v_key text := case p_table
    when 'profiles' then 'id'
    when 'requests' then 'owner, request_id'
    when 'tombstones' then 'resource_id'
  end;
  v_row text := case p_table
    when 'profiles' then 'tales.profile_row(t)'
    when 'requests' then 'to_jsonb(t) || jsonb_build_object(''fingerprint'', tales.to_base64(fingerprint))'
    else 'to_jsonb(t)'
  end;
  v_found jsonb;
begin
  execute format(
    'select coalesce(jsonb_agg(one order by %2$s), ''[]'') from ('
    ' select %3$s as one, %2$s from tales.%1$I t where ($1 is null or (%2$s) > ('
    '   select %2$s from jsonb_populate_record(null::tales.%1$I, $1)'
    ' )) order by %2$s limit $2) as page',
    p_table, v_key, v_row
  ) into v_found using p_after, p_most;
  return v_found;
end
$$;

-- Stores rows of such a table; how many were new. What is known stays, and nothing contradicts what is stored or was
-- deleted here.
create function tales.restore_rows(p_table text, p_rows jsonb) returns integer
  language plpgsql
as $$
declare
  v_new integer;
begin
  execute format(
    'insert into tales.%1$I select given.* from jsonb_populate_recordset(null::tales.%1$I, $1) as given'
    ' where %2$s on conflict do nothing',
    p_table,
    case p_table
      when 'profiles' then 'not exists (select from tales.tombstones where resource_id = given.id)'
      when 'tombstones' then 'not exists (select from tales.stories where id = given.resource_id)'
        ' and not exists (select from tales.profiles where id = given.resource_id)'
      else 'true'
    end
  ) using p_rows;
  get diagnostics v_new = row_count;
  return v_new;
end
$$;

-- Ids and owners of at most `p_most` stories, by id, from the one behind `p_after` (or null) on: [{id, owner}].
create function tales.scan_stories(p_after uuid, p_most integer) returns jsonb
  language sql stable
as $$
  select coalesce(jsonb_agg(jsonb_build_object('id', id, 'owner', owner) order by id), '[]') from (
    select id, owner from tales.stories where p_after is null or id > p_after order by id limit p_most
  ) as page
$$;

-- Those of the ids in the list `p_ids` that are of stored stories or of anything that was deleted.
create function tales.known_stories(p_ids jsonb) returns jsonb
  language sql stable
as $$
  select coalesce(jsonb_agg(id), '[]') from jsonb_array_elements_text(p_ids) as given (id)
  where exists (select from tales.stories s where s.id = given.id::uuid)
    or exists (select from tales.tombstones t where t.resource_id = given.id::uuid)
$$;

-- Stores a story with all that belongs to it but a narration in progress; {created}, false where its id is known.
-- `p_story` holds its columns, those of bytes in base64, as do `p_segments` (the manifest of its audio), `p_attempts`,
-- `p_problems` and `p_audio` (or null).
create function tales.restore_story(
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
      work_us, pickup_count, spec, story, voice, generation
    ) values (
      v_story.id, v_story.owner, v_story.state, v_story.revision, v_story.kind, v_story.child_id, v_story.child_name,
      v_story.hero_id, v_story.parent_story_id, v_story.language_code, v_story.length_minutes, v_story.narrate,
      v_story.rating, v_story.title, v_story.content, v_story.content_complete, v_story.embedded_parts,
      v_story.created_at, v_story.updated_at, v_story.ended_at, v_story.lease_token, v_story.work_us,
      v_story.pickup_count, tales.to_bytes(p_story ->> 'spec'),
      tales.to_bytes(p_story ->> 'story'), tales.to_bytes(p_story ->> 'voice'),
      tales.to_bytes(p_story ->> 'generation')
    )
    on conflict (id) do nothing;
  if not found then
    return jsonb_build_object('created', false);
  end if;
  perform tales.store_attempts(v_story.id, p_attempts);
  perform tales.store_problems(v_story.id, p_problems);
  if p_audio is not null then
    perform tales.store_manifest(v_story.id, (p_audio ->> 'audio_id')::uuid, p_segments);
    perform tales.store_audio(v_story.id, p_audio, jsonb_array_length(p_segments));
  end if;
  return jsonb_build_object('created', true);
exception when sqlstate 'TALES' then
  get stacked diagnostics v_reason = message_text;
  return jsonb_build_object('refused', v_reason);
end
$$;
