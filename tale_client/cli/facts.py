"""A story in words: names, facts, problems."""

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from tale.common.v1 import common_pb2
from tale_client.cli.terminal import one_line
from tale_client.cli.wording import for_people


def state_name(state: common_pb2.StoryState.ValueType) -> str:
    """STORY_STATE_READY is "READY"."""
    try:
        return common_pb2.StoryState.Name(state).removeprefix("STORY_STATE_")
    except ValueError:
        return f"state {state}"


def clock(seconds: float) -> str:
    """187 seconds are "3:07"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def audio_seconds(audio: common_pb2.StoryAudio) -> float:
    """How long it sounds."""
    return audio.duration.ToNanoseconds() / 1e9


def facts(story: common_pb2.Story) -> list[tuple[str, str]]:
    """What is known of a story besides its text, each in one line."""
    written = len(story.content.split())
    cost = f"{story.usage.cost_usd:.4f} US dollars" + ("" if story.usage.cost_known else " or more")
    audio = story.audio
    spoken = f"{clock(audio_seconds(audio))} min, {audio.size_bytes:,} bytes, {audio.content_type}"
    lines = [
        ("Story", story.id),
        ("State", state_name(story.state)),
        ("For", f"{story.child.name}, {story.child.age}" if story.child.HasField("age") else story.child.name),
        ("Hero", story.hero.name),
        ("Sequel to", story.parent_story_id),
        ("Asked for", f"{story.length_minutes} min in {story.language_code}"),
        ("Moral", story.moral),
        ("Theme", story.theme),
        ("Wish", story.wish),
        ("Text", f"{written:,} words by {story.model_used}, {cost}" if story.model_used else f"{written:,} words"),
        ("Audio", spoken if story.HasField("audio") else ""),
        ("Voice", " / ".join(part for part in (audio.provider, audio.voice_id, audio.model_id) if part)),
        ("Rating", str(story.rating) if story.HasField("rating") else ""),
        ("Asked at", story.create_time.ToJsonString() if story.HasField("create_time") else ""),
        ("Embedded", ", ".join(story.embedded_parts)),
        *(("Problem", problem(each, story.id)) for each in story.problems),
    ]
    return [(label, one_line(value)) for label, value in lines if value]


def problem(each: common_pb2.Problem, story_id: str) -> str:
    """What failed, and what to do about it."""
    said = " ".join(part for part in (each.message, each.remedy, f"[{each.reason}]") if part)
    return one_line(for_people(said, story_id))


def as_json(message: Message) -> str:
    """Protobuf JSON as its specification says: lowerCamelCase names, 64-bit numbers as text, unset fields left out."""
    return MessageToJson(message, ensure_ascii=False)
