-- What was planned before the text of a story: checkpointed, listed, exported.

-- A serialized StoryOutline in base64, as it comes and goes; null where there is none.
alter table tales.stories add column outline text;

-- As before, and an item may have `outline`, which replaces the stored one.
create or replace function tales.checkpoint_stories(
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
  -- Not of what was refused, nor of a story that had ended before. `updated_at`: no trigger sets it for this column.
  update tales.stories set outline = given.one ->> 'outline', updated_at = v_now
    from jsonb_array_elements(p_items) with ordinality as given (one, place)
    join jsonb_array_elements(v_verdicts) with ordinality as held (verdict, place) using (place)
    where id = (given.one ->> 'id')::uuid and given.one ? 'outline' and held.verdict ? 'lease_expires_at';
  return v_verdicts;
end
$$;

-- As before, and a summary has `outline`.
create or replace function tales.list_stories(p_owner text, p_filter jsonb, p_limit integer, p_after jsonb) returns jsonb
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
    '  s.rating, s.created_at, s.updated_at, s.revision, left(s.content, 201) as beginning, s.outline,'
    '  (select a.duration_us from tales.story_audio a where a.story_id = s.id) as duration_us'
    ' from tales.stories s where s.owner = $1' || v_terms
    || ' order by s.created_at desc, s.id desc limit $3) as page'
    into v_found using p_owner, p_filter, p_limit, p_after, v_query;
  return v_found;
end
$$;

-- As before, and `p_story` may have `outline`.
create or replace function tales.restore_story(
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
      work_us, pickup_count, spec, story, voice, generation, outline
    ) values (
      v_story.id, v_story.owner, v_story.state, v_story.revision, v_story.kind, v_story.child_id, v_story.child_name,
      v_story.hero_id, v_story.parent_story_id, v_story.language_code, v_story.length_minutes, v_story.narrate,
      v_story.rating, v_story.title, v_story.content, v_story.content_complete, v_story.embedded_parts,
      v_story.created_at, v_story.updated_at, v_story.ended_at, v_story.lease_token, v_story.work_us,
      v_story.pickup_count, tales.to_bytes(p_story ->> 'spec'),
      tales.to_bytes(p_story ->> 'story'), tales.to_bytes(p_story ->> 'voice'),
      tales.to_bytes(p_story ->> 'generation'), v_story.outline
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

create or replace function tales.schema_version() returns integer
  language sql immutable
  return 4;

revoke all on all functions in schema tales from public, anon, authenticated;
grant execute on all functions in schema tales to service_role;
