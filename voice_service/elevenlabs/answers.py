"""From the answer to a call for speech to audio and timings."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.elevenlabs.alignment import Alignment
from voice_service.elevenlabs.config import NAME
from voice_service.elevenlabs.errors import error_in_answer, json_of
from voice_service.elevenlabs.lines import speech_lines
from voice_service.implausible import ImplausibleError
from voice_service.ports import AudioChunk, CallFacts, Timings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from voice_service.elevenlabs.request import SpeechCall
    from voice_service.elevenlabs.speech_client import Answer
    from voice_service.ports import SpeechItem

_NO_AUDIO: Final = ("application/json", "text/")
_MAX_DIGITS: Final = 12
_MAX_OVERHANG_SECONDS: Final = 1.0
"""Timings that end so long after the audio are of another pace than the audio."""


def call_facts(headers: Mapping[str, str]) -> CallFacts:
    """Return what the headers say of a call: `request-id`, and `character-cost` in characters of the plan."""
    cost = headers.get("character-cost", "")
    told = cost.isascii() and cost.isdigit() and len(cost) <= _MAX_DIGITS
    return CallFacts(headers.get("request-id", ""), int(cost) if told else None)


async def plain_audio(answer: Answer) -> AsyncGenerator[SpeechItem, None]:
    """Give the body as audio. Raises ProviderError where it is none: an error under status 200, or nothing."""
    if answer.headers.get("content-type", "").lower().startswith(_NO_AUDIO):
        raise await _no_audio(answer.body)
    received = 0
    async for piece in answer.body:
        received += len(piece)
        yield AudioChunk(piece)
    if not received:
        raise _lost("no audio came")


async def timed_audio(
    body: AsyncIterator[bytes], call: SpeechCall, *, bytes_per_second: float
) -> AsyncGenerator[SpeechItem, None]:
    """Give the audio of a stream with timestamps, and then the timings of the words as far as they are plausible.

    Raises ProviderError: TRUNCATED where audio is missing.
    """
    alignment = Alignment(call.text)
    received = 0
    last_is_timed = False
    async with aclosing(speech_lines(body)) as lines:
        async for line in lines:
            if line.timed is not None:
                alignment.add(line.timed)
            if line.audio:
                received += len(line.audio)
                last_is_timed = line.timed is not None
                yield AudioChunk(line.audio)
    if not received:
        raise _lost("no audio came")
    if last_is_timed and alignment.stops_early:
        raise ImplausibleError("the stream ends before the text does", provider=NAME)
    words = alignment.words()
    if words and alignment.end <= received / bytes_per_second + _MAX_OVERHANG_SECONDS:
        yield Timings(words)


async def _no_audio(body: AsyncIterator[bytes]) -> ProviderError:
    said = await json_of(body)
    error = error_in_answer(said) if isinstance(said, dict) else None
    return error or ProviderError(ProviderErrorKind.TRANSPORT, "the answer is no audio", provider=NAME)


def _lost(message: str) -> ProviderError:
    return ProviderError(ProviderErrorKind.TRUNCATED, message, provider=NAME)
