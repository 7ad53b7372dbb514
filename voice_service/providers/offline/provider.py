"""The offline provider: espeak-ng in worker processes."""

from __future__ import annotations

import importlib
import os
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.audio.words import word_timings
from voice_service.ports import AudioChunk, NativeFormat, ProviderMetadata, Timings, VoiceInfo
from voice_service.providers.offline.voices import EspeakVoices, UnknownVoiceError, bcp47_languages
from voice_service.providers.offline.workers import WorkerPool, WorkerRefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from voice_service.ports import SegmentRequest, SpeechItem

_NAME: Final = "offline"
_NOT_INSTALLED: Final = "espeak-ng is not installed: pip install espeakng-loader"
_SAMPLE_RATE: Final = 22_050
_WORDS_PER_MINUTE: Final = 150
_RATES: Final = (80, 450)
# Full volume touches the limit in some languages; this leaves 1.5 dB at least, and speech at about -21 dBFS.
_VOLUME: Final = 80
# Of the female variants that stay clear of the limit f2 and f4 have the lowest spectral centroid (920 Hz; f3 998, f5
# 1106), and of the two f2 has the livelier pitch.
_DEFAULT_VARIANT: Final = "f2"
_DEFAULT_VOICE: Final = f"en-gb+{_DEFAULT_VARIANT}"
"""Reads what no voice speaks."""
_LISTED_VARIANTS: Final = (_DEFAULT_VARIANT, "f4", "", "m3")
_MAX_TEXT_LENGTH: Final = 4_000
_MAX_PCM_BYTES: Final = 64 << 20
_MAX_WORKERS: Final = 8
_SILENCE_SECONDS: Final = 0.25


class OfflineVoiceProvider:
    """Speaks every language of espeak-ng with no key.

    Reads files when it is made (10 to 40 ms); processes start with `warm_up`, or when they are needed.
    `workers` is how many processes speak at a time (default: one for each core, eight at most); a worker gets
    `speak_timeout` seconds for a segment, a segment waits `queue_timeout` seconds for a worker. The model is one and
    `model_id` is ignored. A language that no voice speaks is refused unless the request names a voice to read it.
    """

    def __init__(
        self, *, workers: int | None = None, speak_timeout: float = 30.0, queue_timeout: float = 120.0
    ) -> None:
        self._voices: EspeakVoices | None = None
        self._pool: WorkerPool | None = None
        if (paths := _installation()) is not None:
            library, data = paths
            self._voices = EspeakVoices.load(data)
            self._pool = WorkerPool(
                worker_command(library, data),
                provider=_NAME,
                size=workers or min(_MAX_WORKERS, os.cpu_count() or 1),
                start_timeout=15.0,
                speak_timeout=speak_timeout,
                queue_timeout=queue_timeout,
                max_waiting=1024,
            )
        self._metadata = ProviderMetadata(
            name=_NAME,
            display_name="espeak-ng (embedded)",
            supports_streaming=False,
            native_format=NativeFormat.PCM_S16LE,
            sample_rate=_SAMPLE_RATE,
            max_text_length=_MAX_TEXT_LENGTH,
            languages=self._voices.languages if self._voices else (),
            paid=False,
            takes_previous_text=False,
            default_voice=_DEFAULT_VOICE,
            default_model="espeak-ng",
        )

    @property
    def metadata(self) -> ProviderMetadata:
        """What this provider is."""
        return self._metadata

    def warm_up(self) -> None:
        """Starts the workers in the background. Needs a running event loop."""
        if self._pool is not None:
            self._pool.warm_up()

    async def validate_configuration(self) -> str:
        """Returns "" when espeak-ng is installed and a worker starts, else what to do."""
        if self._pool is None:
            return _NOT_INSTALLED
        try:
            await self._pool.check()
        except ProviderError as error:
            return f"espeak-ng is installed but does not start: {error.message}"
        return ""

    async def probe(self) -> None:
        """Makes sure that a worker starts. Raises ProviderError."""
        if self._pool is None:
            raise _error(ProviderErrorKind.AUTH, _NOT_INSTALLED)
        await self._pool.check()

    async def list_voices(self, language_code: str | None = None) -> Sequence[VoiceInfo]:
        """Lists voices, the best of a language first, each in a few variants. Any other variant's name works too."""
        if self._voices is None:
            return ()
        found = self._voices.all() if language_code is None else self._voices.speaking(language_code)
        return tuple(
            VoiceInfo(
                voice_id=f"{voice.code}+{variant}" if variant else voice.code,
                display_name=f"{voice.name}, {variant}" if variant else voice.name,
                language_codes=bcp47_languages(voice),
                gender=self._voices.gender(variant),
            )
            for voice in found
            for variant in _LISTED_VARIANTS
        )

    async def knows_voice(self, voice_id: str, language_code: str) -> bool:
        """Returns whether there are such a voice and such a variant; "+f2" alone is of a voice of the language."""
        if self._voices is None:
            return False
        try:
            self._voices.resolve(voice_id, language_code)
        except UnknownVoiceError:
            return False
        return True

    async def aclose(self) -> None:
        """Ends the workers."""
        if self._pool is not None:
            await self._pool.aclose()

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        """Speaks `request`; the same request gives the same bytes.

        Speed is a factor on 150 words a minute and is held within 0.53 and 3.0. Raises ProviderError: INVALID_INPUT on
        an empty or overlong text, UNSUPPORTED on an unknown voice or language, AUTH where espeak-ng is not installed,
        and TRANSPORT, TIMEOUT, OVERLOAD and CANCELLED as the pool does.
        """
        if self._pool is None or self._voices is None:
            raise _error(ProviderErrorKind.AUTH, _NOT_INSTALLED)
        if not request.text.strip():
            raise _error(ProviderErrorKind.INVALID_INPUT, "the text is empty")
        if len(request.text) > _MAX_TEXT_LENGTH:
            raise _error(ProviderErrorKind.INVALID_INPUT, f"the text is longer than {_MAX_TEXT_LENGTH} characters")
        try:
            voice = self._voices.resolve(request.voice_id or f"+{_DEFAULT_VARIANT}", request.language_code)
            speech = await self._pool.speak(_worker_request(request, voice))
        except UnknownVoiceError as error:
            raise _error(ProviderErrorKind.UNSUPPORTED, str(error)) from error
        except WorkerRefusedError as error:
            raise _refusal(error.reason) from error
        # A text without speech becomes a short pause.
        pcm = speech.pcm or bytes(2 * round(_SAMPLE_RATE * _SILENCE_SECONDS))
        yield AudioChunk(pcm)
        if request.with_timings:
            marks = [(position, sample / _SAMPLE_RATE) for position, sample in speech.words]
            yield Timings(word_timings(request.text, marks, len(pcm) / 2 / _SAMPLE_RATE))


def worker_command(library: Path, data: Path) -> tuple[str, ...]:
    """Returns the command line of a worker: isolated from the environment and from installed packages."""
    return (sys.executable, "-I", "-S", str(Path(__file__).with_name("worker.py")), str(library), str(data.parent))


def speakable(text: str) -> str:
    """Replaces what espeak-ng would take for a command by a space, code point for code point.

    That is control characters (0x01 starts a command), the private use area and unassigned code points (which it uses
    for marks of its own), and halves of surrogate pairs, which have no UTF-8.
    """
    return "".join(
        character if character == "\n" or unicodedata.category(character) not in {"Cc", "Cn", "Co", "Cs"} else " "
        for character in text
    )


def _installation() -> tuple[Path, Path] | None:
    """Returns the paths of the library and of its data, or None where they are not installed."""
    try:
        loader = importlib.import_module("espeakng_loader")
        return Path(loader.get_library_path()), Path(loader.get_data_path())
    except (ImportError, RuntimeError):
        return None


def _worker_request(request: SegmentRequest, voice: str) -> dict[str, Any]:
    rate = round(_WORDS_PER_MINUTE * (request.settings.speed or 1.0))
    return {
        "text": speakable(request.text),
        "voice": voice,
        "rate": min(max(rate, _RATES[0]), _RATES[1]),
        "volume": _VOLUME,
        "max_pcm_bytes": _MAX_PCM_BYTES,
    }


def _refusal(reason: str) -> ProviderError:
    if reason == "voice":
        return _error(ProviderErrorKind.UNSUPPORTED, "espeak-ng does not know this voice")
    if reason == "too_long":
        return _error(ProviderErrorKind.INVALID_INPUT, "the text takes more than 25 minutes to speak")
    return _error(ProviderErrorKind.TRANSPORT, "espeak-ng failed")


def _error(kind: ProviderErrorKind, message: str) -> ProviderError:
    return ProviderError(kind, message, provider=_NAME)
