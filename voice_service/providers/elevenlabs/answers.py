"""From the answer to a call for speech to audio and timings."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import orjson
import pybase64

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.audio.verify import ImplausibleError
from voice_service.ports import AudioChunk, CallFacts, Timings
from voice_service.providers.elevenlabs.alignment import Alignment, TimedCharacters
from voice_service.providers.elevenlabs.config import NAME
from voice_service.providers.elevenlabs.errors import error_in_answer, failure, json_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from voice_service.ports import SpeechItem
    from voice_service.providers.elevenlabs.models import SpeechCall
    from voice_service.providers.elevenlabs.speech_client import Answer


_MAX_LINE_BYTES: Final = 16 * 1024 * 1024
_NUMBERS: Final = frozenset({int, float})


@dataclass(frozen=True, slots=True)
class SpeechLine:
    """A piece of audio, and the characters whose times came with it, None where none came."""

    audio: bytes
    timed: TimedCharacters | None


async def speech_lines(body: AsyncIterator[bytes]) -> AsyncGenerator[SpeechLine, None]:
    """Read the lines of `body`, cut anywhere: JSON objects, each with some audio in base64.

    They are read here and not by the SDK, which leaves out lines that it cannot read and goes on, so that audio would
    be missing without a word. Raises ProviderError: TRUNCATED for a line that cannot be read.
    """
    rest = bytearray()
    async for piece in body:
        view, start = memoryview(piece), 0
        while (end := piece.find(b"\n", start)) >= 0:
            line: memoryview | bytearray = view[start:end]
            if rest:
                rest += line
                line, rest = rest, bytearray()
            if read := _read(line):
                yield read
            start = end + 1
        rest += view[start:]
        if len(rest) > _MAX_LINE_BYTES:
            raise failure(ProviderErrorKind.TRUNCATED, "a line of the stream does not end")
    if read := _read(rest):
        yield read


def _read(line: memoryview | bytearray) -> SpeechLine | None:
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError:
        text = bytes(line)
        if not text.strip():
            return None
        said = _leniently(text)
    if not isinstance(said, dict):
        raise failure(ProviderErrorKind.TRUNCATED, "a line of the stream is no object")
    audio = said.get("audio_base64")
    if not isinstance(audio, str):
        raise error_in_answer(said) or failure(ProviderErrorKind.TRUNCATED, "a line of the stream has no audio")
    try:
        data = pybase64.b64decode(audio, validate=True)
    except ValueError as error:
        raise failure(ProviderErrorKind.TRUNCATED, "the audio of a line cannot be read") from error
    return SpeechLine(data, _timed(said.get("alignment")))


def _leniently(line: bytes) -> Any:
    """Parse what has NaN or half a character in it, too: that costs a line its times and not its audio."""
    try:
        return json.loads(line)
    except ValueError as error:  # also of bytes that are no UTF-8
        raise failure(ProviderErrorKind.TRUNCATED, "a line of the stream cannot be read") from error


def _timed(alignment: Any) -> TimedCharacters | None:
    if not isinstance(alignment, dict):
        return None
    characters, starts, ends = (
        alignment.get(key) for key in ("characters", "character_start_times_seconds", "character_end_times_seconds")
    )
    if not (isinstance(characters, list) and isinstance(starts, list) and isinstance(ends, list)):
        return None
    if not characters or not len(characters) == len(starts) == len(ends):
        return None
    if {*map(type, characters)} != {str} or not _are_times(starts) or not _are_times(ends):
        return None
    return TimedCharacters(tuple(characters), tuple(starts), tuple(ends))


def _are_times(values: list[Any]) -> bool:
    # NaN, wherever it stands, and infinity make the sum one that is not finite.
    return {*map(type, values)} <= _NUMBERS and min(values) >= 0 and isfinite(sum(values))


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
        raise failure(ProviderErrorKind.TRUNCATED, "no audio came")


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
        raise failure(ProviderErrorKind.TRUNCATED, "no audio came")
    if last_is_timed and alignment.stops_early:
        raise ImplausibleError("the stream ends before the text does", provider=NAME)
    words = alignment.words()
    if words and alignment.end <= received / bytes_per_second + _MAX_OVERHANG_SECONDS:
        yield Timings(words)


async def _no_audio(body: AsyncIterator[bytes]) -> ProviderError:
    said = await json_of(body)
    error = error_in_answer(said) if isinstance(said, dict) else None
    return error or failure(ProviderErrorKind.TRANSPORT, "the answer is no audio")
