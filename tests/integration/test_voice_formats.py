"""Narrations as WAV and as Ogg Opus: right files, exact lengths, and the same bytes when they are resumed."""

import asyncio
import io
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
import soundfile  # type: ignore[import-untyped]
from google.protobuf.duration_pb2 import Duration
from support.servers import running
from support.voice_kit import STORY, NamedVoice, Told, Voice, faults, settings, sha256, voice_service
from support.voice_samples import decode
from support.voice_segments import fake_storage

from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2
from voice_service.bootstrap import build
from voice_service.narration.spoken_text import HEADING_PAUSE

MP3, WAV, OPUS = (
    common_pb2.AUDIO_FORMAT_MP3,
    common_pb2.AUDIO_FORMAT_WAV,
    common_pb2.AUDIO_FORMAT_OGG_OPUS,
)
BRIEF = STORY[:84]
LINES = "Once there was a fox. She could not sleep. 🌙 … Then the owl came, and the fox slept until the morning came."


@pytest.fixture(scope="module")
async def embedded() -> AsyncIterator[Voice]:
    """The service with the embedded voice, which hands over samples at 22.05 kHz."""
    chosen = settings(default_provider="offline", segment_words=4)
    async with running(build(chosen), settings=chosen, service="voice") as service:
        yield Voice(service)


async def _told(voice: Voice, audio_format: common_pb2.AudioFormat.ValueType, text: str = LINES, **more: Any) -> Told:
    told = await voice.tell(text, title="The Fox", voice=common_pb2.VoiceSelection(audio_format=audio_format), **more)
    assert told.error is None
    return told


def _samples(duration: Duration, sample_rate: int) -> int:
    return round(duration.ToNanoseconds() * sample_rate / 1_000_000_000)


@pytest.mark.parametrize(
    ("audio_format", "content_type", "sample_rate", "bit_rate"),
    [(MP3, "audio/mpeg", 44_100, 128_000), (WAV, "audio/wav", 44_100, 705_600), (OPUS, "audio/ogg", 48_000, 0)],
)
async def test_the_header_says_what_comes(
    embedded: Voice, audio_format: common_pb2.AudioFormat.ValueType, content_type: str, sample_rate: int, bit_rate: int
) -> None:
    """Format, media type and rates; spans tile the file, checksums are of its bytes, and the times add up."""
    told = await _told(embedded, audio_format)

    header, summary = told.header, told.summary
    assert header is not None
    assert summary is not None
    assert (audio_format, content_type, sample_rate, bit_rate) == (
        header.audio_format, header.content_type, header.sample_rate, header.bit_rate,
    )  # fmt: skip
    at = samples = 0
    for index, segment in enumerate(told.segments):
        assert at == segment.audio.start
        assert sha256(told.piece(index)) == segment.sha256
        assert samples == _samples(segment.start, sample_rate)
        at, samples = segment.audio.end, samples + _samples(segment.duration, sample_rate)
    assert len(told.audio) == at == summary.size_bytes
    assert samples == _samples(summary.duration, sample_rate)


async def test_wav_is_samples_behind_a_header_that_leaves_the_size_open(embedded: Voice) -> None:
    """As streams have it: nobody knows the length of a story that is still being written. Readers go to the end."""
    told = await _told(embedded, WAV)
    info = soundfile.info(io.BytesIO(told.audio))

    assert told.summary is not None
    assert (b"RIFF", 0xFFFFFFFF, b"WAVE", b"data", 0xFFFFFFFF) == (
        told.audio[:4], *struct.unpack("<I", told.audio[4:8]), told.audio[8:12],
        told.audio[36:40], *struct.unpack("<I", told.audio[40:44]),
    )  # fmt: skip
    assert (44_100, 1, _samples(told.summary.duration, 44_100)) == (info.samplerate, info.channels, info.frames)
    assert (len(told.audio) - 44) // 2 == info.frames


async def test_opus_is_one_stream_that_plays_without_a_word(embedded: Voice) -> None:
    """One beginning and one end, as long as it says, in ffmpeg and in libopusfile."""
    told = await _told(embedded, OPUS)
    assert told.summary is not None
    samples = _samples(told.summary.duration, 48_000)
    played, complaint = await asyncio.to_thread(decode, told.audio, "ogg")
    pages = _pages(told.audio)

    assert ("", samples) == (complaint, played)
    assert soundfile.info(io.BytesIO(told.audio)).frames == samples
    assert list(range(len(pages))) == [number for _, number, _ in pages]
    assert [2, *[0] * (len(pages) - 2), 4] == [flags for flags, _, _ in pages]
    assert samples == pages[-1][2]


def _pages(data: bytes) -> list[tuple[int, int, int]]:
    """Flags, number and last sample of each page."""
    found, at = [], 0
    while at < len(data):
        flags, granule, _, number, _, lacing = struct.unpack("<BqIIIB", data[at + 5 : at + 27])
        found.append((flags, number, granule))
        at += 27 + lacing + sum(data[at + 27 : at + 27 + lacing])
    return found


@pytest.mark.parametrize("audio_format", [WAV, OPUS])
@pytest.mark.parametrize("spoken", [0, 1, 3])
async def test_a_resumed_narration_is_the_same_file(
    embedded: Voice, audio_format: common_pb2.AudioFormat.ValueType, spoken: int
) -> None:
    """Pages and header go on behind what the caller has."""
    whole = await _told(embedded, audio_format)
    again = await embedded.tell(LINES, title="The Fox", pinned=whole.header, spoken_so_far=whole.segments[:spoken])

    begin = whole.segments[spoken].audio.start
    assert again.error is None
    assert whole.audio[begin:] == again.audio
    assert whole.segments[spoken].key == again.segments[0].key
    assert all(segment.cached for segment in again.segments)


@pytest.mark.parametrize("audio_format", [MP3, WAV, OPUS])
async def test_the_segments_of_a_stored_narration_are_the_file(
    embedded: Voice, audio_format: common_pb2.AudioFormat.ValueType
) -> None:
    """The bytes under the keys, one after the other, are what a direct caller gets, made again or found."""
    whole = await _told(embedded, audio_format)
    async with fake_storage() as (storage, address):
        chosen = settings(default_provider="offline", segment_words=4, storage_target=address)
        async with running(build(chosen), settings=chosen, service="voice") as service:
            voice = Voice(service)
            stored = await _told(voice, audio_format, delivery=voice_pb2.DELIVERY_STORED)
            found = await _told(voice, audio_format, delivery=voice_pb2.DELIVERY_STORED)
            resumed = await voice.tell(
                LINES,
                title="The Fox",
                pinned=stored.header,
                spoken_so_far=stored.segments[:2],
                delivery=voice_pb2.DELIVERY_STORED,
            )

    assert b"" == stored.audio
    assert whole.audio == b"".join(storage.rows[segment.key][1] for segment in stored.segments)
    assert [segment.sha256 for segment in whole.segments] == [segment.sha256 for segment in stored.segments]
    for segment in stored.segments:
        row, audio = storage.rows[segment.key]
        assert segment.audio.end - segment.audio.start == row.size_bytes == len(audio)
        assert segment.sha256 == row.sha256
    assert [segment.key for segment in stored.segments] == [segment.key for segment in found.segments]
    assert all(segment.cached for segment in found.segments)
    assert [segment.key for segment in stored.segments[2:]] == [segment.key for segment in resumed.segments]


@pytest.mark.parametrize("audio_format", [MP3, WAV, OPUS])
async def test_however_the_text_comes_the_file_is_the_same(
    embedded: Voice, audio_format: common_pb2.AudioFormat.ValueType
) -> None:
    """Character by character; and each format has segments of its own."""
    whole = await _told(embedded, audio_format)
    pieces = await embedded.tell(
        list(LINES), title="The Fox", voice=common_pb2.VoiceSelection(audio_format=audio_format)
    )

    assert whole.audio == pieces.audio


@pytest.mark.parametrize("audio_format", [WAV, OPUS])
async def test_mp3_of_a_provider_is_decoded(audio_format: common_pb2.AudioFormat.ValueType) -> None:
    """Verified as frames first: what is cut is asked for again before anything is decoded."""
    mock = NamedVoice("mock", faults({"kind": "truncate", "call": 2}))
    async with voice_service(mock) as voice:
        told = await _told(voice, audio_format, BRIEF)

    assert told.summary is not None
    assert len(told.attempts) == len(told.segments) + 1
    spoken = told.summary.duration.ToMilliseconds() / 1_000 - HEADING_PAUSE
    assert abs(spoken - len("The Fox." + BRIEF) / 15) < len(told.segments) * 0.2
