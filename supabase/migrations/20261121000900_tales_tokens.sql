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

-- As before, with such tokens.
create or replace function tales.claim_stories(
  p_duration_us bigint, p_most integer, p_story_ids uuid[] default null, p_expired boolean default true,
  p_now timestamptz default null
) returns jsonb
  language plpgsql
as $$
declare
  v_now timestamptz := tales.begin_call(p_now);
  v_claimed jsonb;
begin
  with free as (
    select id from tales.stories
    where state in ('PENDING', 'WRITING', 'NARRATING')
      and (
        lease_expires_at is null
        or p_expired and (
          lease_expires_at <= v_now or lease_expires_at - v_now > 2 * (lease_expires_at - renewed_at)
        )
      )
      and (p_story_ids is null or id = any (p_story_ids))
    order by created_at, id
    limit p_most
    for no key update skip locked
  ), taken as (
    update tales.stories s set
      lease_token = s.lease_token + tales.token_step(),
      lease_expires_at = v_now + p_duration_us * interval '1 microsecond',
      pickup_count = s.pickup_count + (s.renewed_at is not null)::integer,
      work_us = s.work_us + tales.worked_us(s.renewed_at, s.lease_expires_at, v_now),
      renewed_at = v_now
    from free where s.id = free.id
    returning s.id, s.owner, s.lease_token, s.pickup_count, s.created_at
  )
  select coalesce(
    jsonb_agg(
      jsonb_build_object('id', id, 'owner', owner, 'lease_token', lease_token, 'pickup_count', pickup_count)
      order by created_at, id
    ), '[]'
  ) into v_claimed from taken;
  return v_claimed;
end
$$;

create or replace function tales.schema_version() returns integer
  language sql immutable
  return 5;

revoke all on all functions in schema tales from public, anon, authenticated;
grant execute on all functions in schema tales to service_role;
