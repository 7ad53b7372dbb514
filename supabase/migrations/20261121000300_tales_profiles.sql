-- Children and heroes: one table for both, distinguished by `kind`. Their fields are inside the serialized message, which the
-- service changes; a profile goes as its row (`tales.profile_row`).

create function tales.get_profile(p_owner text, p_kind text, p_id uuid) returns jsonb
  language sql stable
as $$
  select coalesce(
    (select tales.profile_row(p) from tales.profiles p where id = p_id and owner = p_owner and kind = p_kind),
    '{"refused": "NOT_FOUND"}'
  )
$$;

-- Stores a profile under `p_id`, or returns the one that the request made before. `p_request` may be null.
create function tales.create_profile(
  p_owner text, p_kind text, p_id uuid, p_name text, p_profile text, p_request jsonb, p_now timestamptz default null
) returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_known uuid;
  v_reason text;
  v_detail text;
begin
  v_known := tales.find_request(p_owner, p_request);
  if v_known is null and not tales.store_request(p_owner, p_request, p_id) then
    v_known := tales.find_request(p_owner, p_request);
  end if;
  if v_known is null then
    insert into tales.profiles (id, owner, kind, name, profile, created_at, updated_at)
      values (p_id, p_owner, p_kind, p_name, tales.to_bytes(p_profile), v_now, v_now)
      on conflict (id) do nothing;
  end if;
  return tales.get_profile(p_owner, p_kind, coalesce(v_known, p_id));
exception when sqlstate 'TALES' then
  get stacked diagnostics v_reason = message_text, v_detail = pg_exception_detail;
  return jsonb_build_object('refused', v_reason, 'detail', v_detail::jsonb);
end
$$;

-- At most `p_limit` profiles, newest first, from the one behind `p_after` ({created_at, id} or null) on.
create function tales.list_profiles(p_owner text, p_kind text, p_limit integer, p_after jsonb) returns jsonb
  language plpgsql stable
as $$
begin
  return (
    select coalesce(jsonb_agg(one order by created_at desc, id desc), '[]') from (
      select created_at, id, tales.profile_row(p) as one from tales.profiles p
      where owner = p_owner and kind = p_kind and (created_at, id) < (
        coalesce((p_after ->> 'created_at')::timestamptz, 'infinity'),
        coalesce((p_after ->> 'id')::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
      )
      order by created_at desc, id desc limit p_limit
    ) as page
  );
end
$$;

-- Replaces a profile that still has the revision `p_revision`.
create function tales.update_profile(
  p_owner text, p_kind text, p_id uuid, p_name text, p_profile text, p_revision bigint,
  p_now timestamptz default null
) returns jsonb
  language plpgsql
as $$
declare
  v_found jsonb;
begin
  perform tales.begin_call(p_now);
  update tales.profiles set name = p_name, profile = tales.to_bytes(p_profile), revision = revision + 1
    where id = p_id and owner = p_owner and kind = p_kind and revision = p_revision;
  v_found := tales.get_profile(p_owner, p_kind, p_id);
  if found or v_found ? 'refused' then
    return v_found;
  end if;
  return jsonb_build_object(
    'refused', 'REVISION_MISMATCH',
    'detail', jsonb_build_object('expected', p_revision, 'actual', v_found -> 'revision')
  );
end
$$;

-- Removes a profile and leaves a tombstone; stories stay.
create function tales.delete_profile(p_owner text, p_kind text, p_id uuid, p_now timestamptz default null)
  returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
begin
  delete from tales.profiles where id = p_id and owner = p_owner and kind = p_kind;
  if not found then
    return jsonb_build_object('refused', 'NOT_FOUND');
  end if;
  perform tales.bury(p_owner, p_id, v_now);
  return '{}';
end
$$;
