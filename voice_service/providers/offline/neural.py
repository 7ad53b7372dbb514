"""The engine of English: hibari's voice "heart" in a worker process."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import structlog

from servicekit.languages import language_of, script_of
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.languages import covers
from voice_service.ports import VoiceInfo
from voice_service.providers.offline.engine import Speech, failure, joined
from voice_service.providers.offline.voices import UnknownVoiceError
from voice_service.providers.offline.workers import WorkerPool, worker_program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_service.providers.offline.engine import Engine

_log: Final = structlog.stdlib.get_logger(__name__)

HEART: Final = "heart"
SAMPLE_RATE: Final = 24_000
_NAMES: Final = frozenset({HEART, "hibari", "af_heart"})
_LANGUAGES: Final = ("en-US", "en")
_NEEDS: Final = ("onnxruntime", "hibari")
# 159 words a minute; the voice's own pace is 194, too fast for a child.
_PACE: Final = 0.8
_PACES: Final = (0.5, 2.0)


class NeuralEngine:
    """Speaks English at 159 words a minute times the speed, held within 0.63 and 2.5. One process is enough."""

    def __init__(self, others: Engine, *, speak_timeout: float, queue_timeout: float) -> None:
        self._others = others
        self._missing = next((f"{name} is not installed" for name in _NEEDS if find_spec(name) is None), "")
        self._pool = WorkerPool(
            worker_program("neural_worker"),
            size=1,
            start_timeout=60.0,
            speak_timeout=speak_timeout,
            queue_timeout=queue_timeout,
        )

    @property
    def languages(self) -> tuple[str, ...]:
        """English, where it can be read."""
        return () if self._missing else _LANGUAGES

    def warm_up(self) -> None:
        """Starts the worker in the background."""
        if not self._missing:
            self._pool.warm_up()

    async def missing(self) -> str:
        """Returns "" where the worker starts, else why not."""
        if not self._missing and (reason := await self._pool.failed()):
            return f"the neural voice does not start: {reason}"
        return self._missing

    def list_voices(self, language_code: str | None = None) -> Sequence[VoiceInfo]:
        """Lists the one voice."""
        if self._missing or not (language_code is None or covers(_LANGUAGES, language_code)):
            return ()
        said = "Embedded, neural, American English"
        heart = VoiceInfo(
            voice_id=HEART, display_name="Heart", language_codes=_LANGUAGES, gender="female", description=said
        )
        return (heart,)

    def resolve(self, voice_id: str, language_code: str) -> str:
        """Returns "heart" for its names, and for English without a name."""
        named = voice_id.casefold() in _NAMES if voice_id else covers(_LANGUAGES, language_code)
        if self._missing or not named:
            raise UnknownVoiceError("there is no such voice")
        return HEART

    def scripts(self, voice: str) -> frozenset[str]:
        """Returns the Latin script, and those whose words a voice of espeak-ng reads; of kana with kanji none does."""
        del voice
        codes = ("ru", "el", "ar", "zh", "am", "te", "or")
        return frozenset[str]().union(*(self._others.scripts(self._other(code)) for code in codes))

    def _other(self, language: str) -> str:
        """Returns the voice of espeak-ng that reads words of a language, the English one for want of a better."""
        try:
            return self._others.resolve("", language)
        except UnknownVoiceError:
            return self._others.resolve("", "en")

    async def speak(self, text: str, voice: str, speed: float) -> Speech:
        """Reads `text`; what is in other scripts, or cannot be read, is read by a voice of espeak-ng."""
        if self._missing:
            raise failure(ProviderErrorKind.AUTH, self._missing)
        pace = min(max(_PACE * speed, _PACES[0]), _PACES[1])
        spoken = []
        for start, end, language in parts_by_script(text):
            part = text[start:end]
            speech = None if language else await self._read({"text": part, "voice": voice, "speed": pace})
            if speech is None or (not speech.pcm and any(map(str.isalnum, part))):
                speech = await self._others.speak(part, self._other(language or "en"), speed)
            spoken.append((start, speech))
        return spoken[0][1] if len(spoken) == 1 else await asyncio.to_thread(joined, spoken, SAMPLE_RATE)

    async def _read(self, request: dict[str, Any]) -> Speech | None:
        try:
            return await self._pool.speak(request)
        except ProviderError as error:
            if error.kind is not ProviderErrorKind.INVALID_INPUT:
                raise
            _log.warning("text read by espeak-ng", why=error.message)
            return None

    async def aclose(self) -> None:
        """Ends the worker."""
        await self._pool.aclose()


def parts_by_script(text: str) -> list[tuple[int, int, str]]:
    """Parts `text` into what is in the Latin script ("") and what is in another, with a language that is written so.

    Between two words of the same script there is no cut, whatever stands there.
    """
    parts: list[tuple[int, int, str]] = []
    for word in re.finditer(r"\S+\s*", text):
        script = next(filter(None, map(_foreign_script, word[0])), "")
        if parts and (parts[-1][2] == script or not any(map(str.isalnum, word[0]))):
            parts[-1] = (parts[-1][0], word.end(), parts[-1][2])
        else:
            parts.append((word.start(), word.end(), script))
    return [(start, end, script and language_of(text[start:end])) for start, end, script in parts]


def _foreign_script(character: str) -> str:
    """Returns the script of a letter, "" of the Latin one; kana and kanji, which are mixed, count as one."""
    if character < "\u0250" or unicodedata.category(character) not in {"Lo", "Lu", "Ll"}:
        return ""
    script = script_of(unicodedata.normalize("NFKC", character)[0])
    return "" if script in {"", "LATIN"} else "CJK" if script in {"HIRAGANA", "KATAKANA"} else script
