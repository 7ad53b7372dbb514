-- Full text of title and content. Stories are found once their text is whole or their run has ended; until then nothing is
-- written here at checkpoints. The owner is a word of its own, so that what others store costs a search nothing.
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
