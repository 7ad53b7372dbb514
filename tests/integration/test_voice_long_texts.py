"""Half an hour of text, and many stories at a time."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.servers import running
from support.voice_kit import STORY, NamedVoice, Voice, settings, voice_service

from tale.voice.v1 import voice_pb2
from voice_service.bootstrap import build
from voice_service.synthesis.store import MemorySegments

HALF_AN_HOUR = 30_000
"""Characters that sound for half an hour."""


async def _size(voice: Voice, text: str) -> tuple[int, voice_pb2.SpeechSummary]:
    """Bytes that came, none of them kept, and the summary."""

    async def requests() -> AsyncIterator[voice_pb2.SynthesizeSpeechRequest]:
        yield voice_pb2.SynthesizeSpeechRequest(config=voice_pb2.SpeechConfig(language_code="en", word_timings=True))
        for begin in range(0, len(text), 500):
            yield voice_pb2.SynthesizeSpeechRequest(text=voice_pb2.TextPiece(text=text[begin : begin + 500]))

    size = 0
    summary = voice_pb2.SpeechSummary()
    async for response in voice.stub.SynthesizeSpeech(requests(), timeout=110):
        size += len(response.chunk.data)
        if response.HasField("summary"):
            summary = response.summary
    return size, summary


def _text(characters: int) -> str:
    return "".join(f"Night {number}. {STORY}" for number in range(characters // len(STORY) + 1))[:characters]


async def test_memory_does_not_grow_with_the_text() -> None:
    """Half an hour takes as much as three minutes, though it is ten times the audio."""
    peaks = []
    async with voice_service(NamedVoice("mock"), store=MemorySegments(0)) as voice:
        await _size(voice, _text(1_000))
        for characters in (HALF_AN_HOUR // 10, HALF_AN_HOUR):
            tracemalloc.start()
            size, summary = await _size(voice, _text(characters) + str(characters))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()

    assert size == summary.size_bytes > 30_000_000
    assert 29 * 60 < summary.duration.seconds < 36 * 60
    # The audio alone would be ten times as much; text and its segments grow a little.
    assert peaks[1] < 1.5 * peaks[0] + 2_000_000


@pytest.mark.long
async def test_half_an_hour_by_the_embedded_voice() -> None:
    """Every character spoken, by espeak-ng."""
    chosen = settings(default_provider="offline")
    async with running(build(chosen), settings=chosen, service="voice") as service:
        size, summary = await _size(Voice(service), _text(HALF_AN_HOUR))

    assert size == summary.size_bytes
    assert 20 * 60 < summary.duration.seconds < 60 * 60


@pytest.mark.long
async def test_sixty_four_stories_by_the_embedded_voice_leave_the_service_responsive() -> None:
    """All end well, and health is answered all along, one answer at a time; how quickly is in the benchmarks."""
    chosen = settings(default_provider="offline")
    answers = 0
    async with running(build(chosen), settings=chosen, service="voice") as service:
        voice = Voice(service)
        health: Any = health_pb2_grpc.HealthStub(service.channel)
        telling = [asyncio.create_task(voice.tell(f"Story {number}. {STORY}")) for number in range(64)]
        while not all(task.done() for task in telling):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=""), timeout=5)
            assert health_pb2.HealthCheckResponse.SERVING == answer.status
            answers += 1
        told = [task.result() for task in telling]

    assert {None} == {each.error for each in told}
    assert answers >= 10
