-- What owners used by day, and the quotas of new and continued stories.

-- No row names a story or a child, and none is removed with them. Of kind STORY `calls` are the stories that were
-- requested.
create table tales.usage (
  owner text not null,
  day date not null,
  kind text not null,
  provider text not null default '',
  model text not null default '',
  calls bigint not null,
  characters bigint not null default 0,
  prompt_tokens bigint not null default 0,
  completion_tokens bigint not null default 0,
  cost_usd double precision not null default 0,
  primary key (owner, day, kind, provider, model)
);
comment on table tales.usage is 'Stories, characters, tokens and dollars by owner and day';
create index usage_by_day on tales.usage (day);
alter table tales.usage enable row level security;
create policy service_role_only on tales.usage to service_role using (true) with check (true);
revoke all on tales.usage from public, anon, authenticated;
grant select, insert, update, delete on tales.usage to service_role;

-- Stories that wait for a place, and those that have one, by owner.
create index stories_waiting on tales.stories (owner, created_at, id)
  where state in ('PENDING', 'WRITING', 'NARRATING') and lease_expires_at is null;
create index stories_unfinished_by_owner on tales.stories (owner, lease_expires_at)
  where state in ('PENDING', 'WRITING', 'NARRATING');

-- What was counted of each line, so that a later line of the same attempt adds only what is new.
alter table tales.story_attempts
  add column characters bigint not null default 0,
  add column prompt_tokens bigint not null default 0,
  add column completion_tokens bigint not null default 0;

create function tales.today() returns date
  language sql stable
  return (tales.now() at time zone 'UTC')::date;

-- Counts what a line of the ledger used, once it has ended, less what was counted of the line before it.
create function tales.count_attempt() returns trigger
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

create function tales.count_usage(p_owner text, p_line tales.story_attempts, p_sign integer) returns void
  language sql
as $$
  insert into tales.usage values (
      p_owner, tales.today(), p_line.kind, p_line.provider, p_line.model, p_sign, p_sign * p_line.characters,
      p_sign * p_line.prompt_tokens, p_sign * p_line.completion_tokens, p_sign * p_line.cost_usd
    )
    on conflict (owner, day, kind, provider, model) do update set
      calls = usage.calls + excluded.calls, characters = usage.characters + excluded.characters,
      prompt_tokens = usage.prompt_tokens + excluded.prompt_tokens,
      completion_tokens = usage.completion_tokens + excluded.completion_tokens,
      cost_usd = usage.cost_usd + excluded.cost_usd
$$;

-- At the end of a transaction, which then takes no lock but those of lines of usage: calls that count the same lines in
-- different orders, for stories of several owners, would else wait for each other for good.
create constraint trigger story_attempts_usage after insert or update on tales.story_attempts
  deferrable initially deferred
  for each row execute function tales.count_attempt();

-- As before, and a line has characters and tokens.
create or replace function tales.store_attempts(p_story_id uuid, p_attempts jsonb) returns void
  language sql
as $$
  insert into tales.story_attempts (
      story_id, attempt_id, kind, provider, model, outcome, reason, cost_usd, cost_known, started_at, ended_at, attempt,
      characters, prompt_tokens, completion_tokens
    )
    select p_story_id, (one ->> 'attempt_id')::uuid, one ->> 'kind', one ->> 'provider', one ->> 'model',
      one ->> 'outcome', one ->> 'reason', (one ->> 'cost_usd')::double precision, (one ->> 'cost_known')::boolean,
      (one ->> 'started_at')::timestamptz, (one ->> 'ended_at')::timestamptz, tales.to_bytes(one ->> 'attempt'),
      coalesce((one ->> 'characters')::bigint, 0), coalesce((one ->> 'prompt_tokens')::bigint, 0),
      coalesce((one ->> 'completion_tokens')::bigint, 0)
    from (
      select distinct on (one ->> 'attempt_id') one, min(place) over (partition by one ->> 'attempt_id') as first
      from jsonb_array_elements(p_attempts) with ordinality as given (one, place)
      order by one ->> 'attempt_id', place desc
    ) as lines
    order by first
    on conflict (story_id, attempt_id) do update set
      kind = excluded.kind, provider = excluded.provider, model = excluded.model, outcome = excluded.outcome,
      reason = excluded.reason, cost_usd = excluded.cost_usd, cost_known = excluded.cost_known,
      started_at = excluded.started_at, ended_at = excluded.ended_at, attempt = excluded.attempt,
      characters = excluded.characters, prompt_tokens = excluded.prompt_tokens,
      completion_tokens = excluded.completion_tokens
$$;

-- What `p_owner`, or null: every owner, used on each of the last `p_days`, newest first.
create function tales.get_usage(p_owner text, p_days integer, p_limit integer, p_now timestamptz default null)
  returns jsonb
  language plpgsql
as $$
begin
  perform tales.begin_call(p_now);
  return (
    select coalesce(jsonb_agg(to_jsonb(page) order by day desc, owner, kind, provider, model), '[]') from (
      select * from tales.usage
      where day > tales.today() - p_days and (p_owner is null or owner = p_owner) and calls <> 0
      order by day desc, owner, kind, provider, model limit p_limit
    ) as page
  );
end
$$;

-- Refuses what is beyond a quota {max_waiting, max_unfinished, max_stories_per_day, max_characters_per_day,
-- max_usd_per_day, usd_per_minute, characters_per_minute}; what is not in it is not bounded. Calls for one owner wait for
-- each other, so that of calls at once as many are taken as there is room for.
create function tales.check_quota(
  p_owner text, p_quota jsonb, p_waits boolean, p_creates boolean, p_narrates boolean
) returns void
  language plpgsql
as $$
declare
  v_waiting bigint := 0;
  v_unfinished bigint;
  v_minutes bigint;
  v_expected bigint;
  v_stories bigint;
  v_characters bigint;
  v_usd double precision;
  v_one record;
begin
  if p_waits and p_quota ? 'max_waiting' then
    select count(*) into v_waiting from (
      select from tales.stories
      where state in ('PENDING', 'WRITING', 'NARRATING') and lease_expires_at is null
      limit (p_quota ->> 'max_waiting')::integer
    ) as waiting;
  end if;
  select count(*), coalesce(sum(s.length_minutes), 0), coalesce(sum(greatest(
      0, s.length_minutes * (p_quota ->> 'characters_per_minute')::integer - coalesce((
        select max(text_end) from tales.story_segments g
        where g.story_id = s.id and g.audio_id = s.narration_audio_id and g.position < s.segment_count
      ), 0)
    )) filter (where s.narrate), 0)
    into v_unfinished, v_minutes, v_expected
    from tales.stories s
    where s.owner = p_owner and s.state in ('PENDING', 'WRITING', 'NARRATING');
  select coalesce(sum(calls) filter (where kind = 'STORY'), 0),
    coalesce(sum(characters) filter (where kind = 'SPEECH_CALL'), 0), coalesce(sum(cost_usd), 0)
    into v_stories, v_characters, v_usd
    from tales.usage where owner = p_owner and day = tales.today();
  select * into v_one from (values
    (1, 'waiting', 'max_waiting', v_waiting::double precision, 0::double precision, false, true),
    (2, 'stories_at_once', 'max_unfinished', v_unfinished, 0, false, true),
    (3, 'stories_per_day', 'max_stories_per_day', v_stories, 0, true, p_creates),
    (4, 'characters_per_day', 'max_characters_per_day', v_characters, v_expected, true, p_narrates),
    (5, 'usd_per_day', 'max_usd_per_day', v_usd,
      v_minutes * coalesce((p_quota ->> 'usd_per_minute')::double precision, 0), true, true)
  ) as checked (place, name, field, used, expected, daily, applies)
  where applies and p_quota ? field and used + expected >= (p_quota ->> field)::double precision
  order by place limit 1;
  if found then
    perform tales.refuse('QUOTA', jsonb_build_object(
      'name', v_one.name, 'limit', (p_quota ->> v_one.field)::double precision,
      'used', v_one.used + v_one.expected,
      'seconds', case when v_one.daily and v_one.used >= (p_quota ->> v_one.field)::double precision
        then extract(epoch from (tales.today() + 1)::timestamp at time zone 'UTC' - tales.now())
      end
    ));
  end if;
end
$$;

create function tales.lock_quota(p_owner text) returns void
  language sql
as $$
  select pg_advisory_xact_lock(hashtextextended('tales.quota:' || p_owner, 0))
$$;

-- As before, and `p_story` may have a `quota`, which a new story must not be beyond. A new story is counted.
alter function tales.create_story(text, jsonb, jsonb, jsonb, bigint, timestamptz) rename to store_story;
create function tales.create_story(
  p_owner text, p_story jsonb, p_problems jsonb, p_request jsonb, p_lease_us bigint, p_now timestamptz default null
) returns jsonb
  language plpgsql
as $$
declare
  v_answer jsonb;
  v_reason text;
  v_detail text;
begin
  perform tales.begin_call(p_now);
  if p_story ? 'quota' then
    perform tales.lock_quota(p_owner);
    if tales.find_request(p_owner, p_request) is null
      and not exists (select from tales.stories where id = (p_story ->> 'id')::uuid)
      and not exists (
        select from tales.tombstones where resource_id = (p_story ->> 'id')::uuid and owner = p_owner
      )
    then
      perform tales.check_quota(
        p_owner, p_story -> 'quota', p_lease_us is null, true, (p_story ->> 'narrate')::boolean
      );
    end if;
  end if;
  v_answer := tales.store_story(p_owner, p_story, p_problems, p_request, p_lease_us, p_now);
  if (v_answer ->> 'created')::boolean then
    insert into tales.usage (owner, day, kind, calls) values (p_owner, tales.today(), 'STORY', 1)
      on conflict (owner, day, kind, provider, model) do update set calls = usage.calls + 1;
  end if;
  return v_answer;
exception when sqlstate 'TALES' then
  get stacked diagnostics v_reason = message_text, v_detail = pg_exception_detail;
  return jsonb_build_object('refused', v_reason, 'detail', v_detail::jsonb);
end
$$;

-- As before, and `p_change` may have a `quota`, which a story that continues must not be beyond.
alter function tales.update_story(text, uuid, jsonb, jsonb, bigint, bigint, timestamptz) rename to change_story;
create function tales.update_story(
  p_owner text, p_story_id uuid, p_change jsonb, p_request jsonb, p_lease_us bigint, p_expected_revision bigint,
  p_now timestamptz default null
) returns jsonb
  language plpgsql
as $$
declare
  v_story tales.stories;
  v_reason text;
  v_detail text;
begin
  perform tales.begin_call(p_now);
  if p_change ? 'quota' then
    perform tales.lock_quota(p_owner);
    select * into v_story from tales.stories where id = p_story_id and owner = p_owner;
    -- Of another state it is refused for that.
    if v_story.state in ('FAILED', 'READY', 'READY_WITHOUT_AUDIO')
      and tales.find_request(p_owner, p_request, p_story_id) is null
    then
      perform tales.check_quota(
        p_owner, p_change -> 'quota', p_lease_us is null, false, v_story.narrate or p_change ->> 'kind' = 'Narrate'
      );
    end if;
  end if;
  return tales.change_story(p_owner, p_story_id, p_change, p_request, p_lease_us, p_expected_revision, p_now);
exception when sqlstate 'TALES' then
  get stacked diagnostics v_reason = message_text, v_detail = pg_exception_detail;
  return jsonb_build_object('refused', v_reason, 'detail', v_detail::jsonb);
end
$$;

create or replace function tales.schema_version() returns integer
  language sql immutable
  return 6;

revoke all on all functions in schema tales from public, anon, authenticated;
grant execute on all functions in schema tales to service_role;
