"""New stories, as the schema takes them."""

from typing import Any, Final

from storage_service.records import NewStory
from storage_service.supabase.rows import KIND, encoded
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_STORED_APART: Final = ("voice", "problems", "narrate", "embedded_parts")
"""Fields of a new story that have columns or tables of their own."""


def from_new(new: NewStory) -> dict[str, Any]:
    """The columns of a new story. The database adds the stored child and hero."""
    story = new.story
    begun = common_pb2.Story()
    begun.CopyFrom(story)
    for field in _STORED_APART:
        begun.ClearField(field)
    if story.child_id:
        begun.ClearField("child")
    if story.hero_id:
        begun.ClearField("hero")
    return {
        "id": new.story_id,
        "kind": common_pb2.StoryKind.Name(story.kind or common_pb2.STORY_KIND_CHILD).removeprefix(KIND),
        "child_id": story.child_id or None,
        "child_name": story.child.name,
        "hero_id": story.hero_id or None,
        "parent_story_id": story.parent_story_id or None,
        "language_code": story.language_code,
        "length_minutes": story.length_minutes,
        "narrate": story.narrate,
        "embedded_parts": list(dict.fromkeys(story.embedded_parts)),
        "spec": encoded(new.spec),
        "story": encoded(begun),
        "voice": encoded(story.voice),
    }


def created_by(record: storage_pb2.StoryRecord, new: NewStory) -> bool:
    """True where a record is just what this call would have made."""
    untouched = record.story.state == common_pb2.STORY_STATE_PENDING and record.story.revision == 1
    return record.story.id == new.story_id and untouched and record.run.lease_token == int(new.lease is not None)
