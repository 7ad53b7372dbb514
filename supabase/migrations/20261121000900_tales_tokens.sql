-- Lease tokens that cannot be guessed: each claim adds a random number, so that they still grow.

-- 1 to 2 ^ 44. The bits are those of a UUID, which PostgreSQL takes from its strong source; random() is not one.
create function tales.token_step() returns bigint
  language sql volatile
  return 1 + ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 11))::bit(44)::bigint;

-- As before, with such a token.
create or replace function tales.take_lease(p_story_id uuid, p_duration_us bigint) returns void
  language sql
as $$
  update tales.stories set
    lease_token = lease_token + tales.token_step(),
    lease_expires_at = tales.now() + p_duration_us * interval '1 microsecond',
    pickup_count = pickup_count + (renewed_at is not null)::integer,
    work_us = work_us + tales.worked_us(renewed_at, lease_expires_at, tales.now()),
    renewed_at = tales.now()
  where id = p_story_id
$$;

create or replace function tales.schema_version() returns integer
  language sql immutable
  return 5;

revoke all on all functions in schema tales from public, anon, authenticated;
grant execute on all functions in schema tales to service_role;
