"""One story by several providers: one file that plays, and a list of who said what."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from support.servers import running
from support.voice_kit import STORY, NamedVoice, Voice, faults, settings, voice_service
from support.voice_samples import decode, pcm

from tale.common.v1 import common_pb2
from voice_service.audio.encoder import encode
from voice_service.audio.mp3 import walk
from voice_service.bootstrap import assemble
from voice_service.ports import MP3_44100_128, AudioChunk, NativeFormat, ProviderMetadata, SegmentRequest, SpeechItem
from voice_service.providers.offline.provider import OfflineVoiceProvider
from voice_service.providers.offline.workers import WorkerProcess

TONE_SECONDS_PER_CHARACTER = 1 / 15


class Humming(NamedVoice):
    """Hums instead of speaking, in a native format and at a rate of its own."""

    def __init__(self, name: str, native: NativeFormat, sample_rate: int, *given: dict[str, Any]) -> None:
        super().__init__(name, faults(*given))
        self._native, self._rate = native, sample_rate

    @property
    def metadata(self) -> ProviderMetadata:
        return replace(super().metadata, native_format=self._native, sample_rate=self._rate)

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        # What the script has to say of this call, without the sound.
        async for item in super().synthesize(request):
            if not isinstance(item, AudioChunk):
                yield item
        moments = np.arange(round(len(request.text) * TONE_SECONDS_PER_CHARACTER * self._rate)) / self._rate
        samples = (np.sin(2 * np.pi * 330 * moments) * 6000).astype("<i2").tobytes()
        raw = self._native is NativeFormat.PCM_S16LE
        yield AudioChunk(samples if raw else encode(pcm(samples, self._rate), MP3_44100_128).data)


def _gives_up(before: str) -> dict[str, Any]:
    return {"kind": "auth", "match": before, "times": None}


def _voices() -> Sequence[Any]:
    """Five that hand over to each other in the middle of the story."""
    return (
        NamedVoice("first", faults(_gives_up("She counted"))),
        Humming("second", NativeFormat.PCM_S16LE, 24_000, _gives_up("Then the wind")),
        Humming("third", NativeFormat.MP3, 16_000, _gives_up("One eye closed")),
        OfflineVoiceProvider(workers=1),
    )


@pytest.mark.parametrize(
    ("audio_format", "container", "sample_rate"),
    [(common_pb2.AUDIO_FORMAT_MP3, "mp3", 44_100), (common_pb2.AUDIO_FORMAT_OGG_OPUS, "ogg", 48_000)],
)
async def test_a_story_of_many_voices_is_one_file(
    audio_format: common_pb2.AudioFormat.ValueType, container: str, sample_rate: int
) -> None:
    """One sampling rate, ffmpeg plays it without a word and finds the samples told, each segment says who spoke it."""
    async with voice_service(
        *_voices(), default_provider="first", provider_fallback=("second", "third", "offline"), segment_words=20
    ) as voice:
        told = await voice.tell(
            STORY, title="The Fox", voice=common_pb2.VoiceSelection(audio_format=audio_format), word_timings=True
        )

    assert told.error is None
    assert told.summary is not None
    speakers = [segment.provider for segment in told.segments]
    assert ["first", "second", "third", "offline"] == list(dict.fromkeys(speakers))
    assert ["first", "second", "third"] == [warning.metadata["provider"] for warning in told.warnings]
    assert dict(Counter(speakers)) == MessageToDict(told.summary.metadata)["segments_by_provider"]
    assert {(each.provider, each.voice_id) for each in told.segments} == {
        ("first", "first"), ("second", "second"), ("third", "third"), ("offline", "heart"),
    }  # fmt: skip
    samples, complaint = await asyncio.to_thread(decode, told.audio, container)
    assert ("", samples) == (complaint, round(told.summary.duration.ToNanoseconds() * sample_rate / 1e9))
    assert len(STORY) == told.segments[-1].text.end
    if container == "mp3":
        assert (44_100, 1, 128_000) == (
            walk(told.audio).sample_rate,
            walk(told.audio).channels,
            walk(told.audio).bit_rate,
        )


@pytest.mark.parametrize("voice_id", ["heart", "en-gb+f2"])
async def test_a_worker_killed_in_mid_sentence_is_not_heard(monkeypatch: pytest.MonkeyPatch, voice_id: str) -> None:
    """kill -9 of either engine while it speaks, twice in a story: only that sentence is asked for again."""
    killed: list[int] = []
    speak = WorkerProcess.speak

    async def say(self: WorkerProcess, request: dict[str, Any]) -> Any:
        speaking = asyncio.ensure_future(speak(self, request))
        if len(killed) < 2:
            killed.append(self.pid)
            # Its request is written; the process group is the worker and the fork that speaks.
            await asyncio.sleep(0)
            os.killpg(self.pid, signal.SIGKILL)
        return await speaking

    chosen = settings(default_provider="offline", segments_ahead=0)
    choice = common_pb2.VoiceSelection(provider="offline", voice_id=voice_id)
    told = []
    for patched in (False, True):
        if patched:
            monkeypatch.setattr(WorkerProcess, "speak", say)
        service_app = assemble(chosen, [OfflineVoiceProvider(workers=1)])
        async with running(service_app, settings=chosen, service="voice") as service:
            told.append(await Voice(service).tell(STORY, word_timings=True, voice=choice))
    expected, actual = told

    assert actual.error is None
    assert 2 == len(killed)
    assert ["TRANSPORT", "TRANSPORT"] == [each.reason for each in actual.attempts if each.reason]
    assert expected.audio == actual.audio
    assert [*expected.segments] == [*actual.segments]
