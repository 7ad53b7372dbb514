"""One segment: found in the store, or made by a provider and then stored."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace

import pytest
from support.voice_kit import HeldVoice, NamedVoice, faults, sha256

from servicekit.errors import DomainError, not_found
from servicekit.metrics import Metrics
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.retry import RetryPolicy
from tale.common.v1 import common_pb2
from tale.storage.v1.segment_pb2 import StoredSegment
from voice_service.audio.encoder import AudioEncoder
from voice_service.audio.verify import SegmentFinisher
from voice_service.metrics import VoiceMetrics
from voice_service.ports import MP3_44100_128, SegmentRequest, VoiceProvider
from voice_service.synthesis.call import AudioBudget, Order
from voice_service.synthesis.calls import ProviderCalls
from voice_service.synthesis.flight import Turn
from voice_service.synthesis.gates import Allowance, Prober, ProviderGates
from voice_service.synthesis.store import MemorySegments, store_unavailable
from voice_service.synthesis.synthesize import AudioNeed, SegmentSynthesizer, SpeechError, Spoken

REQUEST = SegmentRequest(text="Good night, fox.", language_code="en", voice_id="one", model_id="one-1")


class _Store(MemorySegments):
    """Notes what is stored for which story; some stories do not exist, and some lookups fail."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: list[tuple[StoredSegment, str]] = []
        self.found_for: list[str] = []
        self.deleted: set[str] = set()
        self.away = False
        self.looked_up = asyncio.Event()

    async def find(self, keys: Collection[str], story_id: str) -> Mapping[str, StoredSegment]:
        if self.away:
            raise store_unavailable()
        self.found_for.append(story_id)
        self.looked_up.set()
        return await super().find(keys, story_id)

    async def put(
        self, segment: StoredSegment, audio: bytes, story_id: str, *, deadline: float | None = None
    ) -> StoredSegment:
        if story_id in self.deleted:
            raise not_found("STORY_NOT_FOUND", "There is no story of that id.")
        self.stored.append((segment, story_id))
        return await super().put(segment, audio, story_id, deadline=deadline)


@pytest.fixture(scope="module")
async def encoder() -> AsyncIterator[AudioEncoder]:
    """One thread that encodes."""
    made = AudioEncoder(1)
    yield made
    await made.aclose()


def _synthesizer(store: _Store, encoder: AudioEncoder) -> SegmentSynthesizer:
    metrics = VoiceMetrics(Metrics())
    retry = RetryPolicy(retries=1, delay=0)
    gates = ProviderGates(BreakerManager(), lambda _: Allowance(concurrency=1), retry=retry, metrics=metrics)
    calls = ProviderCalls(
        gates=gates,
        prober=Prober(gates, metrics),
        finisher=SegmentFinisher(encoder),
        budget=AudioBudget(1 << 20),
        metrics=metrics,
    )
    return SegmentSynthesizer(store=store, calls=calls, encoder=encoder, metrics=metrics, max_flights=1)


def _order(provider: VoiceProvider, request: SegmentRequest = REQUEST) -> Order:
    return Order(provider=provider, request=request, story_format=MP3_44100_128)


def _no_late_call(call: common_pb2.Attempt) -> None:
    raise AssertionError(call)


async def _speak(
    synthesizer: SegmentSynthesizer, voice: VoiceProvider, story_id: str = "", request: SegmentRequest = REQUEST
) -> Spoken:
    order = _order(voice, request)
    return await synthesizer.speak(order, story_id, Turn(), _no_late_call, need=AudioNeed.BYTES)


async def test_what_was_made_is_stored_before_it_is_given(encoder: AudioEncoder) -> None:
    """Verified audio, its size and checksum, and the voice that spoke it."""
    store, voice = _Store(), NamedVoice("one")
    spoken = await _speak(_synthesizer(store, encoder), voice, "story")

    segment, audio = spoken.segment, spoken.audio or b""
    assert [(segment, "story")] == store.stored
    assert (len(audio), sha256(audio)) == (segment.size_bytes, segment.sha256)
    assert ("one", "one", "one-1") == (segment.provider, segment.voice_id, segment.model_id)
    assert [common_pb2.ATTEMPT_OUTCOME_SUCCEEDED] == [call.outcome for call in spoken.calls]
    assert not spoken.cached


async def test_what_is_stored_is_not_paid_for_again(encoder: AudioEncoder) -> None:
    """One lookup, no call, the same bytes."""
    store, voice = _Store(), NamedVoice("one")
    synthesizer = _synthesizer(store, encoder)
    made = await _speak(synthesizer, voice)
    found = await _speak(synthesizer, voice)

    assert (made.segment, made.audio) == (found.segment, found.audio)
    assert found.cached
    assert 1 == voice.journal.calls


async def test_the_bytes_are_released_where_no_caller_needs_them(encoder: AudioEncoder) -> None:
    """They are stored, and the facts are enough."""
    order = _order(NamedVoice("one"))
    spoken = await _synthesizer(_Store(), encoder).speak(order, "", Turn(), _no_late_call, need=AudioNeed.NONE)

    assert spoken.audio is None


async def test_a_segment_is_made_once_for_all_the_stories_that_asked_for_it(encoder: AudioEncoder) -> None:
    """One call, one write, and the store knows of both."""
    store, voice = _Store(), HeldVoice("one")
    synthesizer = _synthesizer(store, encoder)
    speaking = [asyncio.create_task(_speak(synthesizer, voice, story)) for story in "ab"]
    await voice.called.wait()
    voice.go_on.set()
    spoken = await asyncio.gather(*speaking)

    assert 1 == voice.journal.calls
    assert ["a"] == [story for _, story in store.stored]
    assert ["a", "b"] == store.found_for
    assert spoken[0].segment == spoken[1].segment
    assert 1 == sum(len(each.calls) for each in spoken)


async def test_a_segment_is_stored_for_another_story_where_the_first_was_deleted(encoder: AudioEncoder) -> None:
    """It was paid for once, for both."""
    store, voice = _Store(), HeldVoice("one")
    store.deleted = {"a"}
    synthesizer = _synthesizer(store, encoder)
    speaking = [asyncio.create_task(_speak(synthesizer, voice, story)) for story in "ab"]
    await voice.called.wait()
    voice.go_on.set()
    spoken = await asyncio.gather(*speaking)

    assert 1 == voice.journal.calls
    assert ["b"] == [story for _, story in store.stored]
    assert spoken[1].audio is not None


async def test_a_story_that_was_deleted_is_the_reason(encoder: AudioEncoder) -> None:
    """With the call that was made for it."""
    store, voice = _Store(), NamedVoice("one")
    store.deleted = {"a"}
    with pytest.raises(SpeechError) as caught:
        await _speak(_synthesizer(store, encoder), voice, "a")

    assert isinstance(caught.value.error, DomainError)
    assert "STORY_NOT_FOUND" == caught.value.error.reason
    assert [common_pb2.ATTEMPT_OUTCOME_SUCCEEDED] == [call.outcome for call in caught.value.calls]


async def test_what_is_stored_is_given_though_no_more_can_be_made(encoder: AudioEncoder) -> None:
    """As many flights as are allowed stop calls, not reading."""
    store, voice = _Store(), HeldVoice("one")
    synthesizer = _synthesizer(store, encoder)
    stored = await _speak(synthesizer, NamedVoice("one"), request=replace(REQUEST, text="Good night, owl."))
    speaking = asyncio.create_task(_speak(synthesizer, voice))
    await voice.called.wait()
    found = await _speak(synthesizer, voice, request=replace(REQUEST, text="Good night, owl."))
    with pytest.raises(SpeechError):
        await _speak(synthesizer, voice, request=replace(REQUEST, text="Good night, wolf."))
    voice.go_on.set()
    await speaking

    assert (stored.segment, True) == (found.segment, found.cached)


async def test_no_provider_is_called_where_the_store_does_not_answer(encoder: AudioEncoder) -> None:
    """What it makes could not be stored."""
    store, voice = _Store(), NamedVoice("one")
    store.away = True
    with pytest.raises(SpeechError, match="STORAGE_UNAVAILABLE"):
        await _speak(_synthesizer(store, encoder), voice)

    assert 0 == voice.journal.calls


async def test_a_failure_reports_every_call_and_stores_nothing(encoder: AudioEncoder) -> None:
    """With its reason."""
    store, voice = _Store(), NamedVoice("one", faults({"kind": "garbage", "times": None}))
    with pytest.raises(SpeechError) as caught:
        await _speak(_synthesizer(store, encoder), voice)

    assert isinstance(caught.value.error, ProviderError)
    assert ProviderErrorKind.TRUNCATED is caught.value.error.kind
    assert [(common_pb2.ATTEMPT_OUTCOME_FAILED, "TRUNCATED")] * 2 == [
        (call.outcome, call.reason) for call in caught.value.calls
    ]
    assert [] == store.stored


async def test_a_provider_is_called_when_it_is_the_turn_of_the_segment(encoder: AudioEncoder) -> None:
    """Whatever is looked up first."""
    store, voice = _Store(), NamedVoice("one")
    synthesizer = _synthesizer(store, encoder)
    first = Turn()
    speaking = asyncio.create_task(
        synthesizer.speak(_order(voice), "", first.following(), _no_late_call, need=AudioNeed.NONE)
    )
    await store.looked_up.wait()
    await asyncio.sleep(0)
    before = voice.journal.calls
    first.pass_on()
    await speaking

    assert (0, 1) == (before, voice.journal.calls)


async def test_a_pause_is_the_same_silence_each_time(encoder: AudioEncoder) -> None:
    """So that a narration with one can be resumed."""
    store = _Store()
    synthesizer = _synthesizer(store, encoder)
    order = _order(NamedVoice("one"))
    first = await synthesizer.pause(order, "", need=AudioNeed.BYTES)
    second = await synthesizer.pause(order, "", need=AudioNeed.BYTES)

    assert [(first.segment, "")] == store.stored
    assert (first.segment, first.audio) == (second.segment, second.audio)
    assert 0.4 <= first.segment.sample_count / first.segment.sample_rate < 0.6
