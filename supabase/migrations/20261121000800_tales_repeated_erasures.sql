-- Was it deleted lately? Who repeats an erasure whose answer was lost is told so.
create function tales.was_deleted(
  p_owner text, p_resource_id uuid, p_within_us bigint, p_now timestamptz default null
) returns boolean
  language sql stable
as $$
  select exists (
    select from tales.tombstones
    where resource_id = p_resource_id and owner = p_owner
      and deleted_at > coalesce(p_now, clock_timestamp()) - p_within_us * interval '1 microsecond'
  )
$$;

revoke all on all functions in schema tales from public, anon, authenticated;
grant execute on all functions in schema tales to service_role;
