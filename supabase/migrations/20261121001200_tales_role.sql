-- A role for the storage service that can do no more than it needs: it reaches the schema `tales`, and the files of the
-- bucket `tales` where there is a storage, and nothing else of the project. service_role reaches all of it.
do $$
declare
  v_table text;
begin
  if not exists (select from pg_roles where rolname = 'tales_service') then
    create role tales_service nologin;
  end if;
  if exists (select from pg_roles where rolname = 'authenticator') then
    -- So that PostgREST may act as it, for a token with "role": "tales_service".
    grant tales_service to authenticator;
  end if;
  for v_table in select tablename from pg_tables where schemaname = 'tales' loop
    execute format('alter policy service_role_only on tales.%I to service_role, tales_service', v_table);
  end loop;
  if to_regclass('storage.objects') is not null then
    grant usage on schema storage to tales_service;
    grant select on storage.buckets to tales_service;
    grant select, insert, update, delete on storage.objects to tales_service;
    create policy tales_service_bucket on storage.buckets to tales_service using (id = 'tales');
    create policy tales_service_objects on storage.objects to tales_service
      using (bucket_id = 'tales') with check (bucket_id = 'tales');
  end if;
exception
  -- Who owns the storage of the project can run it again; until then the service uses service_role.
  when insufficient_privilege then raise notice 'tales_service was not made: %', sqlerrm;
end
$$;

do $$
begin
  if exists (select from pg_roles where rolname = 'tales_service') then
    grant usage on schema tales to tales_service;
    grant select, insert, update, delete on all tables in schema tales to tales_service;
    grant usage, select on all sequences in schema tales to tales_service;
    grant execute on all functions in schema tales to tales_service;
    alter default privileges in schema tales grant execute on functions to tales_service;
    alter default privileges in schema tales grant select, insert, update, delete on tables to tales_service;
    alter default privileges in schema tales grant usage, select on sequences to tales_service;
  end if;
end
$$;

create or replace function tales.schema_version() returns integer
  language sql immutable
  return 8;

revoke all on all functions in schema tales from public, anon, authenticated;
grant execute on all functions in schema tales to service_role;
