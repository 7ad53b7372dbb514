-- The id of this store: what a place for audio outside of Supabase is marked with, so that no other store sweeps it.
create table tales.store_identity (
  one boolean primary key default true check (one),
  id uuid not null default gen_random_uuid()
);
alter table tales.store_identity enable row level security;
revoke all on tales.store_identity from public, anon, authenticated;
grant select, insert on tales.store_identity to service_role;
create policy service_role_only on tales.store_identity to service_role using (true) with check (true);

-- {id}, which is made at the first call.
create function tales.store_id() returns jsonb
  language sql volatile
as $$
  insert into tales.store_identity default values on conflict do nothing;
  select jsonb_build_object('id', id) from tales.store_identity;
$$;

revoke all on function tales.store_id() from public, anon, authenticated;
grant execute on function tales.store_id() to service_role;
