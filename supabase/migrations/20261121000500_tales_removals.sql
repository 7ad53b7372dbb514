-- Removes stories and children for good, with their audio and with the segments that no other story uses. Objects are
-- marked DELETED in the same transaction; their bytes are removed after it.

-- Removes stories whose rows are locked, with all that hangs on them; [{kind, object_id}]. The tokens of their runs are
-- gone with them, so whatever a run still sends is refused.
create function tales.remove_stories(p_story_ids uuid[]) returns jsonb
  language plpgsql
as $$
declare
  v_dropped jsonb;
  v_bytes bigint;
begin
  -- From here on no other story can begin to use these segments.
  perform from tales.segments
    where key = any (array(select key from tales.segment_uses where story_id = any (p_story_ids)))
    order by key
    for update;
  with doomed as (
    select a.object_id, s.child_id
    from tales.stories s join tales.story_audio a on a.story_id = s.id
    where s.id = any (p_story_ids)
    union all
    select * from (
      select distinct on (g.object_id) g.object_id, s.child_id
      from tales.segment_uses u join tales.segments g on g.key = u.key join tales.stories s on s.id = u.story_id
      where u.story_id = any (p_story_ids)
        and not exists (select from tales.segment_uses o where o.key = u.key and o.story_id <> all (p_story_ids))
      order by g.object_id, s.id
    ) as segments
  ), dropped as (
    update tales.objects o set state = 'DELETED', changed_at = tales.now(), child_id = doomed.child_id
    from doomed where o.object_id = doomed.object_id
    returning o.kind, o.object_id
  )
  select coalesce(jsonb_agg(to_jsonb(dropped)), '[]') into v_dropped from dropped;
  with removed as (
    delete from tales.segments
    where object_id in (select (one ->> 'object_id')::uuid from jsonb_array_elements(v_dropped) as given (one))
    returning size_bytes
  )
  select sum(size_bytes) into v_bytes from removed;
  perform tales.bury(owner, id, tales.now()) from tales.stories where id = any (p_story_ids);
  delete from tales.stories where id = any (p_story_ids);
  if v_bytes > 0 then
    perform tales.add_to_total(-v_bytes);
  end if;
  return v_dropped;
end
$$;

create function tales.delete_story(p_owner text, p_story_id uuid, p_now timestamptz default null) returns jsonb
  language plpgsql
as $$
begin
  perform tales.begin_call(p_now);
  perform from tales.stories where id = p_story_id and owner = p_owner for update;
  if not found then
    return jsonb_build_object('refused', 'STORY_NOT_FOUND');
  end if;
  return jsonb_build_object('dropped', tales.remove_stories(array[p_story_id]));
end
$$;

-- Removes a child and all its stories: {story_count, dropped}, the last one [{kind, object_id}], with what earlier calls
-- left of that child.
create function tales.erase_child(p_owner text, p_child_id uuid, p_now timestamptz default null) returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_story_ids uuid[];
begin
  delete from tales.profiles where id = p_child_id and owner = p_owner and kind = 'child';
  if found then
    perform tales.bury(p_owner, p_child_id, v_now);
  end if;
  v_story_ids := array(
    select id from tales.stories where owner = p_owner and child_id = p_child_id order by id for update
  );
  if v_story_ids <> '{}' then
    perform tales.remove_stories(v_story_ids);
  elsif not exists (select from tales.tombstones where resource_id = p_child_id and owner = p_owner) then
    return jsonb_build_object('refused', 'CHILD_NOT_FOUND');
  end if;
  return jsonb_build_object(
    'story_count', cardinality(v_story_ids),
    'dropped', (
      select coalesce(jsonb_agg(jsonb_build_object('kind', kind, 'object_id', object_id)), '[]')
      from tales.objects
      -- Also what was replaced or evicted and could not be removed: nothing says whose that is.
      where state <> 'STORED' and state = 'DELETED' and (child_id = p_child_id or child_id is null)
    )
  );
end
$$;

-- Removes at most `p_most` stories that were accepted before a time and are not being made, oldest first: {story_count,
-- dropped}, the last one [{kind, object_id}].
create function tales.expire_stories(p_before timestamptz, p_most integer, p_now timestamptz default null)
  returns jsonb
  language plpgsql
as $$
declare
  v_story_ids uuid[];
begin
  perform tales.begin_call(p_now);
  v_story_ids := array(
    select id from tales.stories
    where state in ('READY', 'READY_WITHOUT_AUDIO', 'FAILED', 'CANCELLED') and created_at < p_before
    order by created_at, id limit p_most
    for update skip locked
  );
  return jsonb_build_object(
    'story_count', cardinality(v_story_ids), 'dropped', tales.remove_stories(v_story_ids)
  );
end
$$;
