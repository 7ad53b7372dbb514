-- Waiting stories are claimed round robin by owner, so that a batch of one does not hold up the story of another.

-- As before, in another order: of each owner the oldest first, and of all owners that with the fewest runs.
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
  with running as (
    select owner, count(*) as runs from tales.stories
    where state in ('PENDING', 'WRITING', 'NARRATING') and lease_expires_at > v_now
    group by owner
  ), waiting as (
    select id, coalesce(runs, 0) + row_number() over (partition by owner order by created_at, id) as turn
    from tales.stories left join running using (owner)
    where state in ('PENDING', 'WRITING', 'NARRATING')
      and (lease_expires_at is null or p_expired)
      and (
        lease_expires_at is null or lease_expires_at <= v_now
        or lease_expires_at - v_now > 2 * (lease_expires_at - renewed_at)
      )
      and (p_story_ids is null or id = any (p_story_ids))
  ), free as (
    select s.id, w.turn from tales.stories s join waiting w on w.id = s.id
    -- Once more, for rows that another call has taken since.
    where s.state in ('PENDING', 'WRITING', 'NARRATING')
      and (
        s.lease_expires_at is null
        or p_expired and (
          s.lease_expires_at <= v_now or s.lease_expires_at - v_now > 2 * (s.lease_expires_at - s.renewed_at)
        )
      )
    order by w.turn, s.created_at, s.id
    limit p_most
    for no key update of s skip locked
  ), taken as (
    update tales.stories s set
      lease_token = s.lease_token + tales.token_step(),
      lease_expires_at = v_now + p_duration_us * interval '1 microsecond',
      pickup_count = s.pickup_count + (s.renewed_at is not null)::integer,
      work_us = s.work_us + tales.worked_us(s.renewed_at, s.lease_expires_at, v_now),
      renewed_at = v_now
    from free where s.id = free.id
    returning s.id, s.owner, s.lease_token, s.pickup_count, s.created_at, free.turn
  )
  select coalesce(
    jsonb_agg(
      jsonb_build_object('id', id, 'owner', owner, 'lease_token', lease_token, 'pickup_count', pickup_count)
      order by turn, created_at, id
    ), '[]'
  ) into v_claimed from taken;
  return v_claimed;
end
$$;

create or replace function tales.schema_version() returns integer
  language sql immutable
  return 7;

revoke all on all functions in schema tales from public, anon, authenticated;
grant execute on all functions in schema tales to service_role;
