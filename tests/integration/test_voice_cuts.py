"""Streams that are cut, at every segment boundary and within frames: exact lengths, no word twice and none missing."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import pytest
from support.voice_kit import STORY, NamedVoice, Told, Voice, faults, sha256, voice_service

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2
from voice_service.audio.mp3 import walk
from voice_service.ports import AudioChunk, ProviderMetadata, SegmentRequest, SpeechItem, VoiceInfo
from voice_service.providers.offline.provider import OfflineVoiceProvider

TEXT = "The fox could not sleep. She counted the stars, one by one. Then an owl came home. It was late. Good night."
TITLE = "The Fox and the Owl"
SEGMENTS = 5
"""Of `TEXT` at four words a segment, and its title."""


class CutEspeak:
    """The embedded voice, whose answer to one call is cut; what was asked is in `asked`."""

    def __init__(self, call: int = 0, *, odd: bool = False, announced: bool = False) -> None:
        """Of the `call`-th answer 40 % come, `odd`: and half a sample; `announced`: with an error at the end."""
        self._inner = OfflineVoiceProvider(workers=2)
        self._call, self._odd, self._announced = call, odd, announced
        self.asked: list[str] = []

    @property
    def metadata(self) -> ProviderMetadata:
        return self._inner.metadata

    async def validate_configuration(self) -> str:
        return await self._inner.validate_configuration()

    async def list_voices(self, language_code: str | None = None) -> Sequence[VoiceInfo]:
        return await self._inner.list_voices(language_code)

    async def knows_voice(self, voice_id: str, language_code: str) -> bool:
        return await self._inner.knows_voice(voice_id, language_code)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        self.asked.append(request.text)
        cut = len(self.asked) == self._call
        async for item in self._inner.synthesize(request):
            if cut and isinstance(item, AudioChunk):
                yield AudioChunk(item.data[: len(item.data) * 2 // 10 * 2 + self._odd])
                if self._announced:
                    raise ProviderError(ProviderErrorKind.TRANSPORT, "cut", provider="offline")
                continue
            yield item


def _words(text: str, told: Sequence[common_pb2.Segment]) -> list[str]:
    return [text[word.text.start : word.text.end] for segment in told if segment.index for word in segment.words]


def _is_whole(told: Told, text: str) -> None:
    """All of the text is spoken once, and every length is what its frames say."""
    assert told.error is None
    assert told.summary is not None
    assert walk(told.audio).samples == round(told.summary.duration.ToNanoseconds() * 44.1e-6)
    assert text.replace(".", "").replace(",", "").split() == _words(text, told.segments)
    times = [word.start.ToNanoseconds() for segment in told.segments for word in segment.words]
    assert sorted(times) == times


@pytest.fixture(scope="module")
async def undisturbed() -> Told:
    """The narration without any cut."""
    async with voice_service(CutEspeak(), default_provider="offline", segment_words=4) as voice:
        told = await voice.tell(TEXT, title=TITLE, word_timings=True)
    assert SEGMENTS == len(told.segments)
    return told


@pytest.mark.parametrize("cut", [{}, {"odd": True}, {"announced": True}])
@pytest.mark.parametrize("call", range(1, SEGMENTS + 1))
@pytest.mark.sampled(4)
async def test_an_answer_that_is_cut_is_asked_for_again_and_never_heard(
    undisturbed: Told, call: int, cut: dict[str, Any]
) -> None:
    """Each segment in turn: in silence, in the middle of a sample, and with an error; the words of espeak-ng count."""
    espeak = CutEspeak(call, **cut)
    async with voice_service(espeak, default_provider="offline", segment_words=4) as voice:
        told = await voice.tell(TEXT, title=TITLE, word_timings=True)

    _is_whole(told, TEXT)
    assert undisturbed.audio == told.audio
    assert SEGMENTS + 1 == len(espeak.asked)
    assert 1 == sum(attempt.outcome == common_pb2.ATTEMPT_OUTCOME_FAILED for attempt in told.attempts)


@pytest.mark.parametrize("at", [0.0, 0.31, 0.7, 0.97])
@pytest.mark.parametrize("kind", ["truncate", "cut", "garbage"])
@pytest.mark.sampled(5)
async def test_frames_that_are_cut_are_asked_for_again(kind: str, at: float) -> None:
    """At the first byte, in the middle of frames and near the end, in every segment of the story."""
    sound = NamedVoice("mock")
    async with voice_service(sound) as voice:
        expected = await voice.tell(STORY, word_timings=True)
    calls = sound.journal.calls
    cuts = ({"kind": kind, "at": at, "match": request.text[:40]} for request in sound.journal.requests)
    troubled = NamedVoice("mock", faults(*cuts))
    async with voice_service(troubled, breaker_failures=100) as voice:
        told = await voice.tell(STORY, word_timings=True)

    assert expected.audio == told.audio
    assert [*expected.segments] == [*told.segments]
    assert 2 * calls == troubled.journal.calls == len(told.attempts)


async def _heard(voice: Voice, stop_after: int, **config: Any) -> Told:
    """What a caller gets who goes away once it has `stop_after` events of audio."""
    told = Told()

    async def requests() -> AsyncIterator[voice_pb2.SynthesizeSpeechRequest]:
        yield voice_pb2.SynthesizeSpeechRequest(config=voice_pb2.SpeechConfig(language_code="en", **config))
        yield voice_pb2.SynthesizeSpeechRequest(text=voice_pb2.TextPiece(text=TEXT))

    call = voice.stub.SynthesizeSpeech(requests(), timeout=30)
    try:
        while len(told.chunks) < stop_after and isinstance(
            response := await call.read(), voice_pb2.SynthesizeSpeechResponse
        ):
            told.add(response)
    finally:
        call.cancel()
    return told


def _held(told: Told) -> list[common_pb2.Segment]:
    """The segments that came whole, as a caller keeps them."""
    return [
        segment
        for index, segment in enumerate(told.segments)
        if len(told.audio) >= segment.audio.end and sha256(told.piece(index)) == segment.sha256
    ]


@pytest.mark.parametrize("stop_after", range(SEGMENTS + 1))
async def test_a_caller_that_is_cut_off_after_any_segment_goes_on_without_a_seam(
    undisturbed: Told, stop_after: int
) -> None:
    """What it holds and what it gets then are the whole file, and the words of both are the text, each once."""
    espeak = CutEspeak()
    async with voice_service(espeak, default_provider="offline", segment_words=4) as voice:
        before = await _heard(voice, stop_after, title=TITLE, word_timings=True)
        kept = _held(before)
        more: dict[str, Any] = {"pinned": before.header, "spoken_so_far": kept}
        after = await voice.tell(TEXT, title=TITLE, word_timings=True, **(more if before.header else {}))

    assert after.error is None
    assert undisturbed.audio == before.audio[: kept[-1].audio.end if kept else 0] + after.audio
    assert TEXT.replace(".", "").replace(",", "").split() == _words(TEXT, [*kept, *after.segments])
    # Every segment was asked for once, by whichever of the two calls.
    assert sorted(set(espeak.asked)) == sorted(espeak.asked)
    assert SEGMENTS == len(espeak.asked)
