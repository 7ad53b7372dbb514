"""The lines of a stream of speech with timestamps: JSON objects, one a line, each with some audio in base64.

They are read here and not by the SDK, which leaves out lines that it can not read and goes on, so that audio would be
missing without a word.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.elevenlabs.config import NAME
from voice_service.elevenlabs.errors import error_in_answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

_MAX_LINE_BYTES: Final = 16 * 1024 * 1024


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
    """Read the lines of `body`, cut anywhere. Raises ProviderError: TRUNCATED for a line that can not be read."""
    rest = bytearray()
    async for piece in body:
        *lines, tail = piece.split(b"\n")
        for line in lines:
            rest += line
            if read := _read(bytes(rest)):
                yield read
            rest.clear()
        rest += tail
        if len(rest) > _MAX_LINE_BYTES:
            raise _lost("a line of the stream does not end")
    if read := _read(bytes(rest)):
        yield read


def _read(line: bytes) -> SpeechLine | None:
    if not line.strip():
        return None
    try:
        said = json.loads(line)
    except ValueError as error:  # also of bytes that are no UTF-8
        raise _lost("a line of the stream can not be read") from error
    if not isinstance(said, dict):
        raise _lost("a line of the stream is no object")
    audio = said.get("audio_base64")
    if not isinstance(audio, str):
        raise error_in_answer(said) or _lost("a line of the stream has no audio")
    try:
        data = base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _lost("the audio of a line can not be read") from error
    return SpeechLine(data, _timed(said.get("alignment")))


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
    if not all(isinstance(each, str) for each in characters) or not all(_is_time(each) for each in (*starts, *ends)):
        return None
    return TimedCharacters(tuple(characters), tuple(starts), tuple(ends))


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _lost(message: str) -> ProviderError:
    return ProviderError(ProviderErrorKind.TRUNCATED, message, provider=NAME)
