"""Gathers what a provider sends for one segment, on three timers."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.ports import AudioChunk, CallFacts

if TYPE_CHECKING:
    from collections.abc import Callable

    from voice_service.ports import SegmentRequest, VoiceProvider, WordTiming

MAX_BYTES: Final = 64 * 1024 * 1024
"""Most bytes of one segment; 600 characters take a minute, which are 5 MiB of 44.1 kHz PCM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """Seconds until the first byte, between two items, and in all."""

    first_byte: float = 30.0
    idle: float = 30.0
    total: float = 30.0


@dataclass(frozen=True, slots=True)
class Collected:
    """All audio bytes of a segment, and its word timings where there are any."""

    audio: bytes
    words: tuple[WordTiming, ...]


async def collect(
    provider: VoiceProvider,
    request: SegmentRequest,
    timers: Timers,
    *,
    on_facts: Callable[[CallFacts], None],
    on_first_byte: Callable[[], None],
) -> Collected:
    """Return the segment. What the provider says of its call goes to `on_facts`, also where it fails later.

    Raises ProviderError; TIMEOUT where a timer ran out.
    """
    name = provider.metadata.name
    loop = asyncio.get_running_loop()
    end = loop.time() + timers.total
    audio = bytearray()
    words: tuple[WordTiming, ...] = ()
    async with aclosing(provider.synthesize(request)) as items:
        while True:
            allowed = timers.idle if audio else timers.first_byte
            try:
                async with asyncio.timeout_at(min(end, loop.time() + allowed)):
                    item = await anext(items, None)
            except TimeoutError:
                raise ProviderError(
                    ProviderErrorKind.TIMEOUT, _late(audio, over=loop.time() >= end), provider=name
                ) from None
            match item:
                case None:
                    return Collected(bytes(audio), words)
                case AudioChunk(data):
                    if data and not audio:
                        on_first_byte()
                    audio += data
                case CallFacts():
                    on_facts(item)
                case _:
                    words = item.words
            if len(audio) > MAX_BYTES:
                raise ProviderError(ProviderErrorKind.TRUNCATED, "the audio does not end", provider=name)


def _late(audio: bytearray, *, over: bool) -> str:
    if over:
        return "the segment was not done in time"
    return "no more audio came in time" if audio else "no audio came in time"
