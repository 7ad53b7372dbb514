-- The private bucket `tales`; a file is `audio/xx/<object id>` or `segments/xx/<object id>`. A plain PostgreSQL has no
-- storage.
do $$
begin
  if to_regclass('storage.buckets') is not null then
    insert into storage.buckets (id, name, public) values ('tales', 'tales', false)
      on conflict (id) do update set public = false;
  end if;
end
$$;

-- What the service and its `check` ask. Each later migration raises it (a test compares it with SCHEMA_VERSION).
-- 1 and 2 were layouts before the first release, under the same names of migrations.
create function tales.schema_version() returns integer
  language sql immutable
  return 3;

-- Each later migration repeats this: PostgreSQL lets everybody call a new function.
revoke all on all functions in schema tales from public, anon, authenticated;
grant execute on all functions in schema tales to service_role;
