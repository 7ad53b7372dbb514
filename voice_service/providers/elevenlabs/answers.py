"""Reads audio and word timings from the response to a call for speech."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from contextlib import aclosing
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain, compress, count, repeat, takewhile
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Final

import orjson
import pybase64

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.audio.verify import ImplausibleError
from voice_service.audio.words import word_spans
from voice_service.ports import AudioChunk, CallFacts, Timings, WordTiming
from voice_service.providers.elevenlabs.api import NAME, error_in_answer, failure, json_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping

    from voice_service.ports import SpeechItem
    from voice_service.providers.elevenlabs.client import SpeechResponse
    from voice_service.providers.elevenlabs.models import SpeechCall


_MISSING: Final = 3
"""So many letters or digits without a time at the end of a text are not an oddity of the alignment."""
_LONGEST_COMPARED: Final = 100
"""Most code points that are compared where the characters differ from the text; at worst it takes 7 ms."""
_UNSPOKEN: Final = re.compile(r"\[[^\]]*(?:\]|$)|<[^<>]*>|\([^()]*\)|\{[^{}]*\}")
"""What voices leave out at times: directions, tags, asides."""


@dataclass(frozen=True, slots=True)
class TimedCharacters:
    """Characters as they were spoken, with the second at which each starts and ends."""

    characters: tuple[str, ...]
    starts: tuple[float, ...]
    ends: tuple[float, ...]


class Alignment:
    """Lays characters with times along the text that they belong to.

    White space counts for nothing, since ElevenLabs puts spaces of its own before sentences, nor does case.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._places = list(compress(count(), map(str.strip, text)))
        self._letters = _letters(text)
        self._spoken: list[str] = []
        self._starts: list[float] = []
        self._ends: list[float] = []

    def add(self, timed: TimedCharacters) -> None:
        """Takes up more characters, which follow those before."""
        starts, ends = timed.starts, timed.ends
        sizes = list(map(len, timed.characters))
        if {*sizes} != {1}:
            starts = tuple(chain.from_iterable(map(repeat, starts, sizes)))
            ends = tuple(chain.from_iterable(map(repeat, ends, sizes)))
        characters = "".join(timed.characters)
        self._spoken += _letters(characters)
        self._starts += compress(starts, map(str.strip, characters))
        self._ends += compress(ends, map(str.strip, characters))

    @property
    def is_exact(self) -> bool:
        """Whether the characters are those of the text, or of its beginning."""
        return self._spoken == self._letters[: len(self._spoken)]

    @property
    def stops_early(self) -> bool:
        """Whether the text continues where the characters end; what is in brackets need not be spoken."""
        if not self._spoken or not self.is_exact:
            return False
        unspoken = {place for match in _UNSPOKEN.finditer(self._text) for place in range(*match.span())}
        missing = (place for place in self._places[len(self._spoken) :] if place not in unspoken)
        return sum(self._text[place].isalnum() for place in missing) >= _MISSING

    @property
    def end(self) -> float:
        """Second at which the last character ends; 0 where there is none."""
        return max(self._ends, default=0.0)

    def words(self) -> tuple[WordTiming, ...]:
        """Returns the words of whose characters half have times at least, in order and without overlap."""
        starts, ends = [inf] * len(self._letters), [-inf] * len(self._letters)
        for spoken, letter, size in self._matched():
            starts[letter : letter + size] = self._starts[spoken : spoken + size]
            ends[letter : letter + size] = self._ends[spoken : spoken + size]
        words: list[WordTiming] = []
        before = 0.0
        for first, last in word_spans(self._text):
            # There is no white space in a word.
            letter = bisect_left(self._places, first)
            heard = starts[letter : letter + last - first]
            if 2 * heard.count(inf) > last - first:
                continue
            start = max(before, min(heard))
            before = max(start, *ends[letter : letter + last - first])
            words.append(WordTiming(first, last, start, before))
        return tuple(words)

    def _matched(self) -> Iterator[tuple[int, int, int]]:
        """Gives where in the spoken characters and in those of the text so many are the same."""
        spoken, letters = self._spoken, self._letters
        if self.is_exact:
            yield 0, 0, len(spoken)
            return
        before = behind = 0
        if max(len(spoken), len(letters)) > _LONGEST_COMPARED:
            before = _alike(zip(spoken, letters, strict=False))
            most = min(len(spoken), len(letters)) - before
            behind = min(most, _alike(zip(reversed(spoken), reversed(letters), strict=False)))
            yield 0, 0, before
            yield len(spoken) - behind, len(letters) - behind, behind
            spoken, letters = spoken[before : len(spoken) - behind], letters[before : len(letters) - behind]
        if max(len(spoken), len(letters)) <= _LONGEST_COMPARED:
            for block in SequenceMatcher(None, spoken, letters, autojunk=False).get_matching_blocks():
                yield before + block.a, before + block.b, block.size


def _letters(text: str) -> list[str]:
    """Returns the characters of a text as they are compared: without white space, in one case."""
    return list(map(str.casefold, "".join(text.split())))


def _alike(pairs: Iterable[tuple[str, str]]) -> int:
    """So many pairs are alike before the first that is not."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


_MAX_LINE_BYTES: Final = 16 * 1024 * 1024
_NUMBERS: Final = frozenset({int, float})


@dataclass(frozen=True, slots=True)
class SpeechLine:
    """A piece of audio, and the characters whose times came with it, None where none came."""

    audio: bytes
    timed: TimedCharacters | None


async def speech_lines(body: AsyncIterator[bytes]) -> AsyncGenerator[SpeechLine, None]:
    """Reads the lines of `body`, cut anywhere: JSON objects, each with some audio in base64.

    They are read here and not by the SDK, which skips lines that it cannot read and continues, so that audio would
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
    """Parses what has NaN or half a character in it, too: that costs a line its times and not its audio."""
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
    """Returns what the headers say of a call: `request-id`, and `character-cost` in characters of the plan."""
    cost = headers.get("character-cost", "")
    stated = cost.isascii() and cost.isdigit() and len(cost) <= _MAX_DIGITS
    return CallFacts(headers.get("request-id", ""), int(cost) if stated else None)


async def plain_audio(answer: SpeechResponse) -> AsyncGenerator[SpeechItem, None]:
    """Yields the body as audio. Raises ProviderError where it is none: an error under status 200, or nothing."""
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
    """Yields the audio of a stream with timestamps, and then the timings of the words as far as they are plausible.

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
