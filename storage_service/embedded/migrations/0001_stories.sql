-- Times are microseconds since the Unix epoch, UTC. Blobs are serialized messages of tale.common.v1 and
-- tale.storage.v1; what is asked for by value has a column of its own.

CREATE TABLE stories (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 7),
    revision INTEGER NOT NULL DEFAULT 1,
    kind INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 3),
    child_id TEXT NOT NULL DEFAULT '',
    child_name TEXT NOT NULL DEFAULT '',
    hero_id TEXT NOT NULL DEFAULT '',
    parent_story_id TEXT NOT NULL DEFAULT '',
    language_code TEXT NOT NULL,
    length_minutes INTEGER NOT NULL CHECK (length_minutes BETWEEN 1 AND 30),
    narrate INTEGER NOT NULL CHECK (narrate IN (0, 1)),
    rating INTEGER CHECK (rating BETWEEN 1 AND 10),
    title TEXT NOT NULL DEFAULT '',
    content_length INTEGER NOT NULL DEFAULT 0 CHECK (content_length BETWEEN 0 AND 65536),
    content_complete INTEGER NOT NULL DEFAULT 0 CHECK (content_complete IN (0, 1)),
    embedded_parts TEXT NOT NULL DEFAULT '',
    create_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL,
    end_time INTEGER,
    -- The run.
    lease_token INTEGER NOT NULL DEFAULT 0,
    lease_expire_time INTEGER,
    runner TEXT NOT NULL DEFAULT '',
    start_time INTEGER,
    pickup_count INTEGER NOT NULL DEFAULT 0,
    handed_over INTEGER NOT NULL DEFAULT 0 CHECK (handed_over IN (0, 1)),
    narration_audio_id TEXT NOT NULL DEFAULT '',
    narration BLOB,
    segment_count INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX stories_by_owner ON stories (owner, create_time DESC, id DESC);
CREATE INDEX stories_by_child ON stories (owner, child_id, create_time DESC, id DESC) WHERE child_id <> '';
CREATE INDEX stories_unfinished ON stories (create_time, id) WHERE state IN (1, 2, 3);

-- What is large and seldom changes, apart from the row that every checkpoint rewrites.
CREATE TABLE story_bodies (
    story_id TEXT PRIMARY KEY REFERENCES stories (id) ON DELETE CASCADE,
    spec BLOB NOT NULL,
    story BLOB NOT NULL,
    voice BLOB NOT NULL
) STRICT;

CREATE TABLE story_generations (
    story_id TEXT PRIMARY KEY REFERENCES stories (id) ON DELETE CASCADE,
    generation BLOB NOT NULL
) STRICT;

-- The text in the pieces in which it came; `start` counts code points.
CREATE TABLE story_texts (
    story_id TEXT NOT NULL REFERENCES stories (id) ON DELETE CASCADE,
    start INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (story_id, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE story_segments (
    story_id TEXT NOT NULL REFERENCES stories (id) ON DELETE CASCADE,
    audio_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    segment BLOB NOT NULL,
    PRIMARY KEY (story_id, audio_id, position)
) STRICT;

CREATE TABLE story_attempts (
    sequence INTEGER PRIMARY KEY,
    story_id TEXT NOT NULL REFERENCES stories (id) ON DELETE CASCADE,
    attempt_id TEXT NOT NULL,
    attempt BLOB NOT NULL,
    UNIQUE (story_id, attempt_id)
) STRICT;

CREATE TABLE story_problems (
    sequence INTEGER PRIMARY KEY,
    story_id TEXT NOT NULL REFERENCES stories (id) ON DELETE CASCADE,
    problem BLOB NOT NULL,
    UNIQUE (story_id, problem)
) STRICT;

-- The bytes are in the file that `object_id` names. Its segments are the first `segment_count` of `audio_id`.
CREATE TABLE story_audio (
    story_id TEXT PRIMARY KEY REFERENCES stories (id) ON DELETE CASCADE,
    audio_id TEXT NOT NULL,
    object_id TEXT NOT NULL UNIQUE,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    duration INTEGER NOT NULL,
    segment_count INTEGER NOT NULL,
    audio BLOB NOT NULL
) STRICT;

-- Both outlive the story: a repeated request must learn that its story was deleted.
CREATE TABLE requests (
    owner TEXT NOT NULL,
    request_id TEXT NOT NULL,
    rpc TEXT NOT NULL,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    story_id TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    PRIMARY KEY (owner, request_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE tombstones (
    story_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    delete_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
