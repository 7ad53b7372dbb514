"""Finds the model and the voices of a speech server whose settings name none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from voice_service.languages import covers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voice_service.ports import VoiceInfo
    from voice_service.providers.speech.config import SpeechConfig

_SPEAKS: Final = frozenset({"text-to-speech", "text_to_speech", "tts", "speech"})
_SPEECH_NAME: Final = re.compile(
    r"kokoro|piper|orpheus|chatterbox|xtts|f5-?tts|parler|vibevoice|dia-|bark|voice-|-tts|tts-|^tts$|speech-[0-9]",
    re.IGNORECASE,
)
_ALIAS: Final = re.compile(r"tts-1(-hd)?", re.IGNORECASE)
"""Names of OpenAI's models, under which other servers offer one of their own."""
_HEARS: Final = re.compile(r"whisper|transcri|[-_]asr|[-_]stt", re.IGNORECASE)
_BEST: Final = "af_heart"
"""The voice of Kokoro that its makers rate highest."""
_MOST_SHOWN: Final = 5
_MAX_ID: Final = 200


def speech_model(models: object) -> str:
    """Returns the model to use of what a server answers to GET /models.

    One that the server says speaks, else one that is called like a speech model (its own name before OpenAI's `tts-1`),
    else its only one. Raises ValueError with the remedy where there is none.
    """
    entries = dict(_entries(models))
    stated = [name for name, entry in entries.items() if _SPEAKS & {entry.get("task"), entry.get("type")}]
    others = [name for name in entries if not _HEARS.search(name)]
    called = sorted((name for name in others if _SPEECH_NAME.search(name)), key=_is_alias)
    found: list[str] = [*stated, *called, *(others if len(others) == 1 else ())]
    if found:
        return found[0]
    names = ", ".join(list(entries)[:_MOST_SHOWN]) or "none"
    raise ValueError(f"set SPEECH_MODEL to a speech model of SPEECH_BASE_URL, which lists {names}")


def with_voices(config: SpeechConfig, voices: Sequence[VoiceInfo]) -> SpeechConfig:
    """Returns `config` with the voices that a server lists, by language.

    The default is `af_heart`, else the first that reads English, else the first. Raises ValueError with the remedy
    where there is none.
    """
    if not voices:
        raise ValueError(f"set SPEECH_VOICE to a voice of the model {config.model}; SPEECH_BASE_URL lists none")
    default = min(voices, key=_rank).voice_id
    by_language: dict[str, tuple[str, ...]] = {}
    for voice in sorted(voices, key=lambda voice: voice.voice_id != default):
        for language in voice.language_codes:
            by_language[language] = (*by_language.get(language, ()), voice.voice_id)
    return replace(config, voice=default, voices=by_language)


def _rank(voice: VoiceInfo) -> tuple[bool, bool]:
    return voice.voice_id != _BEST, not covers(voice.language_codes, "en")


def _entries(models: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(models, Mapping):
        models = models.get("data", models.get("models"))
    for entry in models if isinstance(models, list) else ():
        given = entry if isinstance(entry, Mapping) else {"id": entry}
        name = given.get("id")
        if isinstance(name, str) and 0 < len(name) <= _MAX_ID and name.isprintable():
            yield name, given


def _is_alias(name: str) -> bool:
    return _ALIAS.fullmatch(name) is not None
