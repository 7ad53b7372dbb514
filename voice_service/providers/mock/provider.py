"""The mock provider: silence of the right length, on a script."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import Counter, deque
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.audio.lengths import duration_bounds
from voice_service.audio.words import word_spans
from voice_service.ports import (
    MP3_44100_128,
    AudioChunk,
    NativeFormat,
    ProviderMetadata,
    Timings,
    VoiceInfo,
    WordTiming,
)
from voice_service.providers.mock.script import MockScript, StreamFault

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from voice_service.ports import SegmentRequest, SpeechItem
    from voice_service.providers.mock.script import MockFault


_FRAMES: Final = 49
_BLOCK_BYTES: Final = 20_480
_SAMPLES: Final = 1152
_SAMPLE_RATE: Final = 44_100
_FRAME_STARTS: Final = tuple(frame * _BLOCK_BYTES // _FRAMES for frame in range(_FRAMES + 1))
_HEADER: Final = bytes.fromhex("fffb90c4")
_HEADER_PADDED: Final = bytes.fromhex("fffb92c4")
# No main data in either granule; a gain that is not zero, so that the frame does not pass for an encoder's info frame.
_SIDE_INFORMATION: Final = bytes.fromhex("0000000001a40000000000000000000000")
_PREFIX_BYTES: Final = len(_HEADER) + len(_SIDE_INFORMATION)
_STAMP_BYTES: Final = 64
# Filler without 0xFF can never be taken for the start of a frame.
_NO_SYNC: Final = bytes(range(0xFF)) + b"\x7f"


def frames_for(seconds: float) -> int:
    """Returns how many frames hold `seconds` of sound, one at least."""
    return max(1, -(-round(seconds * _SAMPLE_RATE) // _SAMPLES))


def silent_mp3(seed: bytes, frames: int) -> bytes:
    """Makes `frames` silent frames of MPEG-1 Layer III, 44.1 kHz, mono, 128 kbit/s, which differ for every `seed`.

    Each run of 49 frames carries its own number, so runs that are lost, repeated or swapped show in the bytes.
    """
    return b"".join(silent_runs(seed, frames))


def silent_runs(seed: bytes, frames: int) -> Iterator[bytes]:
    """Makes the same run by run, so that all of it is never in memory."""
    filler = hashlib.shake_128(seed).digest(_BLOCK_BYTES).translate(_NO_SYNC)
    block = b"".join(_frame(filler, start, end) for start, end in pairwise(_FRAME_STARTS))
    rest = block[_PREFIX_BYTES + _STAMP_BYTES :]
    prefix = block[:_PREFIX_BYTES]
    whole, over = divmod(frames, _FRAMES)
    for number in range(whole + (over > 0)):
        stamp = hashlib.sha256(seed + number.to_bytes(4, "big")).hexdigest().encode()
        run = b"".join((prefix, stamp, rest))
        yield run if number < whole else run[: _FRAME_STARTS[over]]


def _frame(filler: bytes, start: int, end: int) -> bytes:
    padded = end - start > _FRAME_STARTS[1]
    return (_HEADER_PADDED if padded else _HEADER) + _SIDE_INFORMATION + filler[start + _PREFIX_BYTES : end]


_KEPT_REQUESTS: Final = 10_000


class MockJournal:
    """Counts every call, and stores the last 10,000 requests.

    `calls` were started, `finished` ended whole; `characters` are code points of all that were started; `probes` are
    the probes.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.finished = 0
        self.probes = 0
        self.characters = 0
        self.requests: deque[SegmentRequest] = deque(maxlen=_KEPT_REQUESTS)

    def begin(self, request: SegmentRequest) -> int:
        """Notes a call and return its number, the first being 1."""
        self.calls += 1
        self.characters += len(request.text)
        self.requests.append(request)
        return self.calls


NAME: Final = "mock"
_CHARACTERS_PER_SECOND: Final = 15
_TIMES_THE_LEAST: Final = 1.5
_SHORTEST_SECONDS: Final = 0.2
_BYTES_PER_SECOND: Final = MP3_44100_128.bit_rate / 8
_FRAME_BYTES: Final = 417
_GARBAGE: Final = b"<html>502 Bad Gateway</html>"


class MockVoiceProvider:
    """Speaks any text of up to 5,000 characters as silent MP3, 15 characters a second, or fewer in Chinese and such.

    The same text, voice, model and settings give the same bytes; anything else gives others.
    """

    def __init__(self, script: MockScript | None = None) -> None:
        self._script = MockScript() if script is None else script
        self._strikes: Counter[int] = Counter()
        self.journal = MockJournal()
        self._metadata = ProviderMetadata(
            name=NAME,
            display_name="Mock voice (silence)",
            supports_streaming=True,
            native_format=NativeFormat.MP3_44100_128,
            sample_rate=MP3_44100_128.sample_rate,
            max_text_length=5_000,
            languages=self._script.languages,
            paid=self._script.paid,
            takes_previous_text=False,
            default_voice="mock",
            default_model="mock-1",
        )

    @property
    def metadata(self) -> ProviderMetadata:
        """What this provider is."""
        return self._metadata

    @property
    def is_set(self) -> bool:
        """Whether the script does not have `configured: false`."""
        return self._script.configured

    async def validate_configuration(self) -> str:
        """Returns "" unless the script has `configured: false`."""
        return "" if self._script.configured else "set `configured` to true in VOICE_MOCK_SCRIPT"

    async def probe(self) -> None:
        """Be well, unless the script has a `probe_fault`. Raises ProviderError."""
        self.journal.probes += 1
        if self._script.probe_fault is not None:
            raise ProviderError(self._script.probe_fault, "scripted fault", provider=NAME)

    async def list_voices(self, language_code: str | None = None) -> Sequence[VoiceInfo]:
        """Lists the one voice, for the languages that the script names."""
        languages = self._script.languages
        if language_code is not None and language_code.split("-")[0] not in {code.split("-")[0] for code in languages}:
            return ()
        return (VoiceInfo(voice_id="mock", display_name="Mock", language_codes=languages, description="Silence"),)

    async def knows_voice(self, voice_id: str, language_code: str) -> bool:
        """Knows the one voice, for every language."""
        del language_code
        return voice_id == self._metadata.default_voice

    async def aclose(self) -> None:
        """Nothing is held."""

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        """Yields the silence for `request`, or the fault that the script has for this call.

        Raises ProviderError: INVALID_INPUT on an empty or overlong text, AUTH where the script says
        `configured: false`, and what the script says.
        """
        call = self.journal.begin(request)
        self._check(request)
        fault = self._strike(request, call)
        if self._script.first_byte_seconds:
            await asyncio.sleep(self._script.first_byte_seconds)
        if fault is not None and isinstance(fault.kind, ProviderErrorKind):
            raise ProviderError(fault.kind, "scripted fault", provider=NAME, retry_after=fault.retry_after)
        least = duration_bounds(request.text, None, request.language_code).shortest
        seconds = max(len(request.text) / _CHARACTERS_PER_SECOND, _TIMES_THE_LEAST * least)
        frames = frames_for(max(_SHORTEST_SECONDS, seconds / (request.settings.speed or 1.0)))
        runs = silent_runs(_seed(request, self._metadata), frames)
        if fault is not None:
            runs = iter((_spoil(b"".join(runs), fault),))
        async for chunk in self._paced(runs):
            yield chunk
        if fault is not None and fault.kind is StreamFault.STALL:
            await asyncio.Event().wait()
        if fault is not None and fault.kind is StreamFault.CUT:
            raise ProviderError(
                ProviderErrorKind.TRANSPORT, "scripted cut", provider=NAME, retry_after=fault.retry_after
            )
        if request.with_timings:
            yield Timings(_even_timings(request.text, frames * 1152 / MP3_44100_128.sample_rate))
        if fault is None:
            self.journal.finished += 1

    def _check(self, request: SegmentRequest) -> None:
        if not self._script.configured:
            raise ProviderError(ProviderErrorKind.AUTH, "the provider is not set up", provider=NAME)
        if not request.text.strip():
            raise ProviderError(ProviderErrorKind.INVALID_INPUT, "the text is empty", provider=NAME)
        if len(request.text) > self._metadata.max_text_length:
            message = f"the text is longer than {self._metadata.max_text_length} characters"
            raise ProviderError(ProviderErrorKind.INVALID_INPUT, message, provider=NAME)

    def _strike(self, request: SegmentRequest, call: int) -> MockFault | None:
        for index, fault in enumerate(self._script.faults):
            if fault.times is not None and self._strikes[index] >= fault.times:
                continue
            if (
                (fault.match is None or fault.match in request.text)
                and (fault.pattern is None or re.search(fault.pattern, request.text))
                and (fault.call is None or call >= fault.call)
            ):
                self._strikes[index] += 1
                return fault
        return None

    async def _paced(self, runs: Iterator[bytes]) -> AsyncGenerator[AudioChunk, None]:
        """Cuts the sound into chunks, each given when a voice of the scripted speed would have it done."""
        loop = asyncio.get_running_loop()
        started, given = loop.time(), 0
        for chunk in _chunked(runs, self._script.chunk_bytes):
            given += len(chunk)
            if self._script.realtime_factor:
                spoken = given / _BYTES_PER_SECOND
                await asyncio.sleep(started + spoken / self._script.realtime_factor - loop.time())
            yield AudioChunk(chunk)


def _seed(request: SegmentRequest, metadata: ProviderMetadata) -> bytes:
    voice = request.voice_id or metadata.default_voice
    model = request.model_id or metadata.default_model
    asked = json.dumps([request.text, voice, model, asdict(request.settings)], sort_keys=True)
    return hashlib.sha256(asked.encode()).digest()


def _chunked(runs: Iterator[bytes], size: int) -> Iterator[bytes]:
    rest = b""
    for run in runs:
        rest += run
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    if rest:
        yield rest


def _spoil(whole: bytes, fault: MockFault) -> bytes:
    at = min(int(len(whole) * fault.at), len(whole) - 1)
    between_frames = at * 49 // 20_480 * 20_480 // 49
    if fault.kind is StreamFault.TRUNCATE:
        return whole[: between_frames + _FRAME_BYTES // 2]
    if fault.kind is StreamFault.SHORT:
        return whole[:between_frames]
    if fault.kind is StreamFault.GARBAGE:
        return whole[:between_frames] + _GARBAGE + whole[between_frames:]
    return whole[:at]


def _even_timings(text: str, seconds: float) -> tuple[WordTiming, ...]:
    pace = seconds / len(text)
    return tuple(WordTiming(start, end, start * pace, end * pace) for start, end in word_spans(text))
