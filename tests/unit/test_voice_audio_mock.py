"""The mock voice: deterministic silence, on a script."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from support.voice_samples import ENGLISH

from servicekit.resilience.errors import TREATMENTS, ProviderError, ProviderErrorKind
from voice_service.audio.lengths import duration_bounds
from voice_service.audio.mp3 import Mp3Error, Mp3Fault, walk
from voice_service.ports import AudioChunk, SegmentRequest, SpeechItem, Timings, VoiceProvider, VoiceSettings
from voice_service.providers.mock.provider import MockVoiceProvider, frames_for, silent_mp3
from voice_service.providers.mock.script import MockScript

LONG = "A story about a dragon who could not sleep. " * 5


def request(text: str = LONG, **fields: Any) -> SegmentRequest:
    """A request in English."""
    return SegmentRequest(**{"text": text, "language_code": "en", **fields})


def scripted(**script: object) -> MockVoiceProvider:
    """A provider with a script, by way of JSON."""
    return MockVoiceProvider(MockScript.model_validate_json(json.dumps(script)))


async def items(provider: VoiceProvider, asked: SegmentRequest) -> list[SpeechItem]:
    """Everything that the provider gives for a request."""
    return [item async for item in provider.synthesize(asked)]


async def sound(provider: VoiceProvider, asked: SegmentRequest) -> bytes:
    """The bytes of a segment."""
    return b"".join(item.data for item in await items(provider, asked) if isinstance(item, AudioChunk))


async def sound_before_error(provider: VoiceProvider, asked: SegmentRequest) -> tuple[bytes, ProviderError]:
    """The bytes that came before the stream broke, and how it broke."""
    came = b""
    try:
        async for item in provider.synthesize(asked):
            if isinstance(item, AudioChunk):
                came += item.data
    except ProviderError as error:
        return came, error
    pytest.fail("the stream did not break")


@given(st.binary(max_size=16), st.integers(min_value=1, max_value=200))
def test_silence_is_whole_frames_of_the_stated_rate(seed: bytes, frames: int) -> None:
    """Any number of frames walks, with the bytes that 128 kbit/s takes."""
    walked = walk(silent_mp3(seed, frames))

    assert (frames, 128_000) == (walked.frames, walked.bit_rate)
    assert frames * 20_480 // 49 == len(walked.data)


def test_no_run_of_frames_is_like_another() -> None:
    """Runs of 49 frames differ, so a lost or repeated one shows."""
    data = silent_mp3(b"x", 49 * 4)

    assert 4 == len({data[start : start + 20_480] for start in range(0, len(data), 20_480)})


async def test_same_request_gives_the_same_bytes() -> None:
    """Two providers say the same to the same request, and it passes verification."""
    first = await sound(MockVoiceProvider(), request(ENGLISH))

    assert first == await sound(MockVoiceProvider(), request(ENGLISH))
    assert frames_for(len(ENGLISH) / 15) == walk(first).frames
    assert duration_bounds(ENGLISH).admit(walk(first).duration)


@pytest.mark.parametrize(
    "other",
    [
        request(LONG[:-2] + "!"),
        request(voice_id="other"),
        request(model_id="other"),
        request(settings=VoiceSettings(stability=0.5)),
    ],
    ids=["text", "voice", "model", "settings"],
)
async def test_another_request_gives_other_bytes(other: SegmentRequest) -> None:
    """Text, voice, model and settings each change the bytes."""
    provider = MockVoiceProvider()

    assert await sound(provider, request()) != await sound(provider, other)


async def test_what_does_not_change_the_voice_does_not_change_the_bytes() -> None:
    """Naming the defaults, asking for timings or giving previous text is the same request."""
    provider = MockVoiceProvider()
    same = request(voice_id="mock", model_id="mock-1", previous_text="Before.", with_timings=True)

    assert await sound(provider, request()) == await sound(provider, same)


async def test_length_is_what_the_text_needs() -> None:
    """Fifteen characters a second at the asked speed, 0.2 s at least."""
    provider = MockVoiceProvider()
    fast = request(settings=VoiceSettings(speed=2.0))

    assert frames_for(len(LONG) / 15) == walk(await sound(provider, request())).frames
    assert frames_for(len(LONG) / 30) == walk(await sound(provider, fast)).frames
    assert frames_for(0.2) == walk(await sound(provider, request("A"))).frames


async def test_timings_are_spread_over_the_words() -> None:
    """Words come in order, within the sound, as spans of the text."""
    last = (await items(MockVoiceProvider(), request("Good night, 🐉 Mia.", with_timings=True)))[-1]

    assert isinstance(last, Timings)
    assert ["Good", "night", "🐉", "Mia"] == [
        "Good night, 🐉 Mia."[word.text_start : word.text_end] for word in last.words
    ]
    assert sorted(last.words, key=lambda word: (word.start, word.end)) == list(last.words)


async def test_chunks_have_the_scripted_size() -> None:
    """All chunks but the last are as large as asked."""
    sizes = [
        len(item.data) for item in await items(scripted(chunk_bytes=1000), request()) if isinstance(item, AudioChunk)
    ]

    assert {1000} == set(sizes[:-1])


async def test_pace_follows_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first chunk waits for its latency, each for the moment at which a voice of that speed has spoken it."""
    clock = [100.0]
    came = []

    async def sleep(seconds: float) -> None:
        clock[0] += max(0.0, seconds)

    loop = SimpleNamespace(time=lambda: clock[0])
    monkeypatch.setattr(
        "voice_service.providers.mock.provider.asyncio", SimpleNamespace(sleep=sleep, get_running_loop=lambda: loop)
    )

    async for item in scripted(first_byte_seconds=0.5, realtime_factor=4, chunk_bytes=16_000).synthesize(request()):
        assert isinstance(item, AudioChunk)
        came.append((clock[0], len(item.data)))

    assert [100.75, 101.0, 101.25] == [pytest.approx(moment) for moment, _ in came[:3]]
    assert 100.5 + sum(size for _, size in came) / 16_000 / 4 == pytest.approx(clock[0])


@pytest.mark.parametrize("kind", list(ProviderErrorKind))
async def test_scripted_error_is_raised_once(kind: ProviderErrorKind) -> None:
    """Every kind of ProviderError can be scripted, by name in any case; the next call succeeds."""
    provider = scripted(faults=[{"kind": kind.name, "retry_after": 2.5}])

    came, error = await sound_before_error(provider, request())

    assert (b"", kind, 2.5) == (came, error.kind, error.retry_after)
    assert TREATMENTS[kind].retry is error.retryable
    assert walk(await sound(provider, request())).frames > 0


async def test_truncated_stream_ends_inside_a_frame() -> None:
    """Its end looks like an end, and the walk refuses it."""
    spoiled = await sound(scripted(faults=[{"kind": "truncate", "at": 1}]), request())

    with pytest.raises(Mp3Error) as caught:
        walk(spoiled)

    assert Mp3Fault.TRUNCATED == caught.value.fault


async def test_short_stream_is_whole_frames_and_too_few() -> None:
    """Its frames are whole; only its length tells."""
    spoiled = await sound(scripted(faults=[{"kind": "short"}]), request())

    assert walk(spoiled).frames > 0
    assert not duration_bounds(LONG).admit(walk(spoiled).duration)


async def test_garbage_is_between_frames() -> None:
    """The stream is as long as it should be, and no stream of frames."""
    spoiled = await sound(scripted(faults=[{"kind": "garbage"}]), request())

    with pytest.raises(Mp3Error) as caught:
        walk(spoiled)

    assert Mp3Fault.GARBAGE == caught.value.fault


async def test_cut_stream_breaks_off_with_a_transport_error() -> None:
    """A share of the bytes comes, then the error."""
    whole = await sound(MockVoiceProvider(), request())

    came, error = await sound_before_error(scripted(faults=[{"kind": "cut", "at": 0.25}]), request())

    assert whole[: len(whole) // 4] == came
    assert ProviderErrorKind.TRANSPORT == error.kind


async def test_stalled_stream_gives_no_more_until_it_is_cancelled() -> None:
    """Bytes come, then nothing: neither more nor an end."""
    whole = await sound(MockVoiceProvider(), request())
    stream = scripted(faults=[{"kind": "stall", "at": 0.5}], chunk_bytes=len(whole)).synthesize(request())
    first = await anext(stream)

    waiting = asyncio.ensure_future(anext(stream))
    for _ in range(100):
        await asyncio.sleep(0)
    stalled = not waiting.done()
    waiting.cancel()

    assert AudioChunk(whole[: len(whole) // 2]) == first
    assert stalled
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize(
    ("fault", "struck"),
    [
        ({"match": "dragon"}, [False, True, False, False]),
        ({"match": "dragon", "times": None}, [False, True, False, True]),
        ({"pattern": "^M.a$"}, [True, False, False, False]),
        ({"call": 3}, [False, False, True, False]),
        ({"call": 2, "times": 2}, [False, True, True, False]),
        ({"times": 3}, [True, True, True, False]),
    ],
)
async def test_fault_strikes_the_calls_that_it_names(fault: dict[str, object], struck: list[bool]) -> None:
    """By text, by pattern, by number of the call, and so many times."""
    provider = scripted(faults=[{"kind": "overload", **fault}])
    outcomes = []

    for text in ("Mia", "a dragon", "the sea", "a dragon"):
        try:
            await sound(provider, request(text))
        except ProviderError:
            outcomes.append(True)
        else:
            outcomes.append(False)

    assert struck == outcomes


async def test_journal_counts_calls_and_characters() -> None:
    """Every call is noted, whole or not."""
    provider = scripted(faults=[{"kind": "rate", "call": 2}])

    await sound(provider, request("Mia"))
    await sound_before_error(provider, request("night"))

    assert (2, 1, 8) == (provider.journal.calls, provider.journal.finished, provider.journal.characters)
    assert ["Mia", "night"] == [asked.text for asked in provider.journal.requests]


async def test_unconfigured_provider_says_so_and_does_not_speak() -> None:
    """`configured: false` is told by the check and by every call."""
    provider = scripted(configured=False)

    assert "VOICE_MOCK_SCRIPT" in await provider.validate_configuration()
    _, error = await sound_before_error(provider, request())
    assert (ProviderErrorKind.AUTH, False) == (error.kind, error.retryable)


async def test_script_decides_what_the_provider_claims() -> None:
    """Payment and languages are the script's; a voice is listed for those languages alone."""
    provider = scripted(paid=True, languages=["ru"])

    assert "" == await provider.validate_configuration()
    assert (True, ("ru",)) == (provider.metadata.paid, provider.metadata.languages)
    assert 1 == len(await provider.list_voices("ru-RU")) == len(await provider.list_voices())
    assert () == await provider.list_voices("en")


@pytest.mark.parametrize("text", ["", " \n ", "x" * 5001])
async def test_text_that_no_provider_takes_is_refused(text: str) -> None:
    """Nothing to say, or more than is allowed, is the caller's mistake."""
    _, error = await sound_before_error(MockVoiceProvider(), request(text))

    assert ProviderErrorKind.INVALID_INPUT == error.kind


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ({"faults": [{"kind": "explode"}]}, "must be one of invalid_input"),
        ({"faults": [{"kind": "rate", "call": 0}]}, "greater than or equal to 1"),
        ({"faults": [{"kind": "rate", "pattern": "("}]}, "no regular expression"),
        ({"faults": [{"kind": "rate", "match": "a", "call": 1}]}, "only one of match, pattern and call"),
        ({"first_byte_second": 1}, "Extra inputs are not permitted"),
        ({"realtime_factor": -1}, "greater than or equal to 0"),
    ],
)
def test_script_with_a_mistake_is_refused(script: dict[str, object], complaint: str) -> None:
    """The error names the mistake."""
    with pytest.raises(ValidationError, match=complaint):
        MockScript.model_validate_json(json.dumps(script))
