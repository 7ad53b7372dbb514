"""The player of `tale tell --play`: which samples a device is given, in which order."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Generator
from functools import partial

import click
import lameenc  # type: ignore[import-not-found]
import miniaudio  # type: ignore[import-untyped]
import numpy as np
import pytest

from standins.virtual_time import run_virtually
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale_client.cli import player as module
from tale_client.cli.player import SAMPLE_RATE, Player, check_player, decode, open_device

PERIOD = 0.06
COUNT = round(PERIOD * SAMPLE_RATE)
WAV_HEADER = (
    b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0"
    + SAMPLE_RATE.to_bytes(4, "little")
    + (2 * SAMPLE_RATE).to_bytes(4, "little")
    + b"\x02\0\x10\0data\xff\xff\xff\xff"
)


class ScriptedDevice:
    """Takes a period of samples every 60 ms of the loop's time."""

    def __init__(self) -> None:
        self.played: list[bytes] = []
        """What it was given, period by period."""
        self.closed = False
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    @property
    def sound(self) -> bytes:
        return b"".join(self.played)

    def start(self, samples: Generator[bytes, int, None]) -> None:
        def begin() -> None:
            self._task = self._loop.create_task(self._take(samples))

        self._loop.call_soon_threadsafe(begin)

    def close(self) -> None:
        self.closed = True

    async def _take(self, samples: Generator[bytes, int, None]) -> None:
        while not self.closed:
            try:
                self.played.append(samples.send(COUNT))
            except StopIteration:
                return
            await asyncio.sleep(PERIOD)


def tone(seconds: float, pitch: float) -> bytes:
    """Returns samples, no period of which is all silence."""
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return bytes((np.sin(2 * np.pi * pitch * times) * 8_000).astype("<i2").tobytes())


def mp3(samples: bytes) -> bytes:
    encoder = lameenc.Encoder()
    encoder.set_channels(1)
    encoder.set_bit_rate(128)
    encoder.set_in_sample_rate(SAMPLE_RATE)
    encoder.silence()
    return bytes(encoder.encode(samples)) + bytes(encoder.flush())


async def begin(player: Player, content_type: str) -> None:
    await player.take(gateway_pb2.StoryEvent(audio_header=common_pb2.NarrationHeader(content_type=content_type)))


async def add(player: Player, chunk: bytes) -> None:
    await player.take(gateway_pb2.StoryEvent(audio=gateway_pb2.AudioEvent(chunk=chunk)))


async def add_segment(player: Player, end: int) -> None:
    segment = common_pb2.Segment(audio=common_pb2.Span(end=end))
    await player.take(gateway_pb2.StoryEvent(segment=gateway_pb2.SegmentEvent(segment=segment)))


SEGMENTS = [mp3(tone(seconds, pitch)) for seconds, pitch in ((0.5, 300), (2.0, 400), (1.0, 500))]


def playing(
    scene: Callable[[Player, ScriptedDevice], Awaitable[None]],
) -> tuple[ScriptedDevice, list[str]]:
    """Plays a scene in virtual time; returns the device and the notes."""

    async def run() -> tuple[ScriptedDevice, list[str]]:
        notes: list[str] = []
        device = ScriptedDevice()
        async with Player(notes.append, lambda: device) as player:
            await scene(player, device)
        return device, notes

    return run_virtually(run())


def test_all_segments_are_played_in_order_without_a_gap() -> None:
    """They come at once, in chunks that know nothing of segments."""
    story = b"".join(SEGMENTS)

    async def scene(player: Player, _: ScriptedDevice) -> None:
        await begin(player, "audio/mpeg")
        end = 0
        for segment in SEGMENTS:
            end += len(segment)
            await add_segment(player, end)
        for start in range(0, len(story), 1000):
            await add(player, story[start : start + 1000])
        await player.finish()

    device, notes = playing(scene)

    assert b"".join(map(decode, SEGMENTS)) == device.sound
    full = [piece for piece in device.played if len(piece) == 2 * COUNT]
    assert full == device.played[: len(full)]
    assert [] == notes
    assert device.closed


def test_first_segment_is_heard_before_the_second_is_there_and_a_pause_is_silence() -> None:
    """A slow writer costs a pause between segments, at whose end the sound continues where it stopped."""
    first, second = decode(SEGMENTS[0]), decode(SEGMENTS[1])
    heard: list[bytes] = []

    async def scene(player: Player, device: ScriptedDevice) -> None:
        await begin(player, "audio/mpeg; rate=44100")
        await add(player, SEGMENTS[0])
        await add_segment(player, len(SEGMENTS[0]))
        await asyncio.sleep(5)
        heard.append(device.sound)
        await add(player, SEGMENTS[1])
        await add_segment(player, len(SEGMENTS[0]) + len(SEGMENTS[1]))
        await player.finish()

    device, _ = playing(scene)

    assert [first] == heard
    assert first + second == device.sound
    silent = [number for number, piece in enumerate(device.played) if not piece]
    assert 60 < len([number for number in silent if number < 83])


def test_part_of_a_segment_is_not_played_until_it_is_whole() -> None:
    """A pause never falls into a word."""

    async def scene(player: Player, device: ScriptedDevice) -> None:
        await begin(player, "audio/mpeg")
        await add_segment(player, len(SEGMENTS[1]))
        await add(player, SEGMENTS[1][:-1])
        await asyncio.sleep(5)
        assert b"" == device.sound
        await add(player, SEGMENTS[1][-1:])
        await player.finish()

    device, _ = playing(scene)

    assert decode(SEGMENTS[1]) == device.sound


def test_wav_is_played_sample_for_sample() -> None:
    """Its header stands before the first segment alone, and leaves the size open."""
    pieces = [tone(0.7, 300), tone(1.3, 400)]

    async def scene(player: Player, _: ScriptedDevice) -> None:
        await begin(player, "audio/wav")
        await add(player, WAV_HEADER + pieces[0] + pieces[1])
        await add_segment(player, len(WAV_HEADER) + len(pieces[0]))
        await add_segment(player, len(WAV_HEADER) + len(pieces[0]) + len(pieces[1]))
        await player.finish()

    device, _ = playing(scene)

    assert b"".join(pieces) == device.sound


def test_audio_without_segments_is_played_at_its_end() -> None:
    """A story that was imported has none."""

    async def scene(player: Player, _: ScriptedDevice) -> None:
        await begin(player, "audio/mpeg")
        await add(player, SEGMENTS[0])
        await player.finish()

    assert decode(SEGMENTS[0]) == playing(scene)[0].sound


def test_new_narration_replaces_what_was_not_heard() -> None:
    """Its bytes begin at 0 again."""

    async def scene(player: Player, device: ScriptedDevice) -> None:
        await begin(player, "audio/mpeg")
        await add(player, SEGMENTS[1])
        await add_segment(player, len(SEGMENTS[1]))
        await asyncio.sleep(0.5)
        before = len(device.sound)
        assert 0 < before < len(decode(SEGMENTS[1]))
        await begin(player, "audio/mpeg")
        await add(player, SEGMENTS[2])
        await player.finish()
        assert decode(SEGMENTS[2]) == device.sound[before:]

    playing(scene)


def test_leaving_stops_the_sound_at_once() -> None:
    """As Ctrl-C does: nothing that was decoded is given to the device any more."""

    async def scene(player: Player, device: ScriptedDevice) -> None:
        await begin(player, "audio/mpeg")
        await add(player, SEGMENTS[1])
        await add_segment(player, len(SEGMENTS[1]))
        await asyncio.sleep(0.5)
        assert device.sound

    device, _ = playing(scene)

    assert device.closed
    assert len(device.sound) < len(decode(SEGMENTS[1])) / 2


def test_little_is_decoded_ahead() -> None:
    """Ten minutes that arrive at once take no more memory than half a minute and a segment."""
    most = 0

    async def scene(player: Player, _: ScriptedDevice) -> None:
        nonlocal most
        await begin(player, "audio/mpeg")
        for number in range(1, 301):
            await add(player, SEGMENTS[1])
            await add_segment(player, number * len(SEGMENTS[1]))
        finishing = asyncio.create_task(player.finish())
        while not finishing.done():
            most = max(most, len(player._decoded))
            await asyncio.sleep(1)

    device, _ = playing(scene)

    assert 300 * decode(SEGMENTS[1]) == device.sound
    assert most < 33 * 2 * SAMPLE_RATE


def test_without_a_device_a_note_says_so_and_nothing_else_happens() -> None:
    """The story goes on."""

    async def run() -> list[str]:
        def opening() -> ScriptedDevice:
            raise miniaudio.MiniaudioError("failed to init device", -2)

        notes: list[str] = []
        async with Player(notes.append, opening) as player:
            await begin(player, "audio/mpeg")
            await add(player, SEGMENTS[0])
            await add_segment(player, len(SEGMENTS[0]))
            await player.finish()
        return notes

    assert ["No sound: failed to init device."] == run_virtually(run())


@pytest.mark.parametrize(
    ("content_type", "audio", "note"),
    [
        ("audio/ogg", b"OggS", "No sound: audio/ogg cannot be played, --format mp3 and wav can."),
        ("audio/mpeg", b"<html>", "No sound: failed to decode data."),
    ],
)
def test_what_cannot_be_played_is_noted(content_type: str, audio: bytes, note: str) -> None:
    """Once, and the sound is not waited for."""

    async def scene(player: Player, _: ScriptedDevice) -> None:
        await begin(player, content_type)
        await add(player, audio)
        await player.finish()

    device, notes = playing(scene)

    assert b"" == device.sound
    assert [note] == notes


def test_device_of_the_library_takes_all_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """On its backend that is heard nowhere, in real time."""
    monkeypatch.setattr(module, "_LATENCY_SECONDS", 0.0)
    device = miniaudio.PlaybackDevice(nchannels=1, sample_rate=SAMPLE_RATE, backends=[miniaudio.Backend.NULL])

    async def run() -> int:
        async with asyncio.timeout(20), Player(pytest.fail, lambda: device) as player:
            await begin(player, "audio/mpeg")
            await add(player, SEGMENTS[0])
            await player.finish()
            return len(player._decoded)

    assert 0 == asyncio.run(run())
    assert not device.running


def test_backend_that_is_heard_nowhere_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library takes it where there is no sound system."""
    null = partial(miniaudio.PlaybackDevice, backends=[miniaudio.Backend.NULL])
    monkeypatch.setattr(miniaudio, "PlaybackDevice", null)

    with pytest.raises(miniaudio.MiniaudioError, match="no audio device"):
        open_device()


def test_missing_library_is_refused_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a story is requested."""
    monkeypatch.setitem(sys.modules, "miniaudio", None)

    with pytest.raises(click.UsageError, match=r"pip install 'tale-client\[play\]'"):
        click.Option(["--play"], is_flag=True, callback=check_player).handle_parse_result(
            click.Context(click.Command("tell")), {"play": True}, []
        )
