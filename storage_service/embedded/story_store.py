"""The StoryStore in SQLite."""

from storage_service.embedded.audio_rows import attach_audio, find_audio, load_manifest
from storage_service.embedded.checkpointing import checkpoint_stories
from storage_service.embedded.creating import create_story
from storage_service.embedded.database import SqliteStore, reading, writing
from storage_service.embedded.listing import list_stories
from storage_service.embedded.removals import delete_story
from storage_service.embedded.rows import load_record
from storage_service.embedded.story_changes import follow_stories
from storage_service.embedded.updating import claim_stories, release_stories, update_story


class SqliteStoryStore(SqliteStore):
    """Stores stories in a database of SQLite; see StoryStore for the methods."""

    create = writing(create_story)
    get = reading(load_record)
    list_page = reading(list_stories)
    update = writing(update_story)
    delete = writing(delete_story)
    follow = reading(follow_stories)
    claim = writing(claim_stories)
    checkpoint = writing(checkpoint_stories)
    release = writing(release_stories)
    manifest = reading(load_manifest)
    attach_audio = writing(attach_audio)
    find_audio = reading(find_audio)

    async def open(self) -> None:
        """Opens the database."""
        await self.database.open()

    async def close(self) -> None:
        """Closes the database."""
        await self.database.close()
