-- Removes stories and children for good, and remembers what is left to do about them outside the database.

-- Removes a story with all that hangs on it; {id, segment_sha256 (base64, 32 bytes each), object_ids}. The token of its
-- run is gone with it, so whatever the run still sends is refused.
create function tales.remove_story(p_story tales.stories, p_now timestamptz) returns jsonb
  language plpgsql
as $$
declare
  v_hashes bytea;
  v_object_ids uuid[];
begin
  -- At most 10,000 hashes: caches know the segments of a story by its id as well.
  select coalesce(string_agg(sha256, ''::bytea), ''::bytea) into v_hashes from (
    select distinct sha256 from tales.story_segments where story_id = p_story.id limit 10000
  ) as hashes;
  v_object_ids := array(select object_id from tales.story_audio where story_id = p_story.id);
  delete from tales.stories where id = p_story.id;
  perform tales.bury(p_story.owner, p_story.id, p_now);
  insert into tales.removals (story_id, owner, child_id, segment_sha256, audio_count, object_ids, again_at)
    values (
      p_story.id, p_story.owner, p_story.child_id, v_hashes, cardinality(v_object_ids), v_object_ids,
      -- A run may have stopped (or been stopped) a moment ago with calls in flight.
      case when coalesce(p_story.ended_at, p_now) > p_now - interval '2 minutes' then p_now + interval '2 minutes' end
    );
  return jsonb_build_object(
    'id', p_story.id, 'segment_sha256', tales.to_base64(v_hashes), 'object_ids', to_jsonb(v_object_ids)
  );
end
$$;

create function tales.delete_story(p_owner text, p_story_id uuid, p_now timestamptz default null) returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_story tales.stories;
begin
  select * into v_story from tales.stories where id = p_story_id and owner = p_owner for update;
  if not found then
    return jsonb_build_object('refused', 'STORY_NOT_FOUND');
  end if;
  return tales.remove_story(v_story, v_now);
end
$$;

-- Removes a child and at most `p_most` of its stories: {story_count, more, dropped}, the last one [{id, object_ids}].
create function tales.erase_child(p_owner text, p_child_id uuid, p_most integer, p_now timestamptz default null)
  returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_story tales.stories;
  v_gone boolean;
  v_count integer := 0;
  v_more boolean;
  v_left jsonb;
begin
  delete from tales.children where id = p_child_id and owner = p_owner;
  v_gone := found;
  if v_gone then
    perform tales.bury(p_owner, p_child_id, v_now);
  end if;
  for v_story in
    select * from tales.stories where owner = p_owner and child_id = p_child_id
    order by created_at, id limit p_most for update
  loop
    perform tales.remove_story(v_story, v_now);
    v_count := v_count + 1;
  end loop;
  v_more := exists (select from tales.stories where owner = p_owner and child_id = p_child_id);
  select jsonb_agg(jsonb_build_object('id', story_id, 'object_ids', to_jsonb(object_ids))) into v_left
    from tales.removals
    where owner = p_owner and child_id = p_child_id and (object_ids <> '{}' or not forgotten);
  if not (v_gone or v_count > 0 or v_left is not null) then
    return jsonb_build_object('refused', 'CHILD_NOT_FOUND');
  end if;
  return jsonb_build_object('story_count', v_count, 'more', v_more, 'dropped', coalesce(v_left, '[]'));
end
$$;

-- Removes at most `p_most` stories that were accepted before a time and are not being made, oldest first.
create function tales.expire_stories(p_before timestamptz, p_most integer, p_now timestamptz default null)
  returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_story tales.stories;
  v_removed jsonb := '[]';
begin
  for v_story in
    select * from tales.stories
    where state in ('READY', 'READY_WITHOUT_AUDIO', 'FAILED', 'CANCELLED') and created_at < p_before
    order by created_at, id limit p_most
    for update skip locked
  loop
    v_removed := v_removed || tales.remove_story(v_story, v_now);
  end loop;
  return v_removed;
end
$$;

-- Files of removed stories that may still be there: [{id, object_ids}].
create function tales.files_to_remove(p_most integer) returns jsonb
  language sql stable
as $$
  select coalesce(jsonb_agg(jsonb_build_object('id', story_id, 'object_ids', to_jsonb(object_ids))), '[]')
  from (select * from tales.removals where object_ids <> '{}' order by story_id limit p_most) as page
$$;

-- Notes that the files of removed stories are gone.
create function tales.files_removed(p_story_ids uuid[]) returns void
  language sql
as $$
  update tales.removals set object_ids = '{}' where story_id = any (p_story_ids);
  delete from tales.removals where story_id = any (p_story_ids) and forgotten and again_at is null;
$$;

-- Removed stories that caches are to forget now, oldest first: of one child, or with null of anybody; together they
-- have at most `p_most_hashes` segments.
create function tales.list_forgettable(
  p_owner text, p_child_id uuid, p_most integer, p_most_hashes integer, p_now timestamptz default null
) returns jsonb
  language sql stable
as $$
  select coalesce(
    jsonb_agg(
      jsonb_build_object(
        'id', story_id, 'segment_sha256', tales.to_base64(segment_sha256), 'audio_count', audio_count
      ) order by story_id
    ), '[]'
  ) from (
    select *, sum(octet_length(segment_sha256)) over (order by story_id) as bytes from (
      select story_id, segment_sha256, audio_count from tales.removals
      where (not forgotten or again_at <= coalesce(p_now, clock_timestamp()))
        and (p_child_id is null or (owner = p_owner and child_id = p_child_id))
      order by story_id
      limit p_most
    ) as oldest
  ) as page
  where bytes <= 32 * p_most_hashes
$$;

-- Notes that caches have forgotten stories.
create function tales.confirm_forgotten(p_story_ids uuid[], p_now timestamptz default null) returns void
  language sql
as $$
  update tales.removals
    set forgotten = true, again_at = case when again_at > coalesce(p_now, clock_timestamp()) then again_at end
    where story_id = any (p_story_ids);
  delete from tales.removals where story_id = any (p_story_ids) and object_ids = '{}' and again_at is null;
$$;

revoke all on all functions in schema tales from public, anon, authenticated;
grant execute on all functions in schema tales to service_role;
