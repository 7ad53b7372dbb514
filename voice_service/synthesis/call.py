"""One call to a provider: what is ordered, and what it sends within its timeouts."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.ports import MP3_44100_128, AudioChunk, CallFacts, NativeFormat
from voice_service.synthesis.budget import Tries

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from tale.common.v1.common_pb2 import Attempt
    from voice_service.ports import SegmentRequest, StoryFormat, VoiceProvider, WordTiming


CHARACTERS_PER_SECOND: Final = 13
"""Of a voice at its own pace; espeak-ng and most others read 13 to 16."""
_UNIT: Final = 64 * 1024
"""Bytes that are counted as one."""


class AudioBudget:
    """Bounds the bytes of audio of all segments in progress to about `most`, served in the order of asking."""

    def __init__(self, most: int) -> None:
        self._units = max(1, most // _UNIT)
        self._free = asyncio.Semaphore(self._units)
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def take(self, size: float) -> AsyncGenerator[None, None]:
        """Waits until there is room for `size` bytes, or for all where that is less, and holds it within the block."""
        wanted, taken = min(self._units, int(size / _UNIT) + 1), 0
        try:
            async with self._turn:
                while taken < wanted:
                    await self._free.acquire()
                    taken += 1
            yield
        finally:
            for _ in range(taken):
                self._free.release()


MAX_BYTES: Final = 64 * 1024 * 1024
"""Most bytes of one segment; 600 characters take a minute, which are 5 MiB of 44.1 kHz PCM."""

_SLACK: Final = 0.05
"""Share of the idle time by which a pause may be noticed too soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One segment to be made by a provider; `deadline` in seconds of the loop's clock, None for none.

    `number` is the turn of the narration: places at a provider are given to the lowest first. `segment_index` is for
    the record of its calls, of which `tries` says how many may be made; `begun` gets the record of one that is billed,
    when it is sent. `first`: of its narration no call was answered before.
    """

    provider: VoiceProvider
    request: SegmentRequest
    story_format: StoryFormat
    deadline: float | None = None
    number: int = 0
    segment_index: int = 0
    first: bool = False
    tries: Tries = field(default_factory=Tries)
    begun: Callable[[Attempt], None] = lambda _: None

    @property
    def estimated_bytes(self) -> float:
        """About how many bytes the provider sends."""
        metadata, speed = self.provider.metadata, max(self.request.settings.speed or 1.0, 0.5)
        pcm = metadata.native_format is NativeFormat.PCM_S16LE
        bytes_per_second = 2 * metadata.sample_rate if pcm else MP3_44100_128.bytes_per_second
        return len(self.request.text) / (CHARACTERS_PER_SECOND * speed) * bytes_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """Seconds until the first byte, between two items, and in all."""

    first_byte: float = 30.0
    idle: float = 30.0
    total: float = 30.0


_LAST_CALLS: Final = 8
_LEAST_CHARACTERS: Final = 100
"""Of a shorter text the time says little about a longer one."""
_LONGEST_SEGMENT: Final = 600
_LONGEST_SECONDS: Final = 600.0
_COLD_SECONDS: Final = 60.0
"""Time without an answer after which a model may have to be loaded again."""


class Pace:
    """How long a call may take to a server that may queue its calls: by the text, and by what the last calls took.

    `warm` are the seconds that each call has, `cold` those of one without an answer within the minute before it. To
    these is added twice what the text takes, and the longest ones that may be before it in the server's queue, at the
    slowest pace that was seen lately. `first_byte` and `total` are used in place of that where they are set.
    """

    def __init__(
        self, *, warm: float, cold: float, first_byte: float | None = None, total: float | None = None
    ) -> None:
        self._warm, self._cold = warm, cold
        self._first_byte, self._total = first_byte, total
        self._paces: deque[float] = deque(maxlen=_LAST_CALLS)
        self._answered_at = float("-inf")

    def timers(self, characters: int, calls_at_once: int, now: float) -> Timers:
        """Returns the timeouts of a call that is sent `now`."""
        usual = self._cold if now - self._answered_at > _COLD_SECONDS else self._warm
        queued = characters + _LONGEST_SEGMENT * (calls_at_once - 1)
        allowed = min(_LONGEST_SECONDS, usual + 2 * max(self._paces, default=0.0) * queued)
        return Timers(first_byte=self._first_byte or allowed, idle=allowed, total=self._total or allowed)

    def took(self, characters: int, seconds: float, *, answered_at: float | None = None) -> None:
        """Notes a call that was answered, or was given up as too late."""
        self._paces.append(seconds / max(characters, _LEAST_CHARACTERS))
        self._answered_at = self._answered_at if answered_at is None else answered_at


@dataclass(frozen=True, slots=True)
class Collected:
    """All audio bytes of a segment, its word timings where there are any, and what was said of the bytes."""

    audio: bytes
    words: tuple[WordTiming, ...]
    content_type: str
    levelled: bool


async def collect(
    order: Order,
    timers: Timers,
    *,
    on_facts: Callable[[CallFacts], None],
    on_first_byte: Callable[[], None],
    on_pause: Callable[[float], None] = lambda _: None,
) -> Collected:
    """Returns the segment. What the provider says of its call goes to `on_facts`, also where it fails later.

    `on_pause` gets the seconds of the longest pause of an answer, with the one in which it was given up.

    Raises ProviderError; TIMEOUT where a timer ran out.
    """
    name = order.provider.metadata.name
    clock = asyncio.get_running_loop().time
    end = clock() + timers.total
    # Its value is the bytes that were written, not a copy of them.
    audio = BytesIO()
    begun = False
    heard_at = longest = 0.0
    words: tuple[WordTiming, ...] = ()
    content_type, levelled = "", False
    renew_at = float("-inf")
    try:
        async with (
            asyncio.timeout_at(min(end, clock() + timers.first_byte)) as limit,
            aclosing(order.provider.synthesize(order.request)) as items,
        ):
            async for item in items:
                match item:
                    case AudioChunk(data):
                        now = clock()
                        if not begun:
                            begun, heard_at = True, now
                            on_first_byte()
                        longest, heard_at = max(longest, now - heard_at), now
                        audio.write(data)
                        # Reset only now and then: chunks arrive by the hundred, and timers cost more than they do.
                        if now >= renew_at:
                            limit.reschedule(min(end, now + timers.idle))
                            renew_at = now + timers.idle * _SLACK
                    case CallFacts():
                        content_type, levelled = item.content_type or content_type, item.levelled or levelled
                        on_facts(item)
                    case _:
                        words = item.words
                if audio.tell() > MAX_BYTES:
                    raise ProviderError(ProviderErrorKind.TRUNCATED, "the audio does not end", provider=name)
    except TimeoutError:
        raise ProviderError(ProviderErrorKind.TIMEOUT, _late(begun=begun, over=clock() >= end), provider=name) from None
    finally:
        if begun:
            on_pause(max(longest, clock() - heard_at))
    return Collected(audio.getvalue(), words, content_type, levelled)


def _late(*, begun: bool, over: bool) -> str:
    if over:
        return "the segment was not done in time"
    return "no more audio came in time" if begun else "no audio came in time"
