-- Times are microseconds since the Unix epoch, UTC. Blobs are serialized messages of tale.common.v1 and
-- tale.storage.v1; what is asked for by value has a column of its own.

-- The layout (`_LAYOUT` in schema.py): another number where these files are changed instead of a file being added.
PRAGMA application_id = 2;

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
    -- When the lease was taken or last renewed; NULL before the first claim of a request and after a hand-over.
    renew_time INTEGER,
    -- Time under leases since the run was requested.
    work_duration INTEGER NOT NULL DEFAULT 0,
    pickup_count INTEGER NOT NULL DEFAULT 0,
    narration_audio_id TEXT NOT NULL DEFAULT '',
    narration BLOB,
    segment_count INTEGER NOT NULL DEFAULT 0,
    -- Where the manifest ends: code points and bytes.
    text_end INTEGER NOT NULL DEFAULT 0,
    audio_end INTEGER NOT NULL DEFAULT 0,
    -- Its row in the full-text index: its time with room for 1,024 of the same microsecond, so that what is found comes
    -- newest first as the index gives it.
    search_id INTEGER
) STRICT;

CREATE INDEX stories_by_owner ON stories (owner, create_time DESC, id DESC);
CREATE INDEX stories_by_child ON stories (owner, child_id, create_time DESC, id DESC) WHERE child_id <> '';
CREATE INDEX stories_by_hero ON stories (owner, hero_id, create_time DESC, id DESC) WHERE hero_id <> '';
CREATE INDEX stories_by_state ON stories (owner, state, create_time DESC, id DESC);
CREATE INDEX stories_by_child_name ON stories (owner, child_name, create_time DESC, id DESC);
CREATE INDEX stories_unfinished ON stories (create_time, id) WHERE state IN (1, 2, 3);
CREATE INDEX stories_finished ON stories (create_time, id) WHERE state IN (4, 5, 6, 7);
CREATE UNIQUE INDEX stories_by_search ON stories (search_id);

CREATE TRIGGER stories_search_id AFTER INSERT ON stories BEGIN
    UPDATE stories SET search_id = (
        SELECT coalesce(max(search_id) + 1, new.create_time * 1024) FROM stories
        WHERE search_id BETWEEN new.create_time * 1024 AND new.create_time * 1024 + 1023
    ) WHERE id = new.id;
END;

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

-- Manifests of narrations.
CREATE TABLE story_segments (
    story_id TEXT NOT NULL REFERENCES stories (id) ON DELETE CASCADE,
    audio_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    key TEXT NOT NULL,
    size INTEGER NOT NULL,
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

-- Every object of bytes. NOTED: its bytes may be on their way in, or come from an upload that never ended. STORED: a
-- segment or the audio of a story refers to it. DELETED: its bytes are to be removed, then the row; `child_id` is set where
-- it was deleted with a story of that child.
CREATE TABLE objects (
    object_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('audio', 'segment')),
    state TEXT NOT NULL CHECK (state IN ('NOTED', 'STORED', 'DELETED')),
    note_time INTEGER NOT NULL,
    child_id TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE INDEX objects_to_settle ON objects (state, note_time) WHERE state <> 'STORED';

-- The audio of a story. Its segments are the first `segment_count` of the manifest `audio_id`.
CREATE TABLE story_audio (
    story_id TEXT PRIMARY KEY REFERENCES stories (id) ON DELETE CASCADE,
    audio_id TEXT NOT NULL,
    object_id TEXT NOT NULL UNIQUE REFERENCES objects (object_id),
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    duration INTEGER NOT NULL,
    segment_count INTEGER NOT NULL,
    audio BLOB NOT NULL
) STRICT;

-- The segment store, by content. `segment` is a StoredSegment.
CREATE TABLE segments (
    key TEXT PRIMARY KEY CHECK (length(key) = 64),
    object_id TEXT NOT NULL UNIQUE REFERENCES objects (object_id),
    size INTEGER NOT NULL CHECK (size > 0),
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    segment BLOB NOT NULL,
    last_used INTEGER NOT NULL
) STRICT;

CREATE INDEX segments_by_use ON segments (last_used);

-- Which stories use a segment: those in progress protect it from eviction, and it is deleted with the last one.
CREATE TABLE segment_uses (
    story_id TEXT NOT NULL REFERENCES stories (id) ON DELETE CASCADE,
    key TEXT NOT NULL REFERENCES segments (key) ON DELETE CASCADE,
    PRIMARY KEY (story_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX segment_uses_by_key ON segment_uses (key);

-- `removed_count`: things removed since the file was last rewritten; until then SQLite may keep copies of them in
-- pages in use. `segment_bytes`: bytes of all segments together.
CREATE TABLE housekeeping (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    removed_count INTEGER NOT NULL,
    segment_bytes INTEGER NOT NULL
) STRICT;

INSERT INTO housekeeping (id, removed_count, segment_bytes) VALUES (1, 0, 0);

CREATE TRIGGER segments_added AFTER INSERT ON segments BEGIN
    UPDATE housekeeping SET segment_bytes = segment_bytes + new.size;
END;

CREATE TRIGGER segments_deleted AFTER DELETE ON segments BEGIN
    UPDATE housekeeping SET segment_bytes = segment_bytes - old.size;
    UPDATE objects SET state = 'DELETED' WHERE object_id = old.object_id;
END;

CREATE TRIGGER story_audio_deleted AFTER DELETE ON story_audio BEGIN
    UPDATE objects SET state = 'DELETED' WHERE object_id = old.object_id;
END;

CREATE TRIGGER story_audio_replaced AFTER UPDATE OF object_id ON story_audio BEGIN
    UPDATE objects SET state = 'DELETED' WHERE object_id = old.object_id;
END;

-- Requests and tombstones of stories, children and heroes outlive them: a repeated request must learn that what it made
-- was deleted.
CREATE TABLE requests (
    owner TEXT NOT NULL,
    request_id TEXT NOT NULL,
    rpc TEXT NOT NULL,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    resource_id TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    PRIMARY KEY (owner, request_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_by_resource ON requests (resource_id);

CREATE TABLE tombstones (
    resource_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    delete_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
