-- Children and heroes: one set of functions for both, told apart by `p_kind` ('child' or 'hero'). A profile comes as
-- the columns that are given by value and goes as its whole row.

create function tales.profile_table(p_kind text) returns text
  language sql immutable
  return case p_kind when 'child' then 'children' when 'hero' then 'heroes' end;

create function tales.get_profile(p_owner text, p_kind text, p_id uuid) returns jsonb
  language plpgsql stable
as $$
declare
  v_found jsonb;
begin
  execute format('select to_jsonb(p) from tales.%I p where id = $1 and owner = $2', tales.profile_table(p_kind))
    into v_found using p_id, p_owner;
  return coalesce(v_found, jsonb_build_object('refused', 'NOT_FOUND'));
end
$$;

-- Stores a profile under `p_id`, or returns the one that the request made before. `p_request` may be null.
create function tales.create_profile(
  p_owner text, p_kind text, p_id uuid, p_profile jsonb, p_request jsonb, p_now timestamptz default null
) returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_table text := tales.profile_table(p_kind);
  v_known uuid;
  v_reason text;
  v_detail text;
begin
  v_known := tales.find_request(p_owner, p_request);
  if v_known is null and not tales.keep_request(p_owner, p_request, p_id) then
    v_known := tales.find_request(p_owner, p_request);
  end if;
  if v_known is null then
    execute format(
      'insert into tales.%1$I select (jsonb_populate_record(null::tales.%1$I, $1)).* on conflict (id) do nothing',
      v_table
    ) using p_profile || jsonb_build_object(
      'id', p_id, 'owner', p_owner, 'revision', 1, 'created_at', v_now, 'updated_at', v_now
    );
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
declare
  v_found jsonb;
begin
  execute format(
    'select coalesce(jsonb_agg(to_jsonb(page) order by page.created_at desc, page.id desc), ''[]'') from ('
    ' select * from tales.%I where owner = $1 %s order by created_at desc, id desc limit $2) as page',
    tales.profile_table(p_kind),
    case when p_after is not null then
      'and (created_at, id) < (($3 ->> ''created_at'')::timestamptz, ($3 ->> ''id'')::uuid)'
    end
  ) into v_found using p_owner, p_limit, p_after;
  return v_found;
end
$$;

-- Sets the columns that `p_change` has; the revision grows where anything differs.
create function tales.update_profile(
  p_owner text, p_kind text, p_id uuid, p_change jsonb, p_expected_revision bigint, p_now timestamptz default null
) returns jsonb
  language plpgsql
as $$
declare
  v_table text := tales.profile_table(p_kind);
  v_before jsonb;
  v_after jsonb;
  v_columns text;
begin
  perform tales.begin_call(p_now);
  execute format('select to_jsonb(p) from tales.%I p where id = $1 and owner = $2 for update', v_table)
    into v_before using p_id, p_owner;
  if v_before is null then
    return jsonb_build_object('refused', 'NOT_FOUND');
  end if;
  if (v_before ->> 'revision')::bigint <> p_expected_revision then
    return jsonb_build_object(
      'refused', 'REVISION_MISMATCH',
      'detail', jsonb_build_object('expected', p_expected_revision, 'actual', v_before -> 'revision')
    );
  end if;
  v_after := v_before || p_change;
  if v_after = v_before then
    return v_before;
  end if;
  select string_agg(format('%1$I = given.%1$I', name), ', ') into v_columns from jsonb_object_keys(p_change) as name;
  execute format(
    'update tales.%1$I p set %2$s, revision = p.revision + 1 from jsonb_populate_record(null::tales.%1$I, $1) as given'
    ' where p.id = $2 returning to_jsonb(p)',
    v_table, v_columns
  ) into v_after using v_after, p_id;
  return v_after;
end
$$;

-- Removes a profile and leaves a tombstone; stories stay.
create function tales.delete_profile(p_owner text, p_kind text, p_id uuid, p_now timestamptz default null)
  returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_count integer;
begin
  execute format('delete from tales.%I where id = $1 and owner = $2', tales.profile_table(p_kind)) using p_id, p_owner;
  get diagnostics v_count = row_count;
  if v_count = 0 then
    return jsonb_build_object('refused', 'NOT_FOUND');
  end if;
  perform tales.bury(p_owner, p_id, v_now);
  return '{}';
end
$$;

revoke all on all functions in schema tales from public, anon, authenticated;
grant execute on all functions in schema tales to service_role;
