"""The embedded voice: a user's own for some languages, a neural one for English, espeak-ng for all else."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from servicekit.languages import SCRIPTS
from servicekit.resilience.errors import ProviderErrorKind
from voice_service.audio.words import word_timings
from voice_service.ports import AudioChunk, CallFacts, NativeFormat, ProviderMetadata, Timings
from voice_service.providers.offline.engine import NAME, failure, joined
from voice_service.providers.offline.espeak import DEFAULT_VOICE, EspeakEngine
from voice_service.providers.offline.neural import HEART, SAMPLE_RATE, NeuralEngine
from voice_service.providers.offline.piper import PiperEngine
from voice_service.providers.offline.voices import UnknownVoiceError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from voice_service.ports import SegmentRequest, SpeechItem, VoiceInfo
    from voice_service.providers.offline.engine import Engine

_MAX_TEXT_LENGTH: Final = 4_000
_MAX_WORKERS: Final = 8
_SILENCE_SECONDS: Final = 0.25


class OfflineVoiceProvider:
    """Speaks English, every language of espeak-ng and the voices of the folder `piper` with no key.

    Reads files when it is made (10 to 40 ms); processes start with `warm_up`, or when they are needed.
    `workers` is how many processes of espeak-ng speak at a time (default: one for each core, eight at most); a worker
    gets `speak_timeout` seconds for a segment, a segment waits `queue_timeout` seconds for a worker. A voice belongs to
    one engine; without a voice, the first engine with one for the language reads. `model_id` is ignored. A language
    that no voice speaks is refused unless the request names a voice to read it.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        piper: Path | None = None,
        speak_timeout: float = 30.0,
        queue_timeout: float = 120.0,
    ) -> None:
        size = workers or min(_MAX_WORKERS, os.cpu_count() or 1)
        self._espeak = EspeakEngine(size=size, speak_timeout=speak_timeout, queue_timeout=queue_timeout)
        self._neural = NeuralEngine(self._espeak, speak_timeout=speak_timeout, queue_timeout=queue_timeout)
        self._piper = PiperEngine(piper, self._espeak, speak_timeout=speak_timeout, queue_timeout=queue_timeout)
        self._engines: tuple[Engine, ...] = (self._piper, self._neural, self._espeak)
        languages = {language for engine in self._engines for language in engine.languages}
        self._metadata = ProviderMetadata(
            name=NAME,
            display_name="Heart and espeak-ng (embedded)" if self._neural.languages else "espeak-ng (embedded)",
            supports_streaming=False,
            native_format=NativeFormat.PCM_S16LE,
            sample_rate=SAMPLE_RATE,
            max_text_length=_MAX_TEXT_LENGTH,
            languages=tuple(sorted(languages)),
            paid=False,
            takes_previous_text=False,
            default_voice=HEART if self._neural.languages else DEFAULT_VOICE,
            default_model="embedded",
        )

    @property
    def metadata(self) -> ProviderMetadata:
        """What this provider is."""
        return self._metadata

    def warm_up(self) -> None:
        """Starts the workers in the background. Needs a running event loop."""
        for engine in self._engines:
            engine.warm_up()

    async def validate_configuration(self) -> str:
        """Returns "" when an engine can read, else what to do."""
        reasons = [await engine.missing() for engine in reversed(self._engines)]
        return "" if "" in reasons else reasons[0]

    async def reduced(self) -> str:
        """Returns why English is not read by the neural voice, and which voices of a user's own are not."""
        reason = await self._neural.missing()
        english = f"The embedded voice reads English with espeak-ng, since {reason}." if reason else ""
        return f"{english} {await self._piper.reduced()}".strip()

    async def probe(self) -> None:
        """Makes sure that a worker starts. Raises ProviderError."""
        if reason := await self.validate_configuration():
            raise failure(ProviderErrorKind.AUTH, reason)

    async def list_voices(self, language_code: str | None = None) -> Sequence[VoiceInfo]:
        """Lists the voices of all engines that can read, the best of a language first."""
        return tuple(voice for engine in await self._ready() for voice in engine.list_voices(language_code))

    async def knows_voice(self, voice_id: str, language_code: str) -> bool:
        """Returns whether an engine that can read has such a voice; "+f2" alone is of a voice of the language."""
        try:
            _choose(await self._ready(), voice_id, language_code)
        except UnknownVoiceError:
            return False
        return True

    def scripts(self, voice_id: str, language_code: str) -> frozenset[str]:
        """Returns what the voice reads; the default one where none speaks the language. All, of an unknown voice."""
        named = not voice_id.startswith("+") and bool(voice_id)
        asked = ((voice_id, language_code),) if named else (("", language_code), (self._metadata.default_voice, "en"))
        for voice, language in asked:
            with suppress(UnknownVoiceError):
                engine, name = _choose(self._engines, voice, language)
                return engine.scripts(name)
        return SCRIPTS

    async def aclose(self) -> None:
        """Ends the workers."""
        for engine in self._engines:
            await engine.aclose()

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        """Speaks `request`; the same request gives the same bytes.

        Speed is a factor on the usual pace of the engine and is held within its limits. Raises ProviderError:
        INVALID_INPUT on an empty or overlong text, UNSUPPORTED on an unknown voice or language, AUTH where no engine is
        installed, and TRANSPORT, TIMEOUT, OVERLOAD and CANCELLED as the workers do.
        """
        if not request.text.strip():
            raise failure(ProviderErrorKind.INVALID_INPUT, "the text is empty")
        if len(request.text) > _MAX_TEXT_LENGTH:
            raise failure(ProviderErrorKind.INVALID_INPUT, f"the text is longer than {_MAX_TEXT_LENGTH} characters")
        if reason := await self.validate_configuration():
            raise failure(ProviderErrorKind.AUTH, reason)
        try:
            # The engine of a voice that is named reads or fails: none replaces it unseen.
            engines = self._engines if request.voice_id else await self._ready()
            engine, voice = _choose(engines, request.voice_id, request.language_code)
            speech = await engine.speak(request.text, voice, request.settings.speed or 1.0)
        except UnknownVoiceError as error:
            raise failure(ProviderErrorKind.UNSUPPORTED, str(error)) from error
        yield CallFacts(levelled=engine is not self._piper)
        speech = await asyncio.to_thread(joined, [(0, speech)], SAMPLE_RATE)
        # A text without speech becomes a short pause.
        pcm = speech.pcm or bytes(2 * round(SAMPLE_RATE * _SILENCE_SECONDS))
        yield AudioChunk(pcm)
        if request.with_timings and speech.words:
            marks = [(position, sample / SAMPLE_RATE) for position, sample in speech.words]
            yield Timings(word_timings(request.text, marks, len(pcm) / 2 / SAMPLE_RATE))

    async def _ready(self) -> Sequence[Engine]:
        return [engine for engine in self._engines if not await engine.missing()]


def _choose(engines: Sequence[Engine], voice_id: str, language_code: str) -> tuple[Engine, str]:
    """Returns the engine that reads and its name of the voice. Raises UnknownVoiceError of the last one."""
    reason = UnknownVoiceError("there is no such voice")
    for engine in engines:
        try:
            return engine, engine.resolve(voice_id, language_code)
        except UnknownVoiceError as error:
            reason = error
    raise reason
