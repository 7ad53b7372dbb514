"""Voices of one speech server: those that are configured, and those that it lists."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from servicekit.ids import is_language
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.languages import canonical
from voice_service.ports import VoiceInfo
from voice_service.providers.cached_list import CachedList
from voice_service.providers.openai_api import typed_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voice_service.providers.openai_api import OpenAIClient
    from voice_service.providers.speech.config import SpeechConfig


_TIMEOUT: Final = 3.0
_GOOD_SECONDS: Final = 600.0
_MAX_LISTED: Final = 2_000
_MAX_ID: Final = 200
_KOKORO: Final = re.compile(r"([abefhijpz])([fm])_\w+")
_KOKORO_LANGUAGES: Final = {
    "a": "en-US",
    "b": "en-GB",
    "e": "es",
    "f": "fr",
    "h": "hi",
    "i": "it",
    "j": "ja",
    "p": "pt-BR",
    "z": "zh",
}
"""First letter of a voice of Kokoro; the second one is f or m."""
_GENDERS: Final = {"female": "female", "f": "female", "male": "male", "m": "male"}


def configured(config: SpeechConfig) -> tuple[VoiceInfo, ...]:
    """Returns the voices that the operator names, those of `voices` first.

    The default voice has the languages of the model that no other voice is set for.
    """
    languages: dict[str, list[str]] = {}
    for language, ids in config.voices.items():
        for voice_id in ids:
            languages.setdefault(voice_id, []).append(language)
    if config.default_voice:
        own = languages.setdefault(config.default_voice, [])
        own += [language for language in config.spoken_languages if language not in config.voices]
    return tuple(
        VoiceInfo(
            voice_id=voice_id, display_name=voice_id, language_codes=tuple(spoken), gender=_gender(voice_id, None)
        )
        for voice_id, spoken in languages.items()
    )


def listed(answer: object, model: str = "") -> tuple[VoiceInfo, ...]:
    """Returns the voices in what a server answers to GET /audio/voices; none where it cannot be read.

    Those that are said to be of another model than `model` are left out.

    `voices` (Kokoro-FastAPI, speaches), `data`, or the list itself, of ids or of objects with `id`, `voice_id` or
    `name`, and `language` and `gender` where they are known.
    """
    found: dict[str, VoiceInfo] = {}
    for entry in _entries(answer):
        voice = None if _is_of_another(entry, model) else _voice(entry)
        if voice is not None:
            found.setdefault(voice.voice_id, voice)
        if len(found) == _MAX_LISTED:
            break
    return tuple(found.values())


def _entries(answer: object) -> Iterator[object]:
    if isinstance(answer, Mapping):
        answer = answer.get("voices", answer.get("data"))
    if isinstance(answer, list):
        yield from answer


def _is_of_another(entry: object, model: str) -> bool:
    said = entry.get("model_id", entry.get("model")) if isinstance(entry, Mapping) else None
    return isinstance(said, str) and model not in {"", said}


def _voice(entry: object) -> VoiceInfo | None:
    given: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {"id": entry}
    voice_id = next((given[key] for key in ("id", "voice_id", "name") if given.get(key)), None)
    if not isinstance(voice_id, str) or len(voice_id) > _MAX_ID or not voice_id.isprintable():
        return None
    name = given.get("name")
    shown = isinstance(name, str) and name.isprintable() and 0 < len(name) <= _MAX_ID
    return VoiceInfo(
        voice_id=voice_id,
        display_name=str(name) if shown else voice_id,
        language_codes=_languages(voice_id, given.get("language")),
        gender=_gender(voice_id, given.get("gender")),
        description=_text(given.get("description")),
        preview_url=_text(given.get("preview_url")),
    )


def _text(given: object) -> str:
    return given if isinstance(given, str) else ""


def _languages(voice_id: str, given: object) -> tuple[str, ...]:
    code = given.replace("_", "-") if isinstance(given, str) else ""
    if is_language(code):
        return (canonical(code),)
    kokoro = _KOKORO.fullmatch(voice_id)
    return (_KOKORO_LANGUAGES[kokoro[1]],) if kokoro else ()


def _gender(voice_id: str, given: object) -> str:
    kokoro = _KOKORO.fullmatch(voice_id)
    word = given.lower() if isinstance(given, str) else kokoro[2] if kokoro else ""
    return _GENDERS.get(word, "")


def voice_list(client: OpenAIClient, *, provider: str, model: Callable[[], str]) -> CachedList[tuple[VoiceInfo, ...]]:
    """Returns the server's own list for a model, GET /audio/voices; servers without it (404) have none."""

    async def fetch() -> tuple[VoiceInfo, ...]:
        sdk = await client.get()
        options: Any = {"timeout": _TIMEOUT, "headers": client.headers()}
        try:
            with typed_errors(provider):
                async with asyncio.timeout(_TIMEOUT):
                    answer: object = await sdk.get("/audio/voices", cast_to=object, options=options)
        except TimeoutError:
            raise ProviderError(
                ProviderErrorKind.TIMEOUT, "the voices did not come in time", provider=provider
            ) from None
        except ProviderError as error:
            if error.kind is not ProviderErrorKind.UNSUPPORTED:
                raise
            return ()
        return listed(answer, model())

    return CachedList(fetch, name="voices", provider=provider, seconds=_GOOD_SECONDS)
