"""Narrations that ElevenLabs speaks, whole however its streams break."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from support.elevenlabs_fake import (
    KEY,
    RACHEL,
    Break,
    ElevenLabsFake,
    Fault,
    elevenlabs_config,
    elevenlabs_fake,
    listed_voice,
)
from support.voice_kit import STORY, Voice, voice_service

from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2
from voice_service.audio.mp3 import walk
from voice_service.providers.elevenlabs.provider import ElevenLabsProvider


@pytest.fixture
async def fake() -> AsyncIterator[ElevenLabsFake]:
    """An ElevenLabs."""
    async with elevenlabs_fake() as running:
        yield running


@pytest.fixture
async def voice(fake: ElevenLabsFake) -> AsyncIterator[Voice]:
    """A voice service that speaks with it alone."""
    provider = ElevenLabsProvider(elevenlabs_config(fake.url))
    async with voice_service(provider, default_provider="elevenlabs", segment_words=40, segments_ahead=0) as running:
        yield running


def _expected(fake: ElevenLabsFake) -> bytes:
    """What ElevenLabs makes of the texts that it was asked for, one after the other, each once."""
    bodies = {call.body["text"]: call.body for call in fake.speeches if call.body is not None}
    return b"".join(fake.sound(body, RACHEL) for body in bodies.values())


def _spoken(audio: bytes) -> bytes:
    """Leaves out the frames of silence between paragraphs."""
    return audio.replace(bytes([*audio[:2], audio[2] & ~2, audio[3]]) + bytes(413), b"")


async def test_a_story_is_told_by_elevenlabs(fake: ElevenLabsFake, voice: Voice) -> None:
    """Each segment once, with the text before it, and written down with what ElevenLabs calls it and bills for it."""
    told = await voice.tell()

    assert told.error is None
    assert told.header is not None
    assert ("elevenlabs", RACHEL, "eleven_multilingual_v2") == (
        told.header.provider,
        told.header.voice_id,
        told.header.model_id,
    )
    bodies = [call.body for call in fake.speeches if call.body is not None]
    assert len(told.segments) == len(bodies)
    assert _expected(fake) == _spoken(told.audio)
    assert [None, *(body["text"] for body in bodies[:-1])] == [body.get("previous_text") for body in bodies]
    assert {f"req-{number}" for number in range(1, len(bodies) + 1)} == {
        attempt.metadata["request_id"] for attempt in told.attempts
    }
    assert sum(len(body["text"]) for body in bodies) == sum(attempt.characters for attempt in told.attempts)


async def test_the_surest_voice_of_a_language_tells_the_story(fake: ElevenLabsFake, voice: Voice) -> None:
    """A default with a word about the language in its name does not displace one that was tried in it."""
    fake.voices = [
        listed_voice(RACHEL, "Rachel (speaks a little Russian)"),
        listed_voice("VerifiedVoice0000001", "Ivan", verified=[("ru", "ru-RU")]),
    ]
    told = await voice.tell(language_code="ru")

    assert told.header is not None
    assert "VerifiedVoice0000001" == told.header.voice_id


@pytest.mark.parametrize(("model_id", "calls"), [("eleven_multilingual_v2", 4), ("eleven_v3", 3)])
async def test_the_text_before_makes_another_segment_only_for_models_that_take_it(
    fake: ElevenLabsFake, voice: Voice, model_id: str, calls: int
) -> None:
    """For others the same words come from the cache whatever stood before them."""
    rest = " Then all of them went home, and slept until the morning came."
    for first in ("A fox came by.", "An owl flew in."):
        told = await voice.tell(first + rest, voice=common_pb2.VoiceSelection(model_id=model_id))
        assert 2 == len(told.segments)

    assert calls == len(fake.speeches)
    assert (4 == calls) == any("previous_text" in call.body for call in fake.speeches if call.body is not None)


async def test_word_timings_of_all_segments_are_told(fake: ElevenLabsFake, voice: Voice) -> None:
    """Every word of the story once, at times that grow."""
    told = await voice.tell(word_timings=True)
    words = [word for segment in told.segments for word in segment.words]

    assert fake.speeches
    assert ["Once", "there", "was", "a", "small", "fox"] == [
        STORY[word.text.start : word.text.end] for word in words[:6]
    ]
    starts = [word.text.start for word in words]
    assert sorted(set(starts)) == starts


async def test_voices_that_could_not_be_listed_anew_are_called_stale(fake: ElevenLabsFake) -> None:
    """They are listed all the same."""
    seconds = [0.0]
    provider = ElevenLabsProvider(elevenlabs_config(fake.url), clock=lambda: seconds[0])
    request = voice_pb2.ListVoicesRequest(provider="elevenlabs", language_code="en")
    answers = []
    async with voice_service(provider, default_provider="elevenlabs") as running:
        for seconds[0] in (0.0, 601.0, 602.0):
            answers.append(await running.stub.ListVoices(request, timeout=10))
            if len(answers) == 1:
                fake.fail("/v1/voices", Fault(status=503))
            await provider._catalog.voices.settled()

    assert [False, False, True] == [answer.stale for answer in answers]
    assert [[RACHEL]] * 3 == [[voice.voice_id for voice in answer.voices] for answer in answers]


@pytest.mark.parametrize("breaks", [Break.CUT, Break.NULL_AUDIO, Break.END, Break.BAD_LINE, Break.ERROR_LINE])
async def test_a_stream_that_breaks_in_every_segment_costs_calls_and_nothing_else(
    fake: ElevenLabsFake, voice: Voice, breaks: Break
) -> None:
    """Exact audio, no word twice and none missing: each segment is asked for again, and only that one."""
    whole = await voice.tell()
    undisturbed = len(fake.speeches)
    texts = [call.body["text"] for call in fake.speeches if call.body is not None]
    fake.journal.clear()
    fake.fail_every_other(Fault(breaks=breaks, code="system_busy"))

    told = await voice.tell(voice=common_pb2.VoiceSelection(settings=common_pb2.VoiceSettings(stability=0.4)))

    assert told.error is None
    assert 2 * undisturbed == len(fake.speeches)
    assert Counter(dict.fromkeys(texts, 2)) == Counter(
        call.body["text"] for call in fake.speeches if call.body is not None
    )
    assert walk(whole.audio).samples == walk(told.audio).samples
    assert _expected(fake) == _spoken(told.audio)
    assert {KEY} == {call.key for call in fake.speeches}
