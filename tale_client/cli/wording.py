"""Puts stories, problems and hints into words."""

import math
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import UTC
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from tale.common.v1 import common_pb2
from tale_client.cli import COMMANDS
from tale_client.cli.terminal import one_line

# RPCs and fields that servers name -> what the user of the command types.
_COMMANDS_FOR: Final = {
    "GetStory": "`tale show {id}`",
    "GetSystemStatus": "`tale circuits`",
    "ListChildren": "`tale children list`",
    "ListHeroes": "`tale heroes list`",
    "ListStories": "`tale list`",
    "ListModels": "`tale models`",
    "ListProviders": "`tale voices`",
    "ListVoices": "`tale voices`",
    "NarrateStory": "`tale narrate {id}`",
    "ReadStoryAudio": "`tale audio {id}`",
    "RetryStory": "`tale retry {id}`",
    "WatchStory": "`tale watch {id}`",
    "request_id": "--request-id",
    "max_cost_usd": "--max-cost",
    "fallback_models": "--fallback-model",
    "audience_note": "--note",
}
_NAMED: Final = re.compile(rf"\b(?:{'|'.join(_COMMANDS_FOR)})\b")
_COMMAND: Final = re.compile(rf"\btale(?= (?:{'|'.join(COMMANDS)})\b)")


def as_json(message: Message) -> str:
    """Returns standard protobuf JSON: lowerCamelCase names, 64-bit numbers as text, unset fields left out."""
    return MessageToJson(message, ensure_ascii=False)


def with_commands(text: str, story_id: str = "") -> str:
    """Returns `text` with commands in place of the RPCs and fields that it names."""
    return _NAMED.sub(lambda found: _COMMANDS_FOR[found[0]].format(id=story_id or "ID"), text)


def typed(text: str) -> str:
    """Returns `text` with its commands as this shell can run them: by path where `tale` is not on the PATH."""
    command = Path(sys.argv[0])
    if command.name != "tale" or shutil.which("tale"):
        return text
    return _COMMAND.sub(lambda _: str(command), text)


def state_name(state: common_pb2.StoryState.ValueType) -> str:
    """Returns the short name of a state: "READY" for STORY_STATE_READY."""
    try:
        return common_pb2.StoryState.Name(state).removeprefix("STORY_STATE_")
    except ValueError:
        return f"state {state}"


def local_time(time: Timestamp, *, seconds: bool = False) -> str:
    """Returns a time in the zone of this machine, with the zone: "2026-12-01 19:30 CET"."""
    return time.ToDatetime(UTC).astimezone().strftime(f"%Y-%m-%d %H:%M{':%S' if seconds else ''} %Z")


def counted(number: int, one: str, more: str) -> str:
    """Returns a number with its noun: "1 story", "2 stories"."""
    return f"{number:,} {one if number == 1 else more}"


def duration(seconds: float) -> str:
    """Returns a duration in words, rounded up, to the minute from an hour on: "12 s", "1 min 5 s", "1 h 4 min"."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, left = divmod(minutes + (rest > 0), 60)
    if minutes >= 60:
        return f"{hours} h {left} min" if left else f"{hours} h"
    return f"{minutes} min {rest} s" if minutes and rest else f"{minutes} min" if minutes else f"{rest} s"


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Returns the last 8 digits of each id, or more where two of the ids share them.

    The first digits of a UUIDv7 are its time: stories of the same minute share them. The last ones are random.
    """
    forms = [(each, (each[-8:], each[-12:], each)) for each in dict.fromkeys(ids)]
    count = Counter(form for _, all_forms in forms for form in set(all_forms))
    return {each: next(form for form in all_forms if count[form] == 1) for each, all_forms in forms}


def suggested(given: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Returns a question with the known words that are most like `given`, after a space; "" if none is."""
    plain = {each.casefold(): each for each in known}
    close = [f'"{one_line(plain[each])}"' for each in get_close_matches(given.casefold(), plain, cutoff=cutoff)]
    return f" Did you mean {' or '.join(close)}?" if close else ""


def clock(seconds: float) -> str:
    """Returns a duration as minutes and seconds: "3:07" for 187 seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def audio_seconds(audio: common_pb2.StoryAudio) -> float:
    """Returns the duration of `audio` in seconds."""
    return audio.duration.ToNanoseconds() / 1e9


def facts(story: common_pb2.Story) -> list[tuple[str, str]]:
    """Returns what is known of a story besides its text: a label and one line for each fact."""
    audio = story.audio
    spoken = f"{clock(audio_seconds(audio))} min, {audio.size_bytes:,} bytes, {audio.content_type}"
    lines = [
        ("Story", story.id),
        ("State", state_name(story.state)),
        ("Child", f"{story.child.name}, {story.child.age}" if story.child.HasField("age") else story.child.name),
        ("Hero", story.hero.name),
        ("Sequel of", story.parent_story_id),
        ("Requested", f"{story.length_minutes} min in {story.language_code}"),
        ("Moral", story.moral),
        ("Theme", story.theme),
        ("Wish", story.wish),
        ("Text", _text(story)),
        ("Audio", spoken if story.HasField("audio") else ""),
        ("Voice", " / ".join(part for part in (audio.provider, audio.voice_id, audio.model_id) if part)),
        ("Rating", str(story.rating) if story.HasField("rating") else ""),
        ("Created", local_time(story.create_time) if story.HasField("create_time") else ""),
        ("Embedded", ", ".join(story.embedded_parts)),
        *(("Problem", problem(each, story.id)) for each in story.problems),
    ]
    return [(label, one_line(value)) for label, value in lines if value]


def _text(story: common_pb2.Story) -> str:
    words = f"{len(story.content.split()):,} words"
    return f"{words}, model {story.model_used}, {_cost(story.usage)}" if story.model_used else words


def _cost(usage: common_pb2.Usage) -> str:
    if usage.cost_known:
        return f"{usage.cost_usd:.4f} US dollars"
    return f"at least {usage.cost_usd:.4f} US dollars" if usage.cost_usd else "cost unknown"


def problem(each: common_pb2.Problem, story_id: str) -> str:
    """Returns what failed, what to do about it, and the reason."""
    said = " ".join(part for part in (each.message, each.remedy, f"[{each.reason}]") if part)
    return one_line(with_commands(said, story_id))
