"""The lines of a stream of speech with timestamps: JSON objects, one a line, each with some audio in base64.

They are read here and not by the SDK, which leaves out lines that it cannot read and goes on, so that audio would be
missing without a word.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import orjson
import pybase64

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.elevenlabs.config import NAME
from voice_service.elevenlabs.errors import error_in_answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

_MAX_LINE_BYTES: Final = 16 * 1024 * 1024
_NUMBERS: Final = frozenset({int, float})


@dataclass(frozen=True, slots=True)
class TimedCharacters:
    """Characters as they were spoken, with the second at which each starts and ends."""

    characters: tuple[str, ...]
    starts: tuple[float, ...]
    ends: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SpeechLine:
    """A piece of audio, and the characters whose times came with it, None where none came."""

    audio: bytes
    timed: TimedCharacters | None


async def speech_lines(body: AsyncIterator[bytes]) -> AsyncGenerator[SpeechLine, None]:
    """Read the lines of `body`, cut anywhere. Raises ProviderError: TRUNCATED for a line that cannot be read."""
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
            raise _lost("a line of the stream does not end")
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
        raise _lost("a line of the stream is no object")
    audio = said.get("audio_base64")
    if not isinstance(audio, str):
        raise error_in_answer(said) or _lost("a line of the stream has no audio")
    try:
        data = pybase64.b64decode(audio, validate=True)
    except ValueError as error:
        raise _lost("the audio of a line cannot be read") from error
    return SpeechLine(data, _timed(said.get("alignment")))


def _leniently(line: bytes) -> Any:
    """Parse what has NaN or half a character in it, too: that costs a line its times and not its audio."""
    try:
        return json.loads(line)
    except ValueError as error:  # also of bytes that are no UTF-8
        raise _lost("a line of the stream cannot be read") from error


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


def _lost(message: str) -> ProviderError:
    return ProviderError(ProviderErrorKind.TRUNCATED, message, provider=NAME)
