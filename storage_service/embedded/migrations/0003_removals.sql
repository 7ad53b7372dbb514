-- What is still to be done about removed stories: files to remove (`object_ids`, comma-separated) and, until caches have
-- forgotten them, the hashes of their segments (32 bytes each, one after the other). One that was being made is told
-- to caches once more at `again_time`. Ids and hashes alone: nothing here says what a story was about.
CREATE TABLE removals (
    story_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    child_id TEXT NOT NULL,
    segment_sha256 BLOB NOT NULL,
    audio_count INTEGER NOT NULL,
    object_ids TEXT NOT NULL,
    forgotten INTEGER NOT NULL DEFAULT 0 CHECK (forgotten IN (0, 1)),
    again_time INTEGER
) STRICT;

CREATE INDEX removals_by_child ON removals (owner, child_id) WHERE child_id <> '';

-- Things removed since the file was last written anew. Until then SQLite may keep copies of them in pages in use.
CREATE TABLE housekeeping (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    removed_count INTEGER NOT NULL
) STRICT;

INSERT INTO housekeeping (id, removed_count) VALUES (1, 0);

CREATE INDEX stories_by_hero ON stories (owner, hero_id, create_time DESC, id DESC) WHERE hero_id <> '';
CREATE INDEX stories_finished ON stories (create_time, id) WHERE state IN (4, 5, 6, 7);
CREATE INDEX requests_by_resource ON requests (resource_id);
