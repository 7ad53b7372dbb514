"""A narration when providers fail: retried, handed over, or refused with the reason; never silently wrong."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from support.voice_kit import STORY, NamedVoice, Told, faults, reason_of, voice_service

from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2
from voice_service.audio.mp3 import walk
from voice_service.ports import AudioChunk, SegmentRequest, SpeechItem
from voice_service.settings import Tuning

LAST = "In the morning"
"""Text in a segment after the first ones."""


def _outcomes(attempts: list[common_pb2.Attempt]) -> list[tuple[int, str, str]]:
    return [(attempt.segment_index, attempt.provider, attempt.reason) for attempt in attempts]


@pytest.mark.parametrize("kind", ["truncate", "short", "garbage", "cut", "stall", "overload", "transport", "timeout"])
async def test_only_the_segment_that_failed_is_asked_for_again(kind: str) -> None:
    """Whatever went wrong, no byte of it is heard: the audio equals that of an undisturbed narration."""
    sound, troubled = NamedVoice("mock"), NamedVoice("mock", faults({"kind": kind, "match": LAST}))
    async with voice_service(sound) as voice:
        expected = await voice.tell(STORY)
    async with voice_service(troubled, tuning=Tuning(idle=0.2, retry_delay=0)) as voice:
        told = await voice.tell(STORY)

    assert told.error is None
    assert expected.audio == told.audio
    assert sound.journal.calls + 1 == troubled.journal.calls == len(told.attempts)
    failed = [attempt for attempt in told.attempts if attempt.outcome == common_pb2.ATTEMPT_OUTCOME_FAILED]
    assert 1 == len(failed)
    assert failed[0].reason in {"TRUNCATED", "TRANSPORT", "TIMEOUT", "OVERLOAD"}
    assert {segment.index for segment in told.segments if segment.cached} == set()


async def test_a_provider_that_never_begins_is_given_up_by_the_timer() -> None:
    """First byte."""
    mock = NamedVoice("mock", faults({"kind": "stall", "at": 0, "times": None}))
    async with voice_service(mock, first_byte_seconds=0.05, retries=1, segments_ahead=0) as voice:
        told = await voice.tell(STORY)

    assert (grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR") == reason_of(told.error)[:2]
    assert ["TIMEOUT", "TIMEOUT"] == [attempt.reason for attempt in told.attempts]


async def test_a_provider_that_dribbles_for_ever_is_given_up_by_the_timer() -> None:
    """Total: each chunk comes in time, the segment does not."""
    mock = NamedVoice("mock", faults(realtime_factor=1.0, chunk_bytes=64))
    async with voice_service(mock, segment_seconds=0.1, retries=0) as voice:
        told = await voice.tell(STORY)

    assert (grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR") == reason_of(told.error)[:2]


async def test_the_next_provider_goes_on_from_the_segment_that_failed() -> None:
    """What was spoken stays; each segment says who spoke it; the file has one shape; a warning tells."""
    one = NamedVoice("one", faults({"kind": "overload", "match": "Then the wind", "times": None}))
    two = NamedVoice("two")
    async with voice_service(
        one, two, default_provider="one", provider_fallback=("two",), breaker_failures=100
    ) as voice:
        told = await voice.tell(STORY, title="The Fox")

    assert told.error is None
    assert told.header is not None
    assert told.summary is not None
    speakers = [segment.provider for segment in told.segments]
    handed = speakers.index("two")
    assert ["one"] * handed + ["two"] * (len(speakers) - handed) == speakers
    assert handed > 1
    assert {("one", "one-1"), ("two", "two-1")} == {(each.voice_id, each.model_id) for each in told.segments}
    assert ["PROVIDER_FAILED"] == [warning.reason for warning in told.warnings]
    assert str(handed) == told.warnings[0].metadata["segment_index"]
    assert [(handed, "one", "OVERLOAD")] * 3 == [each for each in _outcomes(told.attempts) if each[2]]
    # Of the one that failed also what was made ahead in vain, since it may have cost something.
    assert one.journal.calls + two.journal.calls == len(told.attempts)
    assert one.journal.calls > handed + 3
    assert walk(told.audio).sample_rate == 44_100
    assert ("one", {"one": handed, "two": len(speakers) - handed}) == (
        told.header.provider,
        MessageToDict(told.summary.metadata)["segments_by_provider"],
    )


@pytest.mark.parametrize("kind", ["auth", "quota", "invalid_input", "unsupported", "content_policy"])
async def test_what_a_retry_can_not_mend_is_not_retried(kind: str) -> None:
    """One call, then the next provider."""
    one, two = NamedVoice("one", faults({"kind": kind, "times": None})), NamedVoice("two")
    async with voice_service(one, two, default_provider="one", provider_fallback=("two",), segments_ahead=0) as voice:
        told = await voice.tell(STORY)

    assert (None, 1) == (told.error, one.journal.calls)
    assert {"two"} == {segment.provider for segment in told.segments}


async def test_a_provider_that_asks_for_a_long_wait_is_passed_over() -> None:
    """Retry-After beyond what one waits for is a reason to fail over at once."""
    one, two = NamedVoice("one", faults({"kind": "rate", "retry_after": 60, "times": None})), NamedVoice("two")
    async with voice_service(one, two, default_provider="one", provider_fallback=("two",), segments_ahead=0) as voice:
        told = await voice.tell(STORY)

    assert (None, 1) == (told.error, one.journal.calls)


@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [
        ("transport", grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR"),
        ("overload", grpc.StatusCode.UNAVAILABLE, "AUDIO_GENERATION_FAILED"),
        ("garbage", grpc.StatusCode.UNAVAILABLE, "AUDIO_GENERATION_FAILED"),
        ("auth", grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_AUTH"),
        ("invalid_input", grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_REFUSED"),
        ("unsupported", grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_UNSUPPORTED"),
        ("content_policy", grpc.StatusCode.FAILED_PRECONDITION, "CONTENT_REFUSED"),
        ("quota", grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
        ("rate", grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"),
    ],
)
async def test_one_provider_that_fails_for_good_is_the_reason(kind: str, code: grpc.StatusCode, reason: str) -> None:
    """The caller learns what was tried and why, and gets what was spoken before; nothing ends in a summary."""
    mock = NamedVoice("mock", faults({"kind": kind, "match": LAST, "times": None}))
    async with voice_service(mock, retries=1) as voice:
        told = await voice.tell(STORY)

    found_code, found_reason, metadata = reason_of(told.error)
    assert (code, reason) == (found_code, found_reason)
    assert ("mock", str(len(told.segments))) == (metadata["tried"], metadata["segment_index"])
    assert told.summary is None
    assert told.segments[-1].audio.end == len(told.audio)
    failed = [each for each in told.attempts if each.segment_index == len(told.segments)]
    assert {common_pb2.ATTEMPT_OUTCOME_FAILED} == {each.outcome for each in failed}


@pytest.mark.parametrize("kind", ["auth", "invalid_input", "unsupported", "content_policy", "quota"])
async def test_provider_that_refuses_for_good_is_called_once(kind: str) -> None:
    """No segment that is made ahead is sent before the voice has answered."""
    mock = NamedVoice("mock", faults({"kind": kind, "times": None}, paid=True))
    async with voice_service(mock, segments_ahead=3) as voice:
        told = await voice.tell(STORY * 2)

    assert told.error is not None
    assert 1 == mock.journal.calls
    assert 1 == len(told.attempts)


async def test_voice_that_refused_for_good_is_called_once_by_the_next_narration() -> None:
    """Also where it answered a moment before it refused."""
    mock = NamedVoice("mock", faults({"kind": "unsupported", "match": "fog", "times": None}, paid=True))
    async with voice_service(mock, segments_ahead=3) as voice:
        answered = await voice.tell(STORY)
        await voice.tell("A thick fog lay over the harbour. " * 20)
        before = mock.journal.calls
        await voice.tell("Grey fog crept along the quiet river. " * 20)

    assert answered.error is None
    assert 1 == mock.journal.calls - before


@pytest.mark.parametrize(
    ("kinds", "code", "reason"),
    [
        (("unsupported", "auth"), grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_UNSUPPORTED"),
        (("auth", "overload"), grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_AUTH"),
        (("overload", "auth"), grpc.StatusCode.UNAVAILABLE, "FALLBACK_FAILURE"),
    ],
)
async def test_first_cause_is_reported_where_all_providers_refuse_for_good(
    kinds: tuple[str, str], code: grpc.StatusCode, reason: str
) -> None:
    """Where one of them may do better later, the caller may try again."""
    one, two = (
        NamedVoice(name, faults({"kind": kind, "times": None}))
        for name, kind in zip(("one", "two"), kinds, strict=True)
    )
    async with voice_service(one, two, default_provider="one", provider_fallback=("two",)) as voice:
        told = await voice.tell(STORY)

    assert (code, reason) == reason_of(told.error)[:2]


async def test_when_all_fail_the_reason_is_the_fallback() -> None:
    """With what each of them failed at."""
    one = NamedVoice("one", faults({"kind": "overload", "times": None}))
    two = NamedVoice("two", faults({"kind": "auth", "times": None}))
    async with voice_service(one, two, default_provider="one", provider_fallback=("two",)) as voice:
        told = await voice.tell(STORY)

    code, reason, metadata = reason_of(told.error)
    assert (grpc.StatusCode.UNAVAILABLE, "FALLBACK_FAILURE") == (code, reason)
    assert {"tried": "one,two", "why_one": "overload", "why_two": "auth", "segment_index": "0"} == metadata
    assert [] == told.segments


async def test_the_embedded_voice_never_steps_in_silently_after_a_paid_one_failed() -> None:
    """Only where it is named."""
    failing: dict[str, Any] = {"kind": "overload", "times": None}
    for fallback, error, speakers in (((), True, set()), (("offline",), False, {"offline"})):
        paid, embedded = NamedVoice("one", faults(failing, paid=True)), NamedVoice("offline")
        async with voice_service(paid, embedded, default_provider="one", provider_fallback=fallback) as voice:
            told = await voice.tell(STORY)

        assert error is (told.error is not None)
        assert speakers == {segment.provider for segment in told.segments}
        assert bool(speakers) is (told.summary is not None and told.summary.embedded)


async def test_a_call_that_may_have_been_billed_says_that_its_cost_is_not_known() -> None:
    """For a paid provider; the others cost nothing, and that is known."""
    async with voice_service(NamedVoice("mock", faults(paid=True))) as voice:
        told = await voice.tell(STORY)

    assert {(False, 0.0)} == {(attempt.cost_known, attempt.cost_usd) for attempt in told.attempts}


async def test_with_nothing_configured_the_embedded_voice_speaks_and_says_so() -> None:
    """In the header, in a warning, and in the summary."""
    async with voice_service(NamedVoice("offline"), default_provider="elevenlabs") as voice:
        told = await voice.tell(STORY)
        refused = await voice.tell(STORY, voice=common_pb2.VoiceSelection(provider="elevenlabs"))
        unknown = await voice.tell(STORY, voice=common_pb2.VoiceSelection(provider="nobody"))

    assert told.header is not None
    assert told.summary is not None
    assert (True, True, ["EMBEDDED_VOICE"]) == (
        told.header.embedded,
        told.summary.embedded,
        [each.reason for each in told.warnings],
    )
    assert (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_CONFIGURATION") == reason_of(refused.error)[:2]
    assert (grpc.StatusCode.NOT_FOUND, "PROVIDER_NOT_FOUND") == reason_of(unknown.error)[:2]


class Held(NamedVoice):
    """Its first call begins to answer and waits for `go_on`; `ahead` is set once `enough` others are made."""

    def __init__(self, enough: int) -> None:
        super().__init__("one", faults(paid=True))
        self._enough = enough
        self._made = 0
        self.ahead, self.go_on = asyncio.Event(), asyncio.Event()

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        if not self.called.is_set():
            self.called.set()
            yield AudioChunk(b"")
            await self.go_on.wait()
        async for item in super().synthesize(request):
            yield item
        self._made += 1
        if self._made >= self._enough:
            self.ahead.set()


async def test_what_was_made_ahead_is_in_the_books_though_the_text_breaks_off() -> None:
    """Paid calls are told before the error of whoever sends the text."""
    held = Held(2)

    async def requests() -> AsyncIterator[voice_pb2.SynthesizeSpeechRequest]:
        config = voice_pb2.SynthesizeSpeechRequest(config=voice_pb2.SpeechConfig(language_code="en"))
        yield config
        yield voice_pb2.SynthesizeSpeechRequest(text=voice_pb2.TextPiece(text=STORY * 2))
        await held.ahead.wait()
        yield config
        held.go_on.set()

    told = Told()
    async with voice_service(held, default_provider="one", segments_ahead=2) as voice:
        try:
            async for response in voice.stub.SynthesizeSpeech(requests(), timeout=30):
                told.add(response)
        except grpc.aio.AioRpcError as error:
            told.error = error

    assert "VALIDATION_FAILED" == reason_of(told.error)[1]
    assert held.journal.calls >= 3
    assert held.journal.calls == len(told.attempts)
