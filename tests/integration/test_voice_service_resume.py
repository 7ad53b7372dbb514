"""A narration that goes on where it was: byte for byte the same, or not at all."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc
import pytest
from obstore.store import LocalStore
from support.voice_kit import STORY, NamedVoice, Told, Voice, faults, reason_of, voice_service

from servicekit.ids import new_id
from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2
from voice_service.ports import SegmentRequest, SpeechItem


def _resumed(told: Told, spoken: int, skip: int, **more: Any) -> dict[str, Any]:
    return {
        "title": "The Fox",
        "pinned": told.header,
        "spoken_so_far": told.segments[:spoken],
        "skip_segments": skip,
        **more,
    }


async def _whole(service: Voice, **config: Any) -> Told:
    told = await service.tell(STORY, title="The Fox", **config)
    assert told.error is None
    return told


@pytest.mark.parametrize(("spoken", "skip"), [(0, 0), (1, 0), (3, 0), (3, 2), (3, 3), (5, 5), (5, 0)])
async def test_a_resumed_narration_equals_an_undisturbed_one(spoken: int, skip: int) -> None:
    """What is skipped is not sent, what was spoken is given again, and offsets and times go on."""
    mock = NamedVoice("mock")
    async with voice_service(mock) as voice:
        whole = await _whole(voice)
        calls = mock.journal.calls
        told = await voice.tell(STORY, **_resumed(whole, spoken, skip))

    begin = whole.segments[skip].audio.start if skip < len(whole.segments) else len(whole.audio)
    assert told.error is None
    assert whole.audio[begin:] == told.audio
    assert begin == (told.offsets[0] if told.offsets else len(whole.audio))
    assert whole.segments[skip:] == [_uncached(segment) for segment in told.segments]
    assert calls == mock.journal.calls
    assert whole.header == told.header
    assert whole.summary is not None
    assert told.summary is not None
    assert (whole.summary.size_bytes, whole.summary.duration, whole.summary.segment_count) == (
        told.summary.size_bytes, told.summary.duration, told.summary.segment_count,
    )  # fmt: skip


def _uncached(segment: common_pb2.Segment) -> common_pb2.Segment:
    copy = common_pb2.Segment()
    copy.CopyFrom(segment)
    copy.cached = False
    return copy


async def test_what_was_pinned_holds_whatever_the_defaults_are_now(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The service comes back with another default; the narration keeps its voice and settings."""
    url = tmp_path_factory.mktemp("cache").as_uri()
    slow = common_pb2.VoiceSelection(settings=common_pb2.VoiceSettings(speed=0.5))
    async with voice_service(NamedVoice("one"), default_provider="one", cache_url=url) as voice:
        whole = await _whole(voice, voice=slow)
    one, two = NamedVoice("one"), NamedVoice("two")
    async with voice_service(two, one, default_provider="two", cache_url=url) as voice:
        # The first segment was given before, the rest is in the cache under the same voice and settings.
        told = await voice.tell(STORY, **_resumed(whole, 1, 0))

    assert whole.audio == told.audio
    assert (0, 0) == (one.journal.calls, two.journal.calls)


async def test_a_narration_that_was_handed_over_goes_on_with_who_spoke_last() -> None:
    """The header stays the pinned one; the failed provider is not asked again."""
    one = NamedVoice("one", faults({"kind": "overload", "match": "Then the wind", "times": None}))
    two = NamedVoice("two")
    async with voice_service(one, two, default_provider="one", provider_fallback=("two",)) as voice:
        whole = await _whole(voice)
        spoken = [segment.provider for segment in whole.segments].index("two") + 1
        assert spoken < len(whole.segments)
        await voice.stub.ForgetSegments(
            voice_pb2.ForgetSegmentsRequest(segment_sha256=[each.sha256 for each in whole.segments[spoken:]]), timeout=5
        )
        calls = one.journal.calls
        told = await voice.tell(STORY, **_resumed(whole, spoken, 0))

    assert whole.audio == told.audio
    assert told.header is not None
    assert ("one", calls) == (told.header.provider, one.journal.calls)


@pytest.mark.parametrize("skip", [0, 2])
async def test_audio_that_is_gone_is_segment_lost(skip: int) -> None:
    """Nothing wrong is sent: what comes before the refusal is a prefix of what was."""
    async with voice_service(NamedVoice("mock")) as voice:
        whole = await _whole(voice)
        await voice.stub.ForgetSegments(
            voice_pb2.ForgetSegmentsRequest(segment_sha256=[whole.segments[2].sha256]), timeout=5
        )
        told = await voice.tell(STORY, **_resumed(whole, 4, skip))

    code, reason, metadata = reason_of(told.error)
    assert (grpc.StatusCode.FAILED_PRECONDITION, "SEGMENT_LOST", {"segment_index": "2"}) == (code, reason, metadata)
    assert whole.audio[whole.segments[skip].audio.start :].startswith(told.audio)


async def test_what_the_caller_holds_need_not_be_in_the_cache() -> None:
    """A skipped segment is neither loaded nor sent."""
    async with voice_service(NamedVoice("mock")) as voice:
        whole = await _whole(voice)
        await voice.stub.ForgetSegments(
            voice_pb2.ForgetSegmentsRequest(segment_sha256=[each.sha256 for each in whole.segments[:3]]), timeout=5
        )
        told = await voice.tell(STORY, **_resumed(whole, 4, 3))

    assert (None, whole.audio[whole.segments[3].audio.start :]) == (told.error, told.audio)


@pytest.mark.parametrize("how", ["text", "shorter", "ended", "sha256", "audio", "provider"])
async def test_what_does_not_fit_is_segment_lost(how: str) -> None:
    """Another text, less of it, other audio, a provider that is gone: never a silent switch."""
    text = {"text": STORY.replace("small fox", "little fox"), "shorter": STORY[:150]}.get(how, STORY)
    async with voice_service(NamedVoice("mock")) as voice:
        whole = await _whole(voice)
        given = _resumed(whole, 4, 0)
        text = STORY[: whole.segments[2].text.end] if how == "ended" else text
        spoken = [_uncached(segment) for segment in whole.segments[:4]]
        if how == "sha256":
            spoken[1].sha256 = bytes(32)
        if how == "audio":
            spoken[1].audio.end += 1
            spoken[2].audio.start += 1
        if how == "provider":
            spoken[1].provider = "gone"
        told = await voice.tell(text, **{**given, "spoken_so_far": spoken})

    assert (grpc.StatusCode.FAILED_PRECONDITION, "SEGMENT_LOST") == reason_of(told.error)[:2]
    assert whole.audio.startswith(told.audio)


async def test_a_story_that_is_forgotten_leaves_nothing_to_give_again() -> None:
    """By the story's id, whatever its narrations were; other stories keep what they have."""
    first, second = new_id(), new_id()
    async with voice_service(NamedVoice("mock")) as voice:
        whole = await _whole(voice, story_id=first)
        other = await voice.tell("Something else entirely.", story_id=second)
        answer = await voice.stub.ForgetSegments(voice_pb2.ForgetSegmentsRequest(story_ids=[first]), timeout=5)
        told = await voice.tell(STORY, **_resumed(whole, 1, 0, story_id=first))
        kept = await voice.tell("Something else entirely.", story_id=second)

    assert len(whole.segments) == answer.forgotten_count
    assert "SEGMENT_LOST" == reason_of(told.error)[1]
    assert ([False], [True]) == ([each.cached for each in other.segments], [each.cached for each in kept.segments])


class _Held(NamedVoice):
    """Speaks when it is let go."""

    def __init__(self) -> None:
        super().__init__("mock")
        self.go_on = asyncio.Event()

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        self.called.set()
        await self.go_on.wait()
        async for item in super().synthesize(request):
            yield item


async def test_calls_under_way_for_a_forgotten_story_leave_nothing(tmp_path: Path) -> None:
    """They end after the story was forgotten, and into nothing."""
    mock, story = _Held(), new_id()
    async with voice_service(mock, cache_url=tmp_path.as_uri()) as voice:
        telling = asyncio.create_task(voice.tell(STORY, story_id=story))
        await mock.called.wait()
        telling.cancel()
        await asyncio.wait([telling])
        answer = await voice.stub.ForgetSegments(voice_pb2.ForgetSegmentsRequest(story_ids=[story]), timeout=5)
        mock.go_on.set()

    assert (0, True) == (answer.forgotten_count, mock.journal.finished > 0)
    assert [] == [item["path"] for batch in LocalStore(tmp_path).list() for item in batch]


async def test_a_cache_that_does_not_answer_for_a_moment_loses_nothing(tmp_path: Path) -> None:
    """UNAVAILABLE, to be asked again; then the narration goes on as it was."""
    async with voice_service(NamedVoice("mock"), cache_url=tmp_path.as_uri()) as voice:
        whole = await _whole(voice)
        folder = tmp_path / "segments"
        folder.rename(tmp_path / "aside")
        folder.symlink_to(folder)
        away = await voice.tell(STORY, **_resumed(whole, 4, 0))
        folder.unlink()
        (tmp_path / "aside").rename(folder)
        told = await voice.tell(STORY, **_resumed(whole, 4, 0))

    assert (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE") == reason_of(away.error)[:2]
    assert b"" == away.audio
    assert (None, whole.audio) == (told.error, told.audio)
