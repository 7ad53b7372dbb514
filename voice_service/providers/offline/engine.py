"""What the embedded voice is made of: engines that read texts with voices of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.audio.decode import Pcm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_service.ports import VoiceInfo

NAME: Final = "offline"


@dataclass(frozen=True, slots=True)
class Speech:
    """What a worker made: mono s16le samples, pairs of (code point, sample) where words begin, and samples a second.

    `clauses` are pairs of phonemes and the code point where the clause ends, where they were asked for.
    """

    pcm: bytes
    words: tuple[tuple[int, int], ...]
    sample_rate: int
    clauses: tuple[tuple[str, int], ...] = ()


def joined(speeches: Sequence[tuple[int, Speech]], sample_rate: int) -> Speech:
    """Joins speeches, each with the code point that its text begins at, at one rate. Blocks for some milliseconds."""
    pcm = b""
    words: list[tuple[int, int]] = []
    for position, speech in speeches:
        begin, scale = len(pcm) // 2, sample_rate / speech.sample_rate
        words += [(position + at, begin + round(sample * scale)) for at, sample in speech.words]
        pcm += speech.pcm if speech.sample_rate == sample_rate else _resampled(speech, sample_rate)
    return Speech(pcm, tuple(words), sample_rate)


def _resampled(speech: Speech, sample_rate: int) -> bytes:
    return Pcm(np.frombuffer(speech.pcm, "<i2"), speech.sample_rate).resampled(sample_rate).samples.tobytes()


class Engine(Protocol):
    """Reads texts with voices of its own, in processes of its own."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of its voices, as BCP-47 codes."""

    async def missing(self) -> str:
        """Returns why it cannot read, and what to do about it; "" where it can."""

    def warm_up(self) -> None:
        """Starts its processes in the background. Needs a running event loop."""

    def list_voices(self, language_code: str | None = None) -> Sequence[VoiceInfo]:
        """Lists its voices, all or those of one language, the best first."""

    def resolve(self, voice_id: str, language_code: str) -> str:
        """Returns its own name of a voice, of its best one for the language where `voice_id` is empty.

        Raises UnknownVoiceError.
        """

    def scripts(self, voice: str) -> frozenset[str]:
        """Returns the scripts that a voice reads, by what `resolve` returned."""

    async def speak(self, text: str, voice: str, speed: float) -> Speech:
        """Reads `text` at `speed` times its usual pace, with a voice that `resolve` returned. Raises ProviderError."""

    async def aclose(self) -> None:
        """Ends its processes."""


def failure(kind: ProviderErrorKind, message: str) -> ProviderError:
    """Returns an error of the embedded voice."""
    return ProviderError(kind, message, provider=NAME)


def refusal(reason: str) -> ProviderError:
    """Returns what a worker's refusal means: "voice", "too_long" or "failed"."""
    if reason == "voice":
        return failure(ProviderErrorKind.UNSUPPORTED, "the engine does not know this voice")
    long = reason == "too_long"
    said = "the text takes more than 25 minutes to speak" if long else "the engine cannot read this text"
    return failure(ProviderErrorKind.INVALID_INPUT, said)
