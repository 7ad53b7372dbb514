"""What the adapter has to know of one server of speech, and its voices: those of the settings, and its own list."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.ports import VoiceInfo
from voice_service.providers.cached_list import KeptList
from voice_service.providers.openai_api import told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servicekit.secrets import SecretSource
    from voice_service.providers.openai_api import OpenAIClient


SpeechFormat: TypeAlias = Literal["pcm", "wav", "mp3", "flac", "opus"]
"""What to ask a server for. All but `pcm` is decoded here."""

NAME: Final = "speech"
DISPLAY_NAME: Final = "OpenAI-compatible speech"
SAMPLE_RATE: Final = 24_000
"""Hz of raw samples as OpenAI, OpenRouter and Kokoro-FastAPI send them."""
MAX_TEXT_LENGTH: Final = 4_096
"""Code points that OpenAI's API takes in one request."""
FALLBACK_LANGUAGE: Final = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechConfig:
    """One server and how to ask it.

    `voices` are voice ids by language (BCP-47), the first of a language being preferred; `voice` reads the languages
    that are not there, and is the first of `voices` where it is not given. `sample_rate` in Hz is that of raw samples
    from this server; a server that states another one is believed and resampled. `languages` are what the model
    speaks, by default those of `voices`. `extra` goes into the body of every request. `key_variable` is named where
    `key` has to be there and is not. `prefix` begins the names of the variables that the settings come from.
    """

    base_url: str
    key: SecretSource
    model: str
    name: str = NAME
    display_name: str = DISPLAY_NAME
    voice: str = ""
    voices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    response_format: SpeechFormat = "pcm"
    sample_rate: int = SAMPLE_RATE
    languages: tuple[str, ...] = ()
    max_text_length: int = MAX_TEXT_LENGTH
    paid: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    key_variable: str = ""
    prefix: str = "SPEECH_"

    @property
    def default_voice(self) -> str:
        """The voice that reads what no other is set for; "" where there is none."""
        return self.voice or next((ids[0] for ids in self.voices.values() if ids), "")

    @property
    def spoken_languages(self) -> tuple[str, ...]:
        """What the model speaks, as far as it was said; "en" where nothing was."""
        return self.languages or tuple(self.voices) or (FALLBACK_LANGUAGE,)

    def missing(self) -> str:
        """What has to be set before the server can be asked, and how; "" where nothing is missing."""
        if not self.base_url:
            return f"set {self.prefix}BASE_URL to the address of a server with OpenAI's /audio/speech"
        if not self.model:
            return f"set {self.prefix}MODEL to the model of {self.prefix}BASE_URL that speaks: there is no default"
        if not self.default_voice:
            return f"set {self.prefix}VOICE to a voice of that model, or {self.prefix}VOICES to voices by language"
        if self.key_variable and not self.key.get():
            return f"set {self.key_variable} to the key of that server"
        return ""


_TIMEOUT: Final = 3.0
_GOOD_SECONDS: Final = 600.0
_MAX_LISTED: Final = 2_000
_MAX_ID: Final = 200
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")
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
    """Return the voices that the operator names, those of `voices` first.

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


def listed(answer: object) -> tuple[VoiceInfo, ...]:
    """Return the voices in what a server answers to GET /audio/voices; none where it can not be read.

    `voices` (Kokoro-FastAPI, speaches), `data`, or the list itself, of ids or of objects with `id`, `voice_id` or
    `name`, and `language` and `gender` where they are known.
    """
    found: dict[str, VoiceInfo] = {}
    for entry in _entries(answer):
        voice = _voice(entry)
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
    )


def _languages(voice_id: str, given: object) -> tuple[str, ...]:
    code = given.replace("_", "-") if isinstance(given, str) else ""
    if _LANGUAGE.fullmatch(code):
        first, *rest = code.split("-")
        return ("-".join([first.lower(), *(part.upper() if len(part) == 2 else part for part in rest)]),)
    kokoro = _KOKORO.fullmatch(voice_id)
    return (_KOKORO_LANGUAGES[kokoro[1]],) if kokoro else ()


def _gender(voice_id: str, given: object) -> str:
    kokoro = _KOKORO.fullmatch(voice_id)
    word = given.lower() if isinstance(given, str) else kokoro[2] if kokoro else ""
    return _GENDERS.get(word, "")


def voice_list(client: OpenAIClient, *, provider: str) -> KeptList[tuple[VoiceInfo, ...]]:
    """Returns the server's own list, GET /audio/voices; servers without it (404) have none."""

    async def fetch() -> tuple[VoiceInfo, ...]:
        sdk = await client.get()
        options: Any = {"timeout": _TIMEOUT, "headers": client.headers()}
        try:
            with told(provider):
                async with asyncio.timeout(_TIMEOUT):
                    return listed(await sdk.get("/audio/voices", cast_to=object, options=options))
        except TimeoutError:
            raise ProviderError(
                ProviderErrorKind.TIMEOUT, "the voices did not come in time", provider=provider
            ) from None
        except ProviderError as error:
            if error.kind is not ProviderErrorKind.UNSUPPORTED:
                raise
            return ()

    return KeptList(fetch, name="voices", provider=provider, seconds=_GOOD_SECONDS)
