"""One segment: from the cache, or from a provider and then in the cache."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from dataclasses import replace

import pytest
from support.voice_kit import NamedVoice, faults, sha256

from servicekit.metrics import Metrics
from servicekit.resilience.errors import ProviderErrorKind
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.retry import RetryPolicy
from voice_service.audio.encoder import AudioEncoder
from voice_service.audio.finish import SegmentFinisher
from voice_service.cache.ports import CachedSegment, CacheError, CacheStats
from voice_service.calls import Order, ProviderCalls
from voice_service.collect import Timers
from voice_service.gates import Allowance, ProviderGates
from voice_service.ledger import CallOutcome, CallRecord
from voice_service.metrics import VoiceMetrics
from voice_service.ports import MP3_44100_128, SegmentRequest, SpeechItem, VoiceProvider
from voice_service.prober import Prober
from voice_service.synthesize import SegmentSynthesizer, SpeechError, Spoken

REQUEST = SegmentRequest(text="Good night, fox.", language_code="en", voice_id="one", model_id="one-1")
KEPT = CachedSegment(
    audio=b"sound",
    sha256=sha256(b"sound"),
    samples=1152,
    sample_rate=44_100,
    provider="one",
    voice_id="one",
    model_id="m",
)


class _Cache:
    """Answers what it is told to, in turn, then nothing; keeps what is put."""

    def __init__(self, *answers: CachedSegment | CacheError | None) -> None:
        self._answers = list(answers)
        self.kept: list[CachedSegment] = []
        self.stories: list[set[str]] = []

    async def get(self, key: str, story_id: str = "") -> CachedSegment | None:
        del key, story_id
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, CacheError):
            raise answer
        return answer

    async def put(self, key: str, segment: CachedSegment, story_ids: Collection[str] = ()) -> None:
        del key
        self.kept.append(segment)
        self.stories.append(set(story_ids))

    async def note_audio(self, key: str, sha256: bytes) -> None:
        raise AssertionError((key, sha256))

    async def forget(self, story_ids: Sequence[str], segment_sha256: Sequence[bytes]) -> int:
        del story_ids, segment_sha256
        return 0

    def stats(self) -> CacheStats:
        return CacheStats(0, 0, 0, 0, 0, 0, 0)

    async def start(self) -> None:
        """Nothing to look at."""

    async def aclose(self) -> None:
        """Nothing to stop."""


@pytest.fixture(scope="module")
async def encoder() -> AsyncIterator[AudioEncoder]:
    """One thread that encodes."""
    made = AudioEncoder(1)
    yield made
    await made.aclose()


def _synthesizer(cache: _Cache, encoder: AudioEncoder) -> SegmentSynthesizer:
    gates = ProviderGates(BreakerManager(), lambda _: Allowance(concurrency=1))
    metrics = VoiceMetrics(Metrics())
    calls = ProviderCalls(
        gates=gates,
        prober=Prober(gates, metrics),
        finisher=SegmentFinisher(encoder),
        timers=Timers(),
        retry=RetryPolicy(retries=1, delay=0),
        metrics=metrics,
    )
    return SegmentSynthesizer(cache=cache, calls=calls, encoder=encoder, max_flights=1)


def _order(provider: VoiceProvider, request: SegmentRequest = REQUEST) -> Order:
    return Order(provider=provider, request=request, story_format=MP3_44100_128)


def _nobody(call: CallRecord) -> None:
    raise AssertionError(call)


async def test_what_was_made_is_kept_before_it_is_given(encoder: AudioEncoder) -> None:
    """Verified audio, its checksum and who spoke it."""
    cache, voice = _Cache(), NamedVoice("one")
    spoken = await _synthesizer(cache, encoder).speak(_order(voice), "", _nobody)

    assert [spoken.segment] == cache.kept
    assert (sha256(spoken.segment.audio), "one", "one", "one-1") == (
        spoken.segment.sha256, spoken.segment.provider, spoken.segment.voice_id, spoken.segment.model_id,
    )  # fmt: skip
    assert ([CallOutcome.SUCCEEDED], False) == ([call.outcome for call in spoken.calls], spoken.cached)


async def test_what_is_in_the_cache_is_not_paid_for_again(encoder: AudioEncoder) -> None:
    """One look, no call."""
    voice = NamedVoice("one")
    spoken = await _synthesizer(_Cache(KEPT), encoder).speak(_order(voice), "", _nobody)

    assert (KEPT, True, 0) == (spoken.segment, spoken.cached, voice.journal.calls)


class _Held(NamedVoice):
    """Speaks when it is let go."""

    def __init__(self) -> None:
        super().__init__("one")
        self.go_on = asyncio.Event()

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        self.called.set()
        await self.go_on.wait()
        async for item in super().synthesize(request):
            yield item


async def test_a_segment_is_kept_for_all_the_stories_that_asked_for_it(encoder: AudioEncoder) -> None:
    """One call, and one write that names them."""
    cache, voice = _Cache(), _Held()
    synthesizer = _synthesizer(cache, encoder)
    speaking = [asyncio.create_task(synthesizer.speak(_order(voice), story, lambda _: None)) for story in "ab"]
    await voice.called.wait()
    voice.go_on.set()
    await asyncio.gather(*speaking)

    assert ([{"a", "b"}], 1) == (cache.stories, voice.journal.calls)


async def test_a_segment_that_was_forgotten_with_another_story_is_kept_again(encoder: AudioEncoder) -> None:
    """For who came while it was being written, and waits for it."""
    voice = NamedVoice("one")

    class Late(_Cache):
        async def put(self, key: str, segment: CachedSegment, story_ids: Collection[str] = ()) -> None:
            await super().put(key, segment, story_ids)
            if len(self.stories) == 1:
                joining.append(asyncio.create_task(synthesizer.speak(_order(voice), "b", _nobody)))
                await asyncio.sleep(0)

    cache, joining = Late(), list[asyncio.Task[Spoken]]()
    synthesizer = _synthesizer(cache, encoder)
    await synthesizer.speak(_order(voice), "a", _nobody)
    spoken = await joining[0]

    assert ([{"a"}, {"b"}], True) == (cache.stories, spoken.kept)


async def test_what_is_in_the_cache_is_given_though_no_more_can_be_made(encoder: AudioEncoder) -> None:
    """As many flights as are allowed stop calls, not reading."""
    voice = _Held()
    synthesizer = _synthesizer(_Cache(None, KEPT), encoder)
    speaking = asyncio.create_task(synthesizer.speak(_order(voice), "", _nobody))
    await voice.called.wait()
    spoken = await synthesizer.speak(_order(voice, replace(REQUEST, text="Good night, owl.")), "", _nobody)
    with pytest.raises(SpeechError):
        await synthesizer.speak(_order(voice, replace(REQUEST, text="Good night, wolf.")), "", _nobody)
    voice.go_on.set()
    await speaking

    assert (KEPT, True) == (spoken.segment, spoken.cached)


async def test_a_cache_that_does_not_answer_is_a_miss(encoder: AudioEncoder) -> None:
    """The segment is made."""
    voice = NamedVoice("one")
    spoken = await _synthesizer(_Cache(CacheError("down")), encoder).speak(_order(voice), "", _nobody)

    assert (1, False) == (voice.journal.calls, spoken.cached)


async def test_a_failure_tells_every_call_and_keeps_nothing(encoder: AudioEncoder) -> None:
    """With its reason."""
    cache, voice = _Cache(), NamedVoice("one", faults({"kind": "garbage", "times": None}))
    with pytest.raises(SpeechError) as caught:
        await _synthesizer(cache, encoder).speak(_order(voice), "", _nobody)

    assert ProviderErrorKind.TRUNCATED is caught.value.error.kind
    assert [(CallOutcome.FAILED, "truncated")] * 2 == [(call.outcome, call.reason) for call in caught.value.calls]
    assert [] == cache.kept


async def test_a_pause_is_the_same_silence_each_time(encoder: AudioEncoder) -> None:
    """So that a narration with one can be resumed."""
    cache = _Cache()
    synthesizer = _synthesizer(cache, encoder)
    first = await synthesizer.pause(NamedVoice("one").metadata, REQUEST, MP3_44100_128, "")
    second = await synthesizer.pause(NamedVoice("one").metadata, REQUEST, MP3_44100_128, "")

    assert first.segment == second.segment == cache.kept[0]
    assert 0.4 <= first.segment.samples / first.segment.sample_rate < 0.6
