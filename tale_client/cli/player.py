"""Plays a narration while it arrives."""

import asyncio
import os
import tempfile
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final, Self

import click

from tale.gateway.v1 import gateway_pb2
from tale_client.aio import in_thread

SAMPLE_RATE: Final = 44_100
_PLAYED: Final = ("audio/mpeg", "audio/wav", "audio/x-wav")
_SAMPLE_BYTES: Final = 2
_AHEAD_BYTES: Final = 30 * SAMPLE_RATE * _SAMPLE_BYTES
"""Decoded sound after which decoding waits: half a minute."""
_LATENCY_SECONDS: Final = 0.3
"""Time after which the last samples that the device took are heard."""


def _miniaudio() -> Any:
    import miniaudio  # type: ignore[import-untyped] # noqa: PLC0415 - an extra

    return miniaudio


def check_player(ctx: click.Context, param: click.Parameter, given: bool) -> bool:
    """Raises UsageError where something is to be played and the library that plays is not installed."""
    del ctx, param
    try:
        return given and bool(_miniaudio())
    except ImportError:
        raise click.UsageError(
            "--play needs the library miniaudio. Install it: pip install 'tale-client[play]'"
        ) from None


def open_device() -> Any:
    """Opens the default audio device. Raises MiniaudioError."""
    device = _miniaudio().PlaybackDevice(nchannels=1, sample_rate=SAMPLE_RATE, buffersize_msec=60, app_name="tale")
    if device.backend == "Null":
        device.close()
        raise _miniaudio().MiniaudioError("this machine has no audio device")
    return device


def decode(audio: bytes) -> bytes:
    """Returns the samples of a whole MP3 or WAV file: 16-bit, mono, at SAMPLE_RATE. Raises MiniaudioError."""
    return bytes(_miniaudio().decode(audio, nchannels=1, sample_rate=SAMPLE_RATE).samples)


class Player:
    """Plays the segments of a story in their order, from the first one on, and silence while there is none.

    What arrives waits in a temporary file, so that a story which is made faster than it is heard takes no memory.
    Leaving the context stops the sound at once. `note` gets a line where nothing can be played.
    """

    def __init__(self, note: Callable[[str], None], opening: Callable[[], Any] = open_device) -> None:
        self._note = note
        self._opening = opening
        self._device: Any = None
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __aexit__
        self.size = 0
        """Bytes of the narration that have arrived to be played."""
        self._start = 0
        self._ends: deque[int] = deque()
        self._wav_header = b""
        # The device's thread takes from its front; each operation on it is one step of the interpreter.
        self._decoded = bytearray()
        self._changed = asyncio.Event()
        self._playing: asyncio.Task[None] | None = None
        self._started = self._complete = self._stopped = False

    async def __aenter__(self) -> Self:
        """Opens the device."""
        try:
            self._device = await in_thread(self._opening)
        except _miniaudio().MiniaudioError as error:
            self._note(f"No sound: {error.args[0]}.")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops the sound, whatever is left of it."""
        self._stopped = True
        self._decoded.clear()
        await self._end_playing()
        if self._device is not None:
            await in_thread(self._device.close, shielded=True)
        await in_thread(self._file.close, shielded=True)

    async def take(self, event: gateway_pb2.StoryEvent) -> None:
        """Takes what an event of a story has of its narration."""
        match event.WhichOneof("event"):
            case "audio_header":
                await self._begin(event.audio_header.content_type)
            case "audio" if self._playing is not None:
                await in_thread(os.pwrite, self._file.fileno(), event.audio.chunk, self.size)
                self.size += len(event.audio.chunk)
            case "segment":
                self._ends.append(event.segment.segment.audio.end)
            case _:
                pass
        self._changed.set()

    async def finish(self) -> None:
        """Returns when all that was taken has been heard."""
        self._ends.append(self.size)
        self._complete = True
        self._changed.set()
        if self._playing is not None:
            await self._playing

    async def _begin(self, content_type: str) -> None:
        """Begins a narration at byte 0; what is left of another one is not played."""
        await self._end_playing()
        self.size = self._start = 0
        self._ends.clear()
        self._decoded.clear()
        if content_type.partition(";")[0] not in _PLAYED:
            self._note(f"No sound: {content_type} cannot be played, --format mp3 and wav can.")
        elif self._device is not None:
            self._playing = asyncio.create_task(self._play(), name="player")

    async def _play(self) -> None:
        samples = self._samples(asyncio.get_running_loop())
        try:
            while not self._complete or self._ends or self._decoded:
                self._changed.clear()
                if not self._ends or self._ends[0] > self.size or len(self._decoded) >= _AHEAD_BYTES:
                    await self._changed.wait()
                    continue
                start, self._start = self._start, self._ends.popleft()
                self._decoded += await in_thread(self._decode, start, self._start)
                if not self._started:
                    self._started = True
                    next(samples)
                    await in_thread(self._device.start, samples)
        except _miniaudio().MiniaudioError as error:
            self._note(f"No sound: {error.args[0]}.")
        await asyncio.sleep(_LATENCY_SECONDS)

    def _samples(self, loop: asyncio.AbstractEventLoop) -> Generator[bytes, int, None]:
        """Is sent a number of samples and yields at most so many, in the device's thread, where it must never wait."""
        count = yield b""
        while not self._stopped:
            taken = bytes(self._decoded[: count * _SAMPLE_BYTES])
            if taken:
                del self._decoded[: len(taken)]
                loop.call_soon_threadsafe(self._changed.set)
            count = yield taken

    async def _end_playing(self) -> None:
        playing, self._playing = self._playing, None
        if playing is not None:
            playing.cancel()
            await asyncio.wait([playing])

    def _decode(self, start: int, end: int) -> bytes:
        audio = os.pread(self._file.fileno(), max(0, end - start), start)
        if audio.startswith(b"RIFF"):
            self._wav_header = audio[: audio.index(b"data") + 8]
        elif self._wav_header:
            # Only the first segment of a WAV begins with the header.
            audio = self._wav_header + audio
        return decode(audio) if audio else b""
