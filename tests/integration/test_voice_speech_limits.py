"""Servers that take short texts, and voices that no list has: what is asked for, and what comes of it."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
from support.speech_fake import Reply, Speech, SpeechFake, load_sdk, speech_config, speech_fake, speech_provider
from support.voice_kit import STORY
from support.voice_virtual import VirtualTold, VirtualVoice, Weather, virtual_voice

from servicekit.resilience.errors import ProviderError
from standins.virtual_time import run_virtually
from voice_service.audio.decode import decode
from voice_service.ports import AudioChunk, CallFacts, SegmentRequest
from voice_service.providers.speech.parts import first_part
from voice_service.providers.speech.provider import SpeechProvider

LONG = STORY + "".join(
    f"On night {night} the owl told her of a far country, where it never rained. " for night in range(9)
)
ONE = "The fox ran home over the hill, and she was very tired, and then she slept until the morning came to her. " * 2


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """The SDK is loaded once, since it may take longer than virtual time waits for a thread."""
    asyncio.run(load_sdk())


def _run(work: Callable[[VirtualVoice, SpeechFake], Awaitable[Any]], *others: Weather, **given: Any) -> Any:
    async def run() -> Any:
        async with speech_fake() as server:
            provider = SpeechProvider(speech_config(server.url, **given))
            await provider.list_voices()
            fallback = tuple(each.metadata.name for each in others)
            async with virtual_voice(provider, *others, default_provider="speech", provider_fallback=fallback) as voice:
                return server, await work(voice, server)

    return run_virtually(run())


def _refuse(server: SpeechFake, most: int, status: int, said: object) -> None:
    """Has the server refuse longer texts, in these words."""

    def answer(speech: Speech) -> Reply:
        if len(speech.body["input"]) <= most:
            return Reply()
        return Reply(status=status, body=json.dumps(said).encode(), content_type="application/json")

    server.answers = answer


REFUSALS = [
    (200, 400, {"error": {"message": "Input is too long (max 200 characters)", "type": "invalid_request_error"}}),
    (200, 400, {"error": {"code": 400, "message": "The text must be at most 200 characters long."}}),
    (200, 422, {"detail": [{"type": "string_too_long", "loc": ["body", "input"], "ctx": {"max_length": 200}}]}),
    (200, 422, {"detail": [{"loc": ["body", "input"], "msg": "String should have at most 200 characters"}]}),
    (200, 413, {"detail": "Text length exceeds the maximum of 200"}),
    (200, 400, {"error": "200 character limit exceeded"}),
    (200, 500, {"detail": "Input text of 1,312 characters is longer than 200"}),
    (120, 400, {"error": {"message": "This model's maximum context length is 240 tokens. You requested 900 tokens."}}),
]


@pytest.mark.parametrize(("most", "status", "said"), REFUSALS)
def test_limit_that_a_refusal_names_is_learned(most: int, status: int, said: object) -> None:
    """It is repeated once with it, and every later text is cut to it; each text is spoken once."""

    async def work(voice: VirtualVoice, server: SpeechFake) -> VirtualTold:
        _refuse(server, most, status, said)
        return await voice.tell(LONG)

    server, told = _run(work)
    assert told.failure is None
    refused = [text for text in server.texts if len(text) > most]
    spoken = [text for text in server.texts if len(text) <= most]
    assert 1 <= len(refused) <= 4
    assert {1} == {*Counter(server.texts).values()}
    assert Counter(LONG.split()) == Counter(" ".join(spoken).split())
    assert {"speech"} == {segment.provider for segment in told.segments}
    assert [] == [each.reason for each in told.attempts if each.reason]
    assert len(told.segments) == len(told.attempts) < len(spoken)


def test_limit_that_is_learned_is_remembered() -> None:
    """The next story is not refused once, and the limit is what ListProviders says."""

    async def work(voice: VirtualVoice, server: SpeechFake) -> int:
        _refuse(server, 200, 400, REFUSALS[0][2])
        await voice.tell(LONG)
        before = len(server.texts)
        await voice.tell(LONG.replace("owl", "cat"))
        return before

    server, before = _run(work)
    assert max(map(len, server.texts[before:])) <= 200


FOUR = "".join(
    f"Once upon {night} nights there was an owl who lived in an old mill, and it slept. " for night in range(4)
)
SENTENCES = [f"{each}." for each in FOUR.split(". ")[:4]]


async def _heard(provider: SpeechProvider) -> tuple[bytes, str, list[int]]:
    """The sound of a segment in four parts, its Content-Type, and the characters that its calls report."""
    sound, content_type, characters = b"", "", list[int]()
    async with aclosing(provider.synthesize(SegmentRequest(text=FOUR, language_code="en"))) as items:
        async for item in items:
            if isinstance(item, AudioChunk):
                sound += item.data
            elif isinstance(item, CallFacts):
                content_type = item.content_type or content_type
                characters += [] if item.characters_billed is None else [item.characters_billed]
    return sound, content_type, characters


@pytest.mark.parametrize("form", ["pcm", "wav", "flac", "mp3", "opus"])
async def test_parts_are_one_segment(form: str) -> None:
    """Cut where a sentence ends, and as long as the parts together, whatever the format."""
    async with speech_provider(max_text_length=100, response_format=form) as (provider, server):
        server.sample_rate = 48_000 if form == "opus" else 24_000
        sound, content_type, _ = await _heard(provider)
        decoded = decode(sound, content_type=content_type, sample_rate=24_000)

    assert SENTENCES == server.texts
    assert decoded.duration == pytest.approx(sum(map(len, SENTENCES)) / 15, abs=0.4)


@pytest.mark.parametrize("fault", [Reply(status=500), Reply(cut_after=20_000), Reply(body=bytes(9_000))])
async def test_part_that_fails_costs_no_other_part(fault: Reply) -> None:
    """The parts before it are not asked for again; what the next call sends is what is billed."""
    async with speech_provider(max_text_length=100) as (provider, server):
        whole, _, _ = await _heard(provider)
        server.speeches.clear()
        server.script(Reply(), Reply(), fault)
        with pytest.raises(ProviderError):
            await _heard(provider)
        again, _, characters = await _heard(provider)

    assert whole == again
    assert [1, 1, 2, 1] == [Counter(server.texts)[each] for each in SENTENCES]
    assert [len(FOUR) - FOUR.index(SENTENCES[2])] == characters


@pytest.mark.parametrize(
    "said", [{"error": "Input is too long (max 300 characters)"}, {"error": "the text is too long"}]
)
def test_refusal_that_helps_nothing_is_one_call(said: object) -> None:
    """A limit that the text keeps, or none: it is refused for good."""

    async def work(voice: VirtualVoice, server: SpeechFake) -> VirtualTold:
        _refuse(server, 20, 400, said)
        return await voice.tell("The fox ran home over the hill, and she was very tired.")

    server, told = _run(work)
    assert told.failure is not None
    assert "UPSTREAM_REFUSED" == told.failure.reason
    assert 1 == len(server.texts)


def test_server_that_refuses_its_own_limit_is_not_asked_for_ever() -> None:
    """Once with the limit that it names, and no more."""

    async def work(voice: VirtualVoice, server: SpeechFake) -> VirtualTold:
        _refuse(server, 10, 400, {"error": "Input is too long (max 60 characters)"})
        return await voice.tell(ONE)

    server, told = _run(work)
    assert told.failure is not None
    assert "UPSTREAM_REFUSED" == told.failure.reason
    assert 2 == len(server.texts)


@pytest.mark.parametrize(
    ("text", "most", "parts"),
    [
        ("One fox. Two owls. Three cats.", 20, ["One fox. Two owls. ", "Three cats."]),
        ("She met Dr. Owl in town. He slept.", 25, ["She met Dr. Owl in town. ", "He slept."]),
        ("when it rained, the fox stayed at home", 20, ["when it rained, ", "the fox stayed at ", "home"]),
        ("one two three four", 9, ["one two ", "three ", "four"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("狐狸睡着了。猫头鹰也睡着了。", 8, ["狐狸睡着了。", "猫头鹰也睡着了。"]),
        ("abce\u0301fg", 4, ["abc", "e\u0301fg"]),
    ],
)
def test_parts_end_where_a_reader_pauses(text: str, most: int, parts: list[str]) -> None:
    """A sentence, a clause, a word, a character."""
    found, rest = [], text
    while rest:
        end = first_part(rest, most, "en")
        found.append(rest[:end])
        rest = rest[end:]

    assert parts == found


KOKORO = {"voices": ["af_heart", "af_bella", "am_adam", "bf_emma"]}


@pytest.mark.parametrize("key", ["", "secret-key"])
@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("af_bella+af_sky", "af_bella+af_sky"),
        ("af_bella(2)+af_sky(1)", "af_bella(2)+af_sky(1)"),
        ("alloy", "alloy"),
        ("/voices/grandmother.wav", "/voices/grandmother.wav"),
        (" AF_Bella ", "af_bella"),
    ],
)
@pytest.mark.parametrize("listed", [KOKORO, None])
@pytest.mark.sampled(3)
def test_voice_that_no_list_has_is_used(key: str, asked: str, sent: str, listed: Any) -> None:
    """No call but those for the texts; how a listed name is written is corrected."""

    async def run() -> tuple[SpeechFake, VirtualTold]:
        async with speech_fake() as server:
            server.voices = listed
            provider = SpeechProvider(speech_config(server.url, key, paid=bool(key)))
            async with virtual_voice(provider, default_provider="speech") as voice:
                return server, await voice.tell(STORY, voice={"voice_id": asked})

    server, told = run_virtually(run())
    assert told.failure is None
    assert {sent if listed else asked.strip()} == {speech.body["voice"] for speech in server.speeches}
    assert {1} == {*Counter(server.texts).values()}
    assert len(told.segments) == len(server.texts)


@pytest.mark.parametrize("key", ["", "secret-key"])
@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, {"error": {"message": "Invalid value: 'x'. Supported values are: 'a'.", "param": "voice"}}),
        (
            400,
            {
                "detail": {
                    "error": "validation_error",
                    "message": "Voice 'af_hart' not found. Available voices: af_heart",
                }
            },
        ),
        (404, {"detail": "Not Found"}),
        (422, {"detail": [{"type": "literal_error", "loc": ["body", "voice"], "msg": "Input should be 'a' or 'b'"}]}),
        (500, {"detail": "Unknown voice af_hart"}),
    ],
)
def test_voice_that_is_refused_is_one_call_and_names_the_nearest(key: str, status: int, said: object) -> None:
    """VOICE_NOT_FOUND before anything is paid: a refusal costs nothing, and no other text is sent before it."""

    async def run() -> tuple[SpeechFake, VirtualTold]:
        async with speech_fake() as server:
            server.voices = KOKORO
            server.answers = lambda _: Reply(status=status, body=json.dumps(said).encode())
            provider = SpeechProvider(speech_config(server.url, key, paid=bool(key)))
            async with virtual_voice(provider, default_provider="speech") as voice:
                return server, await voice.tell(STORY, voice={"voice_id": "af_hart"})

    server, told = run_virtually(run())
    assert told.failure is not None
    assert ("VOICE_NOT_FOUND", False) == (told.failure.reason, told.failure.retryable)
    assert "no voice af_hart; its list has af_heart" in told.failure.message
    assert 1 == len(server.texts)


def test_voice_that_is_refused_is_replaced_where_another_falls_back() -> None:
    """The next provider speaks, and the warning says why."""

    async def work(voice: VirtualVoice, server: SpeechFake) -> VirtualTold:
        server.answers = lambda _: Reply(status=404)
        return await voice.tell(STORY, voice={"voice_id": "af_hart"})

    _, told = _run(work, Weather("other"))
    assert told.failure is None
    assert {"other"} == {segment.provider for segment in told.segments}
    assert ["PROVIDER_FAILED"] == told.warned
