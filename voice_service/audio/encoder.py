"""PCM to the story's format: resampled by soxr, encoded by LAME or libopus.

All of them release the interpreter's lock, so threads do: two encodings in two threads take as long as one, and the
event loop is held up by less than 3 ms. LAME's quality 7 takes 0.19 s for a minute of sound, 5 takes 0.25 s and 2 takes
0.67 s; against speech of espeak-ng all three have a signal-to-noise ratio of 25.9 to 26.0 dB, so the quickest it is.
Opus takes 1.2 s for a minute.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import lameenc  # type: ignore[import-not-found]  # a bare extension module

from voice_service.audio.container import pack, packets_of, samples_of
from voice_service.audio.mp3 import walk
from voice_service.ports import MP3_44100_128, Codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from voice_service.audio.decode import Pcm
    from voice_service.ports import StoryFormat

T = TypeVar("T")
_QUALITY: Final = 7
_NICE: Final = 5


@dataclass(frozen=True, slots=True)
class Sound:
    """A segment in the story's format, as it is cached; `samples` per channel at `sample_rate` Hz."""

    data: bytes
    samples: int
    sample_rate: int

    @property
    def duration(self) -> float:
        """Seconds, exact to a frame or a sample."""
        return self.samples / self.sample_rate


def encode(pcm: Pcm, story_format: StoryFormat) -> Sound:
    """Encodes samples. Blocks.

    The same samples give the same bytes, but only with the same build of soxr, LAME and libopus on the same processor.
    So what a caller got once is read again from the segment store, and never encoded again.

    WAV is samples without a header and Opus packets without pages: `voice_service.audio.container` joins them. Each MP3
    is a stream of its own: its bit reservoir starts empty, so encoded segments may be joined end to end; LAME's delay
    puts 25 ms of silence before the sound.
    """
    samples = pcm.resampled(story_format.sample_rate).samples
    match story_format.codec:
        case Codec.MP3:
            return _mp3(samples)
        case Codec.WAV:
            return Sound(samples.tobytes(), len(samples), story_format.sample_rate)
        case Codec.OPUS:
            return _opus(samples, story_format.sample_rate)


def _mp3(samples: NDArray[Any]) -> Sound:
    target = MP3_44100_128
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_in_sample_rate(target.sample_rate)
    encoder.set_channels(target.channels)
    encoder.set_bit_rate(target.bit_rate // 1000)
    encoder.set_quality(_QUALITY)
    walked = walk(bytes(encoder.encode(samples.tobytes()) + encoder.flush()))
    return Sound(walked.data, walked.samples, walked.sample_rate)


def _opus(samples: NDArray[Any], sample_rate: int) -> Sound:
    import soundfile  # type: ignore[import-untyped] # noqa: PLC0415 - most narrations never need it

    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format="OGG", subtype="OPUS")
    packets = packets_of(file.getvalue())
    return Sound(pack(packets), samples_of(packets), sample_rate)


def _yield_to_the_loop() -> None:
    """Lowers the priority of this thread, so that calls are answered while all cores encode."""
    if sys.platform == "linux":
        # On Linux alone a thread has a priority of its own. A process with a lower one may not raise it.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(_NICE, os.getpriority(os.PRIO_PROCESS, 0)))


class AudioEncoder:
    """Encodes in at most `threads` threads; further calls wait their turn, in order."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="audio-encoder", initializer=_yield_to_the_loop)

    async def run(self, work: Callable[[], T]) -> T:
        """Returns what `work` does, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def encode(self, pcm: Pcm, story_format: StoryFormat = MP3_44100_128) -> Sound:
        """Encodes as `encode` does, off the event loop."""
        return await self.run(partial(encode, pcm, story_format))

    async def aclose(self) -> None:
        """Drops what waits and return when what runs has ended."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)
