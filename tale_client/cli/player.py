"""Plays a narration while it arrives."""

import asyncio
import os
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, Self

import click

from tale_client.aio import in_thread

INSTALL: Final = "pip install 'tale-client[play]'"
_PLAYED: Final = ("audio/mpeg", "audio/wav", "audio/x-wav")
SAMPLE_RATE: Final = 44_100
_SAMPLE_BYTES: Final = 2
_AHEAD_BYTES: Final = 30 * SAMPLE_RATE * _SAMPLE_BYTES
"""Decoded sound after which decoding waits: half a minute."""
_PERIOD_MILLISECONDS: Final = 60
_LATENCY_SECONDS: Final = 0.3
"""Time after which the last samples that the device took are heard."""

Samples = Generator[bytes, int, None]
"""Is sent a number of samples, and yields at most so many, 16-bit and mono."""


class Device(Protocol):
    """An audio device. A thread of its own takes samples from what it was started with."""

    def start(self, samples: Samples) -> None:
        """Begins to play."""

    def close(self) -> None:
        """Stops; no sample is taken any more."""


class NoSoundError(Exception):
    """Nothing can be played; the message says why."""


def check_player(audio_format: str | None = None, *, no_narrate: bool = False) -> None:
    """Raises UsageError unless the library that plays is installed, and what is requested can be played."""
    if no_narrate:
        raise click.UsageError("--play needs a narration. Leave --no-narrate out.")
    if audio_format == "ogg":
        raise click.UsageError("--play plays mp3 and wav. Use --format mp3, or leave --play out.")
    try:
        import miniaudio  # type: ignore[import-untyped] # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise click.UsageError(f"--play needs the library miniaudio. Install it: {INSTALL}") from None


def open_device() -> Device:
    """Opens the default audio device. Raises NoSoundError."""
    import miniaudio  # noqa: PLC0415 - an extra

    with _typed("the audio device cannot be opened"):
        device = miniaudio.PlaybackDevice(
            nchannels=1, sample_rate=SAMPLE_RATE, buffersize_msec=_PERIOD_MILLISECONDS, app_name="tale"
        )
    if device.backend == "Null":
        device.close()
        raise NoSoundError("this machine has no audio device that can be used")
    opened: Device = device
    return opened


def decode(audio: bytes) -> bytes:
    """Returns the samples of a whole MP3 or WAV file: 16-bit, mono, at SAMPLE_RATE. Raises NoSoundError."""
    import miniaudio  # noqa: PLC0415 - an extra

    with _typed("the audio cannot be decoded"):
        return bytes(miniaudio.decode(audio, nchannels=1, sample_rate=SAMPLE_RATE).samples)


@contextmanager
def _typed(what: str) -> Iterator[None]:
    import miniaudio  # noqa: PLC0415 - an extra

    try:
        yield
    except miniaudio.MiniaudioError as error:
        raise NoSoundError(what) from error


class Player:
    """Plays segments in their order, from the first one on, and silence while there is none.

    What arrives waits in a temporary file, so that a story which is made faster than it is heard takes no memory.
    Leaving the context stops the sound at once. `note` gets a line where nothing can be played.
    """

    def __init__(self, note: Callable[[str], None], opening: Callable[[], Device] = open_device) -> None:
        self._note = note
        self._opening = opening
        self._device: Device | None = None
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __aexit__
        self._size = self._start = 0
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
        except NoSoundError as error:
            self._report(error)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops the sound, whatever is left of it."""
        self._stopped = True
        self._decoded.clear()
        await self._end_playing()
        if self._device is not None:
            await in_thread(self._device.close, shielded=True)
        await in_thread(self._file.close, shielded=True)

    async def begin(self, content_type: str) -> None:
        """Begins a narration at byte 0; what is left of another one is not played."""
        await self._end_playing()
        await in_thread(self._file.truncate, 0)
        self._size = self._start = 0
        self._ends.clear()
        self._decoded.clear()
        if content_type.partition(";")[0] not in _PLAYED:
            self._report(NoSoundError(f"{content_type or 'the format'} cannot be played, --format mp3 and wav can"))
        elif self._device is not None:
            self._playing = asyncio.create_task(self._play_reported(self._device), name="player")

    async def add(self, chunk: bytes) -> None:
        """Adds bytes of the narration."""
        if self._playing is not None:
            await in_thread(os.pwrite, self._file.fileno(), chunk, self._size)
            self._size += len(chunk)
            self._changed.set()

    def add_segment(self, end: int) -> None:
        """Notes that a segment ends at byte `end`, which may arrive later."""
        self._ends.append(end)
        self._changed.set()

    async def finish(self) -> None:
        """Returns when all that was added has been heard."""
        self.add_segment(self._size)
        self._complete = True
        if self._playing is not None:
            await self._playing

    async def _play_reported(self, device: Device) -> None:
        try:
            await self._play(device)
        except NoSoundError as error:
            self._report(error)

    def _report(self, error: NoSoundError) -> None:
        self._note(f"No sound: {error}.")

    async def _play(self, device: Device) -> None:
        samples = self._samples(asyncio.get_running_loop())
        while not self._complete or self._ends or self._decoded:
            self._changed.clear()
            if self._ends and self._ends[0] <= self._size and len(self._decoded) < _AHEAD_BYTES:
                start, self._start = self._start, self._ends.popleft()
                self._decoded += await in_thread(self._decode, start, self._start)
                if not self._started:
                    self._started = True
                    next(samples)
                    with _typed("the audio device does not start"):
                        await in_thread(device.start, samples)
            else:
                await self._changed.wait()
        await asyncio.sleep(_LATENCY_SECONDS)

    def _samples(self, loop: asyncio.AbstractEventLoop) -> Samples:
        """Runs in the device's thread, where it must never wait."""
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
