"""What is well formed in a request for a story."""

import re
from collections.abc import Iterable
from typing import Final

from servicekit.validation import Violations
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2

_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

MAX_MODELS: Final = 10
MAX_TOKENS: Final = 131_072
MAX_ENTRIES: Final = 20
MAX_SPEC_BYTES: Final = 128 * 1024
"""Above what all fields at their bounds need; what is more are fields that this version does not know."""


def check_spec(problems: Violations, spec: common_pb2.StorySpec, *, path: str = "spec") -> None:
    """Notes all that is wrong with `spec`. Whether what it names exists, storage knows."""
    problems.check(spec.ByteSize() <= MAX_SPEC_BYTES, path, f"must have at most {MAX_SPEC_BYTES} bytes in all")
    _check_child(problems, spec, path)
    _check_hero(problems, spec, path)
    problems.text_bounds(f"{path}.wish", spec.wish, most=2000)
    problems.text_bounds(f"{path}.moral", spec.moral, most=200)
    problems.text_bounds(f"{path}.theme", spec.theme, most=200)
    problems.check(
        spec.kind in common_pb2.StoryKind.values(), f"{path}.kind", "must be CHILD, HERO or COMBINED (or unset)"
    )
    _check_language(problems, f"{path}.language_code", spec.language_code)
    if spec.HasField("length_minutes"):
        problems.in_range(f"{path}.length_minutes", spec.length_minutes, 1, 30)
    problems.check_uuid7(f"{path}.parent_story_id", spec.parent_story_id, required=False)
    if spec.model:
        _check_model(problems, f"{path}.model", spec.model)
    problems.check(
        len(spec.fallback_models) <= MAX_MODELS, f"{path}.fallback_models", f"must have at most {MAX_MODELS} entries"
    )
    for index, model in enumerate(spec.fallback_models[:MAX_MODELS]):
        _check_model(problems, f"{path}.fallback_models[{index}]", model)
    if spec.HasField("temperature"):
        problems.in_range(f"{path}.temperature", spec.temperature, 0, 2)
    if spec.HasField("max_cost_usd"):
        problems.in_range(f"{path}.max_cost_usd", spec.max_cost_usd, 0, 1000)
    if spec.HasField("max_tokens"):
        problems.in_range(f"{path}.max_tokens", spec.max_tokens, 1, MAX_TOKENS)
    check_voice(problems, spec.voice, path=f"{path}.voice")


def check_voice(problems: Violations, voice: common_pb2.VoiceSelection, *, path: str = "voice") -> None:
    """Notes all that is wrong with `voice`."""
    if voice.provider:
        problems.check(
            _NAME.fullmatch(voice.provider), f"{path}.provider", "must be a provider's name; `tale status` lists them"
        )
    problems.text_bounds(f"{path}.voice_id", voice.voice_id, most=200)
    problems.text_bounds(f"{path}.model_id", voice.model_id, most=200)
    for name, low, high in (("stability", 0, 1), ("similarity_boost", 0, 1), ("style", 0, 1), ("speed", 0.5, 2)):
        if voice.settings.HasField(name):  # type: ignore[arg-type]  # the names stand above
            problems.in_range(f"{path}.settings.{name}", getattr(voice.settings, name), low, high)
    problems.check(
        voice.audio_format in common_pb2.AudioFormat.values(),
        f"{path}.audio_format",
        "must be AUDIO_FORMAT_MP3, AUDIO_FORMAT_WAV or AUDIO_FORMAT_OGG_OPUS (or unset)",
    )


def _check_child(problems: Violations, spec: common_pb2.StorySpec, path: str) -> None:
    listener = spec.WhichOneof("listener")
    if listener is None:
        problems.add(f"{path}.child", "must be given (with a name), or child_id in its place")
    elif listener == "child_id":
        problems.check_uuid7(f"{path}.child_id", spec.child_id)
    else:
        child = spec.child
        problems.text_bounds(f"{path}.child.name", child.name, least=1, most=100)
        if child.HasField("age"):
            problems.in_range(f"{path}.child.age", child.age, 1, 18)
        _check_gender(problems, f"{path}.child.gender", child.gender)
        _check_entries(problems, f"{path}.child.interests", child.interests)


def _check_hero(problems: Violations, spec: common_pb2.StorySpec, path: str) -> None:
    protagonist = spec.WhichOneof("protagonist")
    if protagonist is None:
        if spec.kind in {common_pb2.STORY_KIND_HERO, common_pb2.STORY_KIND_COMBINED}:
            problems.add(f"{path}.hero", "must be given for this kind (with a name), or hero_id in its place")
    elif protagonist == "hero_id":
        problems.check_uuid7(f"{path}.hero_id", spec.hero_id)
    else:
        hero = spec.hero
        problems.text_bounds(f"{path}.hero.name", hero.name, least=1, most=100)
        _check_gender(problems, f"{path}.hero.gender", hero.gender)
        problems.text_bounds(f"{path}.hero.appearance", hero.appearance, most=1000)
        for name in ("personality_traits", "strengths", "interests"):
            _check_entries(problems, f"{path}.hero.{name}", getattr(hero, name))
        _check_language(problems, f"{path}.hero.language_code", hero.language_code)


def _check_gender(problems: Violations, field: str, gender: int) -> None:
    problems.check(gender in common_pb2.Gender.values(), field, "must be GENDER_FEMALE or GENDER_MALE (or unset)")


def _check_entries(problems: Violations, field: str, entries: Iterable[str]) -> None:
    given = list(entries)
    problems.check(len(given) <= MAX_ENTRIES, field, f"must have at most {MAX_ENTRIES} entries")
    for index, entry in enumerate(given[:MAX_ENTRIES]):
        problems.text_bounds(f"{field}[{index}]", entry, least=1, most=100)


def _check_language(problems: Violations, field: str, code: str) -> None:
    if code:
        problems.check(
            len(code) <= 35 and _LANGUAGE.fullmatch(code), field, 'must be a BCP-47 tag such as "en" or "ru"'
        )


def _check_model(problems: Violations, field: str, model: str) -> None:
    problems.check(_MODEL.fullmatch(model), field, 'must be a model id such as "offline" or "vendor/name"')


def check_offsets(problems: Violations, request: gateway_pb2.TellStoryRequest | gateway_pb2.WatchStoryRequest) -> None:
    """Notes all that is wrong with where a watcher wants to begin."""
    problems.check(request.text_offset >= 0, "text_offset", "must not be negative")
    problems.check_uuid7("audio_id", request.audio_id, required=False)
    if problems.check(request.audio_offset >= 0, "audio_offset", "must not be negative"):
        problems.check(
            request.audio_id or not request.audio_offset, "audio_id", "must be given together with audio_offset"
        )


def check_filter(problems: Violations, wanted: common_pb2.StoryFilter, *, path: str = "filter") -> None:
    """Notes all that is wrong with a filter."""
    problems.check_uuid7(f"{path}.child_id", wanted.child_id, required=False)
    problems.check_uuid7(f"{path}.hero_id", wanted.hero_id, required=False)
    problems.text_bounds(f"{path}.child_name", wanted.child_name, most=100)
    _check_language(problems, f"{path}.language_code", wanted.language_code)
    problems.check(wanted.kind in common_pb2.StoryKind.values(), f"{path}.kind", "must be a kind of story")
    problems.check(
        all(state in common_pb2.StoryState.values() and state for state in wanted.states),
        f"{path}.states",
        "must be states of stories",
    )
    problems.check(len(wanted.states) <= MAX_ENTRIES, f"{path}.states", f"must have at most {MAX_ENTRIES} entries")
    for name in ("min_rating", "max_rating"):
        if wanted.HasField(name):
            problems.in_range(f"{path}.{name}", getattr(wanted, name), 1, 10)
    problems.text_bounds(f"{path}.query", wanted.query, most=200)
