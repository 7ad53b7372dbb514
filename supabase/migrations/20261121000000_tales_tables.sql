-- Schema `tales`: what the storage service stores. Ids are UUIDv7 made by the service. Columns of type bytea that are not
-- hashes hold serialized messages of tale.common.v1 and tale.storage.v1; what is asked for by value, or worth reading by
-- an operator, has a column of its own.

-- Supabase has these roles; a plain PostgreSQL gets them, without a login.
do $$
declare
  v_role text;
begin
  foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
    if not exists (select from pg_roles where rolname = v_role) then
      execute format('create role %I nologin', v_role);
    end if;
  end loop;
end
$$;

create schema tales;
comment on schema tales is 'Bedtime stories; reached by the storage service alone, with the service role';

revoke all on schema tales from public, anon, authenticated;
grant usage on schema tales to service_role;
alter default privileges in schema tales grant execute on functions to service_role;
alter default privileges in schema tales grant select, insert, update, delete on tables to service_role;
alter default privileges in schema tales grant usage, select on sequences to service_role;

-- The dictionary that text of a language (BCP-47) is searched with. Immutable, since an index is built on it.
create function tales.search_config(p_language_code text) returns regconfig
  language sql immutable parallel safe
  return case lower(split_part(p_language_code, '-', 1))
    when 'ar' then 'pg_catalog.arabic'::regconfig
    when 'ca' then 'pg_catalog.catalan'::regconfig
    when 'da' then 'pg_catalog.danish'::regconfig
    when 'de' then 'pg_catalog.german'::regconfig
    when 'el' then 'pg_catalog.greek'::regconfig
    when 'en' then 'pg_catalog.english'::regconfig
    when 'es' then 'pg_catalog.spanish'::regconfig
    when 'eu' then 'pg_catalog.basque'::regconfig
    when 'fi' then 'pg_catalog.finnish'::regconfig
    when 'fr' then 'pg_catalog.french'::regconfig
    when 'ga' then 'pg_catalog.irish'::regconfig
    when 'hi' then 'pg_catalog.hindi'::regconfig
    when 'hu' then 'pg_catalog.hungarian'::regconfig
    when 'hy' then 'pg_catalog.armenian'::regconfig
    when 'id' then 'pg_catalog.indonesian'::regconfig
    when 'it' then 'pg_catalog.italian'::regconfig
    when 'lt' then 'pg_catalog.lithuanian'::regconfig
    when 'nb' then 'pg_catalog.norwegian'::regconfig
    when 'ne' then 'pg_catalog.nepali'::regconfig
    when 'nl' then 'pg_catalog.dutch'::regconfig
    when 'nn' then 'pg_catalog.norwegian'::regconfig
    when 'no' then 'pg_catalog.norwegian'::regconfig
    when 'pt' then 'pg_catalog.portuguese'::regconfig
    when 'ro' then 'pg_catalog.romanian'::regconfig
    when 'ru' then 'pg_catalog.russian'::regconfig
    when 'sr' then 'pg_catalog.serbian'::regconfig
    when 'sv' then 'pg_catalog.swedish'::regconfig
    when 'ta' then 'pg_catalog.tamil'::regconfig
    when 'tr' then 'pg_catalog.turkish'::regconfig
    when 'yi' then 'pg_catalog.yiddish'::regconfig
    else 'pg_catalog.simple'::regconfig
  end;

-- Children and heroes. `profile` is a serialized Child or Hero without what has a column of its own but its name.
create table tales.profiles (
  id uuid primary key,
  owner text not null check (owner <> ''),
  kind text not null check (kind in ('child', 'hero')),
  name text not null check (char_length(name) between 1 and 100),
  profile bytea not null,
  revision bigint not null default 1 check (revision >= 1),
  created_at timestamptz not null,
  updated_at timestamptz not null
);

-- The ids of child, hero and parent are no foreign keys: a story retains them when what they name is deleted.
create table tales.stories (
  id uuid primary key,
  owner text not null check (owner <> ''),
  state text not null check (
    state in ('PENDING', 'WRITING', 'NARRATING', 'READY', 'READY_WITHOUT_AUDIO', 'FAILED', 'CANCELLED')
  ),
  revision bigint not null default 1 check (revision >= 1),
  kind text not null check (kind in ('CHILD', 'HERO', 'COMBINED')),
  child_id uuid,
  child_name text not null default '' check (char_length(child_name) <= 100),
  hero_id uuid,
  parent_story_id uuid check (parent_story_id <> id),
  language_code text not null
    check (language_code ~ '^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$' and char_length(language_code) <= 35),
  length_minutes smallint not null check (length_minutes between 1 and 30),
  narrate boolean not null,
  rating smallint check (rating between 1 and 10),
  title text not null default '' check (char_length(title) <= 500),
  content text not null default '',
  content_length integer not null generated always as (char_length(content)) stored check (content_length <= 65536),
  content_complete boolean not null default false,
  embedded_parts text[] not null default '{}',
  created_at timestamptz not null,
  updated_at timestamptz not null,
  ended_at timestamptz,
  -- The run.
  lease_token bigint not null default 0 check (lease_token >= 0),
  lease_expires_at timestamptz,
  -- When the lease was taken or last renewed; null before the first claim of a request and after a hand-over.
  renewed_at timestamptz,
  -- Microseconds under leases since the run was requested.
  work_us bigint not null default 0 check (work_us >= 0),
  pickup_count integer not null default 0 check (pickup_count >= 0),
  narration_audio_id uuid,
  narration bytea,
  segment_count integer not null default 0 check (segment_count >= 0),
  -- What was asked for, and how it began; the stored child and hero as they were then.
  spec bytea not null,
  story bytea not null,
  voice bytea not null,
  child jsonb,
  hero jsonb,
  generation bytea,
  -- Filled once the text is whole or its run has ended, so that a story is indexed once and not at every checkpoint.
  search tsvector not null generated always as (
    case
      when content_complete or state in ('FAILED', 'CANCELLED') then
        setweight(to_tsvector(tales.search_config(language_code), title), 'A')
        || setweight(to_tsvector(tales.search_config(language_code), content), 'D')
      else ''::tsvector
    end
  ) stored,
  check (state not in ('NARRATING', 'READY', 'READY_WITHOUT_AUDIO') or content_complete),
  check ((ended_at is null) = (state in ('PENDING', 'WRITING', 'NARRATING'))),
  check (lease_expires_at is null or ended_at is null)
);

create table tales.story_attempts (
  story_id uuid not null references tales.stories (id) on delete cascade,
  attempt_id uuid not null,
  sequence bigint generated always as identity,
  kind text not null,
  provider text not null,
  model text not null,
  outcome text not null check (outcome in ('UNSPECIFIED', 'STARTED', 'SUCCEEDED', 'FAILED', 'CANCELLED')),
  reason text not null,
  cost_usd double precision not null,
  cost_known boolean not null,
  started_at timestamptz,
  ended_at timestamptz,
  attempt bytea not null,
  primary key (story_id, attempt_id)
);
comment on table tales.story_attempts is 'The ledger: every call that may have cost something';

create table tales.story_problems (
  story_id uuid not null references tales.stories (id) on delete cascade,
  digest bytea not null generated always as (sha256(problem)) stored,
  sequence bigint generated always as identity,
  reason text not null,
  problem bytea not null,
  primary key (story_id, digest)
);

-- Files of the object stores, noted before their first byte is written. NOTED: being written, or left behind by a writer
-- that ended; STORED: a segment or the audio of a story; DELETED: bytes to remove, then the row. `child_id` is that of the
-- story it was deleted with.
create table tales.objects (
  object_id uuid primary key,
  kind text not null check (kind in ('audio', 'segment')),
  state text not null default 'NOTED' check (state in ('NOTED', 'STORED', 'DELETED')),
  changed_at timestamptz not null,
  child_id uuid
);

-- The segment store, by content. `segment` is a StoredSegment.
create table tales.segments (
  key text primary key check (key ~ '^[0-9a-f]{64}$'),
  object_id uuid not null unique references tales.objects (object_id),
  size_bytes bigint not null check (size_bytes > 0),
  sha256 bytea not null check (octet_length(sha256) = 32),
  segment bytea not null,
  last_used_at timestamptz not null
);

-- Bytes of all segments together: at most one row.
create table tales.segment_total (
  only_row boolean primary key default true check (only_row),
  size_bytes bigint not null check (size_bytes >= 0)
);

create table tales.segment_uses (
  story_id uuid not null references tales.stories (id) on delete cascade,
  key text not null references tales.segments (key) on delete cascade,
  primary key (story_id, key)
);
comment on table tales.segment_uses is 'Which stories asked for a segment: those in progress protect it, and it is deleted with the last one';

-- Manifests: the narration in progress, and the one that the audio was composed from. Ends are exclusive: code points
-- of the content, bytes of the audio.
create table tales.story_segments (
  story_id uuid not null references tales.stories (id) on delete cascade,
  audio_id uuid not null,
  position integer not null check (position >= 0),
  key text not null,
  sha256 bytea not null check (octet_length(sha256) = 32),
  text_end bigint not null check (text_end >= 0),
  audio_end bigint not null check (audio_end > 0),
  segment bytea not null,
  primary key (story_id, audio_id, position)
);

-- The audio of a story; its segments are the first `segment_count` of `audio_id`.
create table tales.story_audio (
  story_id uuid primary key references tales.stories (id) on delete cascade,
  audio_id uuid not null,
  object_id uuid not null unique references tales.objects (object_id),
  sha256 bytea not null check (octet_length(sha256) = 32),
  size_bytes bigint not null check (size_bytes >= 0),
  content_type text not null,
  duration_us bigint not null check (duration_us >= 0),
  segment_count integer not null check (segment_count >= 0),
  audio bytea not null
);

-- Requests and tombstones outlive what they name: a repeated request must learn that it was deleted.
create table tales.requests (
  owner text not null check (owner <> ''),
  request_id text not null check (char_length(request_id) between 1 and 128),
  rpc text not null check (rpc in ('CreateStory', 'Retry', 'Narrate', 'CreateChild', 'CreateHero')),
  fingerprint bytea not null check (octet_length(fingerprint) = 32),
  resource_id uuid not null,
  created_at timestamptz not null,
  primary key (owner, request_id)
);

create table tales.tombstones (
  resource_id uuid primary key,
  owner text not null check (owner <> ''),
  deleted_at timestamptz not null
);

-- Lists.
create index profiles_by_owner on tales.profiles (owner, kind, created_at desc, id desc);
create index stories_by_owner on tales.stories (owner, created_at desc, id desc);
create index stories_by_child on tales.stories (owner, child_id, created_at desc, id desc) where child_id is not null;
create index stories_by_hero on tales.stories (owner, hero_id, created_at desc, id desc) where hero_id is not null;
create index stories_by_child_name on tales.stories (owner, child_name, created_at desc, id desc);
create index stories_by_state on tales.stories (owner, state, created_at desc, id desc);
create index stories_by_language on tales.stories (owner, language_code, created_at desc, id desc);
create index stories_by_rating on tales.stories (owner, rating, created_at desc, id desc) where rating is not null;
create index stories_by_search on tales.stories using gin (search);
create index story_attempts_in_order on tales.story_attempts (story_id, sequence);
create index story_problems_in_order on tales.story_problems (story_id, sequence);
-- Claims, expiry, removal, eviction.
create index stories_unfinished on tales.stories (created_at, id) where state in ('PENDING', 'WRITING', 'NARRATING');
create index stories_finished on tales.stories (created_at, id)
  where state in ('READY', 'READY_WITHOUT_AUDIO', 'FAILED', 'CANCELLED');
create index requests_by_resource on tales.requests (resource_id);
create index objects_to_remove on tales.objects (changed_at, object_id) where state <> 'STORED';
create index objects_by_child on tales.objects (child_id) where child_id is not null;
create index segments_by_use on tales.segments (last_used_at);
create index segment_uses_by_key on tales.segment_uses (key);

-- The time of the present call, set by `begin_call`; elsewhere the clock.
create function tales.now() returns timestamptz
  language sql stable
  return coalesce(nullif(current_setting('tales.now', true), '')::timestamptz, clock_timestamp());

-- Sets and returns the time that a call goes by: `p_now`, or by default the clock of the database, which all replicas of
-- the service share.
create function tales.begin_call(p_now timestamptz) returns timestamptz
  language plpgsql
as $$
declare
  v_now timestamptz := coalesce(p_now, clock_timestamp());
begin
  perform set_config('tales.now', v_now::text, true);
  return v_now;
end
$$;

create function tales.touch() returns trigger
  language plpgsql
as $$
begin
  new.updated_at := tales.now();
  return new;
end
$$;

create trigger profiles_updated_at before update on tales.profiles
  for each row execute function tales.touch();
-- Taking, renewing and giving back a lease is no change of the story.
create trigger stories_updated_at
  before update of state, revision, rating, title, content, content_complete, narrate, voice, narration_audio_id,
    narration, segment_count, embedded_parts, generation, ended_at
  on tales.stories
  for each row execute function tales.touch();

do $$
declare
  v_table text;
begin
  for v_table in select tablename from pg_tables where schemaname = 'tales' loop
    execute format('alter table tales.%I enable row level security', v_table);
    execute format('revoke all on tales.%I from public, anon, authenticated', v_table);
    execute format('grant select, insert, update, delete on tales.%I to service_role', v_table);
    execute format('create policy service_role_only on tales.%I to service_role using (true) with check (true)', v_table);
    -- A single deletion is reason enough for autovacuum's next round, of the long texts in a table of their own too.
    execute format(
      'alter table tales.%I set ('
      ' autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 0,'
      ' toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 0)', v_table
    );
  end loop;
end
$$;
