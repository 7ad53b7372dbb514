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

-- As 20261121001000 has them; a database that took an earlier version of it has a trigger that could deadlock.
create or replace function tales.count_attempt() returns trigger
  language plpgsql
as $$
declare
  v_owner text;
begin
  -- An import has no time that it goes by, and what it brings was not used here.
  if new.kind not in ('MODEL_CALL', 'SPEECH_CALL') or coalesce(current_setting('tales.now', true), '') = '' then
    return null;
  end if;
  if new.outcome = 'STARTED' and (tg_op = 'INSERT' or old.outcome = 'STARTED') then
    return null;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('tales.usage', 0));
  select owner into v_owner from tales.stories where id = new.story_id;
  if new.outcome <> 'STARTED' then
    perform tales.count_usage(v_owner, new, 1);
  end if;
  if tg_op = 'UPDATE' and old.outcome <> 'STARTED' then
    perform tales.count_usage(v_owner, old, -1);
  end if;
  return null;
end
$$;

-- At the end of a transaction, which then takes no lock but those of lines of usage: calls that count the same lines in
-- different orders, for stories of several owners, would else wait for each other for good.
drop trigger if exists story_attempts_usage on tales.story_attempts;
create constraint trigger story_attempts_usage after insert or update on tales.story_attempts
  deferrable initially deferred
  for each row execute function tales.count_attempt();

create or replace function tales.schema_version() returns integer
  language sql immutable
  return 8;

revoke all on all functions in schema tales from public, anon, authenticated;
grant execute on all functions in schema tales to service_role;
