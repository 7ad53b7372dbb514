"""A narration from the first word to the summary, over gRPC."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from support.voice_kit import STORY, NamedVoice, faults, sha256, voice_service
from support.voice_segments import fake_storage

from servicekit.ids import new_id
from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2
from voice_service.audio.mp3 import walk
from voice_service.synthesis.store import MemorySegments


class Forgetful(MemorySegments):
    """Loses so many segments when they are read."""

    loses = 0

    async def read(self, key: str) -> bytes:
        if self.loses:
            self.loses -= 1
            self.take(key)
        return await super().read(key)


def _samples(duration: Duration) -> int:
    return round(duration.ToNanoseconds() * 44_100 / 1_000_000_000)


async def test_a_narration_is_header_then_segments_with_their_chunks_then_summary() -> None:
    """Spans tile text and audio, checksums and lengths are right, and the whole is one MP3."""
    story_id, audio_id = new_id(), new_id()
    async with voice_service(NamedVoice("mock")) as voice:
        told = await voice.tell(title="The Fox", story_id=story_id, audio_id=audio_id, parent_attempt_id="attempt")

    assert told.error is None
    assert told.header is not None
    assert told.summary is not None
    assert ("header", "summary", 1, 1) == (
        told.kinds[0],
        told.kinds[-1],
        told.kinds.count("header"),
        told.kinds.count("summary"),
    )
    header = told.header
    assert (audio_id, "mock", "mock", "mock-1", "en", False) == (
        header.audio_id, header.provider, header.voice_id, header.model_id, header.language_code, header.embedded,
    )  # fmt: skip
    assert (common_pb2.AUDIO_FORMAT_MP3, "audio/mpeg", 44_100, 128_000) == (
        header.audio_format, header.content_type, header.sample_rate, header.bit_rate,
    )  # fmt: skip
    text = audio = samples = 0
    for index, segment in enumerate(told.segments):
        assert (index, text, audio) == (segment.index, segment.text.start, segment.audio.start)
        piece = told.piece(index)
        assert (sha256(piece), walk(piece).samples) == (
            segment.sha256,
            round(segment.duration.ToNanoseconds() * 44.1e-6),
        )
        assert round(segment.start.ToNanoseconds() * 44.1e-6) == samples
        text, audio, samples = segment.text.end, segment.audio.end, samples + walk(piece).samples
    assert (0, 0) == (told.segments[0].text.start, told.segments[0].text.end)
    assert (len(STORY), len(told.audio)) == (text, audio)
    assert walk(told.audio).samples == samples
    summary = told.summary
    assert (audio_id, len(told.audio), len(told.segments), 0, False) == (
        summary.audio_id, summary.size_bytes, summary.segment_count, summary.cached_segment_count, summary.embedded,
    )  # fmt: skip
    assert samples == _samples(summary.duration)
    assert {"segments_by_provider": {"mock": len(told.segments)}} == MessageToDict(summary.metadata)


async def test_chunks_follow_their_segment_and_are_at_most_256_kib() -> None:
    """Offsets count all bytes before."""
    async with voice_service(NamedVoice("mock")) as voice:
        told = await voice.tell(STORY)

    sizes = [after - before for before, after in zip(told.offsets, [*told.offsets[1:], len(told.audio)], strict=True)]
    assert 0 == told.offsets[0]
    assert all(0 < size <= 262_144 for size in sizes)
    starts = {segment.audio.start for segment in told.segments}
    assert starts <= set(told.offsets)
    assert "segment" == told.kinds[told.kinds.index("chunk") - 1]


async def test_an_attempt_comes_before_the_segment_that_it_led_to() -> None:
    """One line of the ledger for each call, with the attempt, the segment and what was sent."""
    mock = NamedVoice("mock")
    async with voice_service(mock) as voice:
        told = await voice.tell(STORY, parent_attempt_id="attempt-7")

    assert told.summary is not None
    assert [kind for kind in told.kinds if kind != "chunk"] == [
        "header", *["attempt", "segment"] * len(told.segments), "summary",
    ]  # fmt: skip
    assert list(range(len(told.segments))) == [attempt.segment_index for attempt in told.attempts]
    first = told.attempts[0]
    assert (common_pb2.ATTEMPT_KIND_SPEECH_CALL, common_pb2.ATTEMPT_OUTCOME_SUCCEEDED) == (first.kind, first.outcome)
    assert ("attempt-7", "mock", "mock-1", True) == (
        first.parent_attempt_id,
        first.provider,
        first.model,
        first.cost_known,
    )
    assert mock.journal.characters == sum(attempt.characters for attempt in told.attempts) == told.summary.characters
    assert len(told.attempts) == len({attempt.attempt_id for attempt in told.attempts})


async def test_however_the_text_is_chopped_the_audio_is_the_same() -> None:
    """Character by character, or in random pieces: byte for byte the same, and stored after the first time."""
    chance = random.Random(7)
    pieces, rest = [], STORY
    while rest:
        size = chance.randint(1, 120)
        pieces.append(rest[:size])
        rest = rest[size:]
    async with voice_service(NamedVoice("mock")) as voice:
        whole = await voice.tell(STORY, title="Fox")
        single = await voice.tell(list(STORY), title="Fox")
        chopped = await voice.tell(pieces, title="Fox")

    assert whole.audio == single.audio == chopped.audio
    assert whole.summary is not None
    assert single.summary is not None
    assert whole.summary.segment_count == single.summary.cached_segment_count


async def test_a_narration_repeated_calls_nobody() -> None:
    """Everything comes from the segment store, also when the provider is out of order by then."""
    mock = NamedVoice("mock", faults({"kind": "transport", "call": 6, "times": None}))
    async with voice_service(mock) as voice:
        first = await voice.tell(STORY)
        calls = mock.journal.calls
        second = await voice.tell(STORY)

    assert first.audio == second.audio
    assert (5, 5, []) == (calls, mock.journal.calls, second.attempts)
    assert second.summary is not None
    assert (len(first.segments), 0) == (second.summary.cached_segment_count, second.summary.characters)
    assert all(segment.cached for segment in second.segments)


async def test_a_segment_that_the_store_lost_is_made_again() -> None:
    """It was found, and its bytes are gone when they are read: the audio is what it was."""
    mock, store = NamedVoice("mock"), Forgetful()
    async with voice_service(mock, store=store) as voice:
        first = await voice.tell(STORY)
        calls = mock.journal.calls
        store.loses = 1
        second = await voice.tell(STORY)

    assert (first.audio, calls + 1) == (second.audio, mock.journal.calls)


async def test_two_narrations_of_one_text_at_once_pay_once() -> None:
    """Single flight: the ledger of both together is one of each."""
    mock = NamedVoice("mock", faults(first_byte_seconds=0.01))
    async with voice_service(mock) as voice:
        told = await asyncio.gather(*(voice.tell(STORY) for _ in range(8)))

    assert 1 == len({each.audio for each in told})
    assert mock.journal.calls == len(told[0].segments) == sum(len(each.attempts) for each in told)


async def test_every_story_that_waited_for_a_segment_is_noted_as_its_user() -> None:
    """One call, and the store knows of both."""
    first, second = new_id(), new_id()
    mock = NamedVoice("mock", faults(first_byte_seconds=0.05))
    async with fake_storage() as (storage, address), voice_service(mock, storage_target=address) as voice:
        stored = {"delivery": voice_pb2.DELIVERY_STORED}
        told = await asyncio.gather(*(voice.tell(STORY, story_id=each, **stored) for each in (first, second)))

    assert mock.journal.calls == len(told[0].segments) == len(storage.rows)
    assert all(users == {first, second} for users in storage.used_by.values())


async def test_a_direct_caller_needs_no_story_in_storage() -> None:
    """Its segments are stored for no story, so that what was paid for is not refused."""
    mock = NamedVoice("mock")
    async with fake_storage() as (storage, address), voice_service(mock, storage_target=address) as voice:
        told = await voice.tell(STORY, story_id=new_id())

    assert told.error is None
    assert all(users <= {""} for users in storage.used_by.values())


async def test_a_caller_that_leaves_fails_nobody_and_what_was_sent_is_kept() -> None:
    """The segment call of a cancelled leader is stored."""
    mock = NamedVoice("mock", faults(first_byte_seconds=0.05))
    async with voice_service(mock, segments_ahead=0) as voice:
        leader = asyncio.create_task(voice.tell(STORY))
        await mock.called.wait()
        leader.cancel()
        await asyncio.wait([leader])
        follower = await voice.tell(STORY)

    assert follower.error is None
    assert mock.journal.calls == mock.journal.finished == len(follower.segments)


async def test_words_are_told_where_they_stand_in_the_text() -> None:
    """Code points of the content, of the title in its segment, in growing times; Markdown is not spoken."""
    text = "🌙 She *ran* home. " + STORY
    async with voice_service(NamedVoice("mock")) as voice:
        told = await voice.tell(text, title="# The Fox", word_timings=True)
        without = await voice.tell(text, title="# The Fox")

    words = [text[word.text.start : word.text.end] for segment in told.segments[1:] for word in segment.words]
    assert ["The", "Fox"] == ["# The Fox"[word.text.start : word.text.end] for word in told.segments[0].words]
    assert ["She", "ran", "home", "Once", "there"] == words[:5]
    times = [word.start.ToMilliseconds() for segment in told.segments for word in segment.words]
    assert sorted(times) == times
    assert all(
        segment.start.ToMilliseconds() - 1 <= word.start.ToMilliseconds() <= word.end.ToMilliseconds()
        for segment in told.segments
        for word in segment.words
    )
    assert not any(segment.words for segment in without.segments)


async def test_a_segment_with_nothing_to_say_is_a_pause() -> None:
    """A row of dots or an emoji does not fail the story, and calls nobody."""
    mock = NamedVoice("mock")
    async with voice_service(mock, segment_words=1) as voice:
        told = await voice.tell("Good night.\n\nSleep well.\n\n🌙 …")

    assert told.error is None
    assert (3, 2) == (len(told.segments), mock.journal.calls)
    assert 300 < told.segments[2].duration.ToMilliseconds() < 600


async def test_a_title_alone_is_a_narration() -> None:
    """The text may stay empty."""
    async with voice_service(NamedVoice("mock")) as voice:
        told = await voice.tell([], title="The Fox")

    assert told.summary is not None
    assert (1, None) == (told.summary.segment_count, told.error)


@pytest.mark.parametrize(
    ("title", "text", "language"),
    [
        ("", STORY, "en"),
        ("Der Fuchs", "Es war einmal ein kleiner Fuchs, der nicht schlafen konnte.", "de"),
        ("", "Жила-была лиса. Она не могла уснуть.", "ru"),
        ("", "Había una vez un pequeño zorro que no podía dormir.", "es"),
        ("Лиса", [], "ru"),
        ("…", [], "en"),
    ],
)
async def test_the_language_is_told_from_the_text_where_it_is_not_given(
    title: str, text: str | list[str], language: str
) -> None:
    """By the title and the first sentence; where they are too short by their letters, else it is English."""
    async with voice_service(NamedVoice("mock")) as voice:
        told = await voice.tell(text, title=title, language_code="")

    assert told.header is not None
    assert language == told.header.language_code


async def test_no_further_call_starts_for_a_caller_that_is_gone() -> None:
    """What was sent is stored; the many that were not never begin."""
    mock = NamedVoice("mock", faults(first_byte_seconds=0.05))
    async with voice_service(mock, segments_ahead=1, segment_words=1) as voice:
        leader = asyncio.create_task(voice.tell(STORY * 20))
        await mock.called.wait()
        leader.cancel()
        await asyncio.wait([leader])
        await voice.service.server.drain()

    # Of several hundred.
    assert 1 <= mock.journal.calls == mock.journal.finished < 100


async def test_audio_starts_while_the_text_is_being_written() -> None:
    """The title and the first sentence sound before the text has ended, and the text is read however it comes."""
    more = asyncio.Event()

    async def requests() -> AsyncIterator[voice_pb2.SynthesizeSpeechRequest]:
        yield voice_pb2.SynthesizeSpeechRequest(config=voice_pb2.SpeechConfig(title="The Fox", language_code="en"))
        yield voice_pb2.SynthesizeSpeechRequest(text=voice_pb2.TextPiece(text=STORY[:200]))
        await more.wait()
        yield voice_pb2.SynthesizeSpeechRequest(text=voice_pb2.TextPiece(text=STORY[200:]))

    async with voice_service(NamedVoice("mock")) as voice:
        heard = []
        async for response in voice.stub.SynthesizeSpeech(requests(), timeout=30):
            heard.append(response)
            if response.HasField("segment") and response.segment.index == 1:
                more.set()

    assert "summary" == heard[-1].WhichOneof("event")


async def test_many_narrations_at_once_all_end_well() -> None:
    """64 different stories on one service."""
    async with voice_service(NamedVoice("mock", faults(first_byte_seconds=0.002))) as voice:
        told = await asyncio.gather(*(voice.tell(f"Story number {number}. {STORY}") for number in range(64)))

    assert [None] * 64 == [each.error for each in told]
    assert all(each.summary is not None and len(each.audio) == each.summary.size_bytes for each in told)


async def test_a_long_text_is_narrated_to_its_end() -> None:
    """65,536 characters, the most there may be."""
    text = (STORY * 120)[:65_535] + "."
    async with voice_service(NamedVoice("mock")) as voice:
        told = await voice.tell(text)

    assert told.error is None
    assert 65_536 == told.segments[-1].text.end
