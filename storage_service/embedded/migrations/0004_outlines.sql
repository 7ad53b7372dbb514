-- A serialized StoryOutline; NULL where nothing was planned before the text.
ALTER TABLE story_bodies ADD COLUMN outline BLOB;
