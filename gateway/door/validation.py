"""What is well formed in a request. A field of one name has one rule in all requests."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

from google.protobuf.message import Message

from servicekit.validation import Violations
from tale.common.v1 import common_pb2

MAX_SPEC_BYTES: Final = 128 * 1024
"""Above what all fields at their bounds need; what is more are fields that this version does not know."""
MAX_URL_SECONDS: Final = 7 * 24 * 3600

Rule: TypeAlias = Callable[[Violations, str, Any], object]
"""Notes what is wrong with the value of the field at a path."""

_REQUIRED: Final = {"spec", "rating"}
"""Fields that are checked where they are not set as well."""


def validate(request: Message) -> None:
    """INVALID_ARGUMENT with all that is wrong with `request`. Whether what it names exists, storage knows."""
    problems = Violations()
    _check_fields(REQUEST, problems, "", request)
    if getattr(request, "audio_offset", 0) > 0 and not getattr(request, "audio_id", ""):
        problems.add("audio_id", "must be given together with audio_offset")
    problems.raise_if_any()


def _check_fields(rules: Mapping[str, Rule], problems: Violations, path: str, message: Message) -> None:
    """Applies the rules to those fields that `message` has and that are set, in the order of its numbers."""
    for field in message.DESCRIPTOR.fields:
        rule = rules.get(field.name)
        if rule and (not field.has_presence or message.HasField(field.name) or field.name in _REQUIRED):
            rule(problems, f"{path}.{field.name}" if path else field.name, getattr(message, field.name))


def _fields(rules: Mapping[str, Rule]) -> Rule:
    return partial(_check_fields, rules)


def _text(least: int, most: int) -> Rule:
    return lambda problems, path, text: problems.text_bounds(path, text, least=least, most=most)


def _within(low: float, high: float) -> Rule:
    return lambda problems, path, number: problems.in_range(path, number, low, high)


def _enum(values: Any, names: str) -> Rule:
    return lambda problems, path, value: problems.check(value in values.values(), path, f"must be {names} (or unset)")


def _pattern(pattern: str, what: str, *, most: int, required: bool = False) -> Rule:
    """Text that matches; empty is fine where it is not required."""
    compiled = re.compile(pattern)

    def check(problems: Violations, path: str, text: str) -> None:
        if text or required:
            problems.check(len(text) <= most and compiled.fullmatch(text), path, f"must be {what}")

    return check


def _entries(rule: Rule, *, most: int) -> Rule:
    def check(problems: Violations, path: str, entries: Any) -> None:
        problems.check(len(entries) <= most, path, f"must have at most {most} entries")
        for index, entry in enumerate(entries[:most]):
            rule(problems, f"{path}[{index}]", entry)

    return check


def _not_negative(problems: Violations, path: str, number: int) -> None:
    problems.check(number >= 0, path, "must not be negative")


def _check_spec(problems: Violations, path: str, spec: common_pb2.StorySpec) -> None:
    problems.check(spec.ByteSize() <= MAX_SPEC_BYTES, path, f"must have at most {MAX_SPEC_BYTES} bytes in all")
    if spec.WhichOneof("listener") is None:
        problems.add(f"{path}.child", "must be given (with a name), or child_id in its place")
    of_a_hero = spec.kind in {common_pb2.STORY_KIND_HERO, common_pb2.STORY_KIND_COMBINED}
    if of_a_hero and spec.WhichOneof("protagonist") is None:
        problems.add(f"{path}.hero", "must be given for this kind (with a name), or hero_id in its place")
    _check_fields(_SPEC, problems, path, spec)


_SOME_ID: Final[Rule] = partial(Violations.check_uuid7, required=False)
_LANGUAGE: Final = _pattern(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", 'a BCP-47 tag such as "en" or "ru"', most=35)
_MODEL: Final = r"[A-Za-z0-9][A-Za-z0-9._:/-]*", 'a model id such as "offline" or "vendor/name"'
_GENDER: Final = _enum(common_pb2.Gender, "GENDER_FEMALE or GENDER_MALE")
_NAMES: Final = _entries(_text(1, 100), most=20)

_VOICE: Final[Mapping[str, Rule]] = {
    "provider": _pattern(r"[A-Za-z0-9][A-Za-z0-9._-]*", "a provider's name; `tale status` lists them", most=64),
    "voice_id": _text(0, 200),
    "model_id": _text(0, 200),
    "settings": _fields(
        {
            "stability": _within(0, 1),
            "similarity_boost": _within(0, 1),
            "style": _within(0, 1),
            "speed": _within(0.5, 2),
        }
    ),
    "audio_format": _enum(common_pb2.AudioFormat, "AUDIO_FORMAT_MP3, AUDIO_FORMAT_WAV or AUDIO_FORMAT_OGG_OPUS"),
}
_CHILD: Final[Mapping[str, Rule]] = {
    "name": _text(1, 100),
    "age": _within(1, 18),
    "gender": _GENDER,
    "interests": _NAMES,
}
_HERO: Final[Mapping[str, Rule]] = {
    "name": _text(1, 100),
    "gender": _GENDER,
    "appearance": _text(0, 1000),
    "personality_traits": _NAMES,
    "strengths": _NAMES,
    "interests": _NAMES,
    "language_code": _LANGUAGE,
}
_SPEC: Final[Mapping[str, Rule]] = {
    "kind": _enum(common_pb2.StoryKind, "CHILD, HERO or COMBINED"),
    "child": _fields(_CHILD),
    "child_id": Violations.check_uuid7,
    "hero": _fields(_HERO),
    "hero_id": Violations.check_uuid7,
    "wish": _text(0, 2000),
    "moral": _text(0, 200),
    "theme": _text(0, 200),
    "language_code": _LANGUAGE,
    "length_minutes": _within(1, 30),
    "parent_story_id": _SOME_ID,
    "model": _pattern(*_MODEL, most=200),
    "fallback_models": _entries(_pattern(*_MODEL, most=200, required=True), most=10),
    "temperature": _within(0, 2),
    "max_cost_usd": _within(0, 1000),
    "max_tokens": _within(1, 131_072),
    "voice": _fields(_VOICE),
}
_FILTER: Final[Mapping[str, Rule]] = {
    "child_id": _SOME_ID,
    "hero_id": _SOME_ID,
    "child_name": _text(0, 100),
    "language_code": _LANGUAGE,
    "kind": _enum(common_pb2.StoryKind, "a kind of story"),
    "states": _entries(
        lambda problems, path, state: problems.check(
            state and state in common_pb2.StoryState.values(), path, "must be the state of a story"
        ),
        most=20,
    ),
    "min_rating": _within(1, 10),
    "max_rating": _within(1, 10),
    "query": _text(0, 200),
}
REQUEST: Final[Mapping[str, Rule]] = {
    "request_id": Violations.check_token,
    "story_id": Violations.check_uuid7,
    "child_id": Violations.check_uuid7,
    "audio_id": _SOME_ID,
    "spec": _check_spec,
    "voice": _fields(_VOICE),
    "filter": _fields(_FILTER),
    "view": _enum(common_pb2.StoryView, "STORY_VIEW_BASIC or STORY_VIEW_FULL"),
    "page_size": lambda problems, path, size: problems.page_size(size, path),
    "offset": _not_negative,
    "text_offset": _not_negative,
    "audio_offset": _not_negative,
    "rating": _within(1, 10),
    "expected_revision": _not_negative,
    "expiry": lambda problems, path, expiry: problems.in_range(path, expiry.seconds, 1, MAX_URL_SECONDS),
    "service": _pattern("story|voice|storage", "one of story, voice, storage, or empty", most=20),
    "name": _text(1, 200),
}
"""Rules of the fields of requests."""
