-- Full text of title and content. `search_id` is the time of a story with room for 1,024 of the same microsecond, so that
-- what is found comes newest first as the index gives it.
ALTER TABLE stories ADD COLUMN search_id INTEGER;

UPDATE stories SET search_id = found.search_id FROM (
    SELECT id, create_time * 1024 + row_number() OVER (PARTITION BY create_time ORDER BY id) - 1 AS search_id FROM stories
) AS found WHERE found.id = stories.id;

CREATE UNIQUE INDEX stories_by_search ON stories (search_id);
CREATE INDEX stories_by_state ON stories (owner, state, create_time DESC, id DESC);
CREATE INDEX stories_by_child_name ON stories (owner, child_name, create_time DESC, id DESC);

CREATE TRIGGER stories_search_id AFTER INSERT ON stories BEGIN
    UPDATE stories SET search_id = (
        SELECT coalesce(max(search_id) + 1, new.create_time * 1024) FROM stories
        WHERE search_id BETWEEN new.create_time * 1024 AND new.create_time * 1024 + 1023
    ) WHERE id = new.id;
END;

-- Stories are found once their text is whole or their run has ended; until then nothing is written here at checkpoints.
-- The owner is a word of its own, so that what others keep costs a search nothing.
CREATE VIEW story_search_source AS
SELECT search_id, 'z' || hex(owner) || 'z' AS owner, title, (
    SELECT group_concat(text, '') FROM (SELECT text FROM story_texts WHERE story_id = stories.id ORDER BY start)
) AS content
FROM stories WHERE content_complete OR state IN (6, 7);

-- The text itself stays where it is. No triggers: with `trusted_schema` off they may not write to a virtual table.
CREATE VIRTUAL TABLE story_search USING fts5 (
    owner, title, content,
    content = 'story_search_source', content_rowid = 'search_id', tokenize = 'porter unicode61 remove_diacritics 2'
);

INSERT INTO story_search (story_search) VALUES ('rebuild');
