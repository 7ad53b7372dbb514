"""A narration that goes on where it was: byte for byte the same, or not at all."""

from typing import Any

import grpc
import pytest
from support.voice_kit import STORY, NamedVoice, Told, Voice, faults, reason_of, voice_service
from support.voice_segments import fake_storage

from servicekit.ids import new_id
from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2
from voice_service.synthesis.store import MemorySegments


def _resumed(told: Told, spoken: int, **more: Any) -> dict[str, Any]:
    return {"title": "The Fox", "pinned": told.header, "spoken_so_far": told.segments[:spoken], **more}


async def _whole(service: Voice, **config: Any) -> Told:
    told = await service.tell(STORY, title="The Fox", **config)
    assert told.error is None
    return told


@pytest.mark.parametrize("spoken", [0, 1, 3, 5])
async def test_a_resumed_narration_equals_an_undisturbed_one(spoken: int) -> None:
    """What the caller has is not sent again; offsets, times and the summary go on."""
    mock = NamedVoice("mock")
    async with voice_service(mock) as voice:
        whole = await _whole(voice, word_timings=True)
        calls = mock.journal.calls
        told = await voice.tell(STORY, **_resumed(whole, spoken, word_timings=True))

    begin = whole.segments[spoken].audio.start if spoken < len(whole.segments) else len(whole.audio)
    assert told.error is None
    assert whole.audio[begin:] == told.audio
    assert begin == (told.offsets[0] if told.offsets else len(whole.audio))
    assert whole.segments[spoken:] == [_uncached(segment) for segment in told.segments]
    assert calls == mock.journal.calls
    assert whole.header == told.header
    assert whole.summary is not None
    assert told.summary is not None
    assert whole.summary.size_bytes == told.summary.size_bytes
    assert whole.summary.duration == told.summary.duration
    assert whole.summary.segment_count == told.summary.segment_count


def _uncached(segment: common_pb2.Segment) -> common_pb2.Segment:
    copy = common_pb2.Segment()
    copy.CopyFrom(segment)
    copy.cached = False
    return copy


async def test_what_was_pinned_holds_whatever_the_defaults_are_now() -> None:
    """The service comes back with another default; the narration keeps its voice and settings."""
    slow = common_pb2.VoiceSelection(settings=common_pb2.VoiceSettings(speed=0.5))
    store = MemorySegments()
    async with voice_service(NamedVoice("one"), default_provider="one", store=store) as voice:
        whole = await _whole(voice, voice=slow)
    one, two = NamedVoice("one"), NamedVoice("two")
    async with voice_service(two, one, default_provider="two", store=store) as voice:
        # The rest is stored under the same voice and settings.
        told = await voice.tell(STORY, **_resumed(whole, 1))

    assert whole.audio[whole.segments[1].audio.start :] == told.audio
    assert (0, 0) == (one.journal.calls, two.journal.calls)


async def test_a_narration_that_was_handed_over_goes_on_with_the_voice_that_spoke_last() -> None:
    """The header stays the pinned one; the failed provider is not called again."""
    one = NamedVoice("one", faults({"kind": "overload", "match": "Then the wind", "times": None}))
    two = NamedVoice("two")
    chosen: dict[str, Any] = {"default_provider": "one", "provider_fallback": ("two",)}
    async with voice_service(one, two, **chosen) as voice:
        whole = await _whole(voice)
        spoken = [segment.provider for segment in whole.segments].index("two") + 1
        assert spoken < len(whole.segments)
    calls = one.journal.calls
    async with voice_service(one, two, **chosen) as voice:
        told = await voice.tell(STORY, **_resumed(whole, spoken))

    assert whole.audio[whole.segments[spoken].audio.start :] == told.audio
    assert told.header is not None
    assert ("one", calls) == (told.header.provider, one.journal.calls)


async def test_what_the_caller_has_need_not_be_stored() -> None:
    """It is neither looked up nor sent; the rest is made again."""
    async with voice_service(NamedVoice("mock")) as voice:
        whole = await _whole(voice)
    async with voice_service(NamedVoice("mock")) as voice:
        told = await voice.tell(STORY, **_resumed(whole, 4))

    assert told.error is None
    assert whole.audio[whole.segments[4].audio.start :] == told.audio


@pytest.mark.parametrize("how", ["text", "shorter", "ended", "title"])
async def test_a_text_that_is_cut_otherwise_is_segment_lost(how: str) -> None:
    """Another text, less of it, no title any more: never a silent switch, and no audio."""
    text = {"text": STORY.replace("small fox", "little fox"), "shorter": STORY[:150]}.get(how, STORY)
    async with voice_service(NamedVoice("mock")) as voice:
        whole = await _whole(voice)
        text = STORY[: whole.segments[2].text.end] if how == "ended" else text
        more = {"title": ""} if how == "title" else {}
        told = await voice.tell(text, **{**_resumed(whole, 4), **more})

    assert (grpc.StatusCode.FAILED_PRECONDITION, "SEGMENT_LOST") == reason_of(told.error)[:2]
    assert b"" == told.audio


async def test_a_narration_that_is_cut_off_goes_on_by_its_stored_segments() -> None:
    """With facts alone: what comes then follows what came before, and both are the stored bytes."""
    stored = voice_pb2.DELIVERY_STORED
    mock = NamedVoice("mock")
    async with fake_storage() as (storage, address):
        async with voice_service(mock, storage_target=address) as voice:
            whole = await _whole(voice, story_id=new_id(), delivery=stored)
        calls = mock.journal.calls
        async with voice_service(mock, storage_target=address) as voice:
            told = await voice.tell(STORY, **_resumed(whole, 2, delivery=stored))

    assert whole.segments[2:] == [_uncached(segment) for segment in told.segments]
    assert all(segment.cached for segment in told.segments)
    assert calls == mock.journal.calls
    assert {segment.key for segment in whole.segments} == set(storage.rows)
