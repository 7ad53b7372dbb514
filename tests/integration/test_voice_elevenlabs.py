"""The ElevenLabs provider against a small ElevenLabs that fails as it is told, and against aimock."""

import asyncio
import base64
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.aimock import aimock
from support.elevenlabs_fake import (
    KEY,
    RACHEL,
    UNLISTED,
    Break,
    ElevenLabsFake,
    Fault,
    elevenlabs_config,
    elevenlabs_fake,
    listed_model,
    listed_voice,
)

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.secrets import SecretSource
from voice_service.audio.mp3 import walk
from voice_service.ports import (
    AudioChunk,
    CallFacts,
    NativeFormat,
    SegmentRequest,
    Timings,
    VoiceRefusedError,
    VoiceSettings,
)
from voice_service.providers.elevenlabs.api import Endpoint
from voice_service.providers.elevenlabs.provider import ElevenLabsProvider
from voice_service.providers.mock.provider import silent_mp3

TEXT = "Once there was a fox named Mia, who could not sleep. She counted the stars above the sea until morning."
TIMED = "stream/with-timestamps"
PLAIN = "/stream"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def fake() -> AsyncIterator[ElevenLabsFake]:
    """An ElevenLabs."""
    async with elevenlabs_fake() as running:
        yield running


@pytest.fixture
async def provider(fake: ElevenLabsFake) -> AsyncIterator[ElevenLabsProvider]:
    """A provider that calls it."""
    async with _provider(fake.url) as made:
        yield made


@asynccontextmanager
async def _provider(
    url: str,
    clock: Clock | None = None,
    observe: Callable[[str, str, float], None] = lambda _endpoint, _status, _seconds: None,
    **more: Any,
) -> AsyncIterator[ElevenLabsProvider]:
    made = ElevenLabsProvider(elevenlabs_config(url, **more), observe=observe, clock=clock or Clock())
    try:
        yield made
    finally:
        await made.aclose()


def _request(text: str = TEXT, language_code: str = "en", **more: Any) -> SegmentRequest:
    return SegmentRequest(**{"text": text, "language_code": language_code, "voice_id": RACHEL, **more})


async def _items(provider: ElevenLabsProvider, request: SegmentRequest) -> list[AudioChunk | Timings | CallFacts]:
    async with aclosing(provider.synthesize(request)) as items:
        return [item async for item in items]


async def _failure(provider: ElevenLabsProvider, request: SegmentRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await _items(provider, request)
    assert "elevenlabs" == caught.value.provider
    assert "Mia" not in str(caught.value)
    assert KEY not in str(caught.value)
    return caught.value


def _audio(items: list[AudioChunk | Timings | CallFacts]) -> bytes:
    return b"".join(item.data for item in items if isinstance(item, AudioChunk))


LACKS_VOICES = Fault(
    status=401,
    body={
        "detail": {
            "status": "missing_permissions",
            "message": "The API key you used is missing the permission voices_read to execute this operation.",
        }
    },
)
PLAN = Fault(
    status=402,
    body={
        "detail": {
            "status": "payment_required",
            "message": "Free users cannot use library voices via the API. Please upgrade your subscription.",
        }
    },
)
HTTP_FAILURES = [
    (401, "quota_exceeded", ProviderErrorKind.QUOTA),
    (401, "invalid_api_key", ProviderErrorKind.AUTH),
    (401, "needs_authorization", ProviderErrorKind.AUTH),
    (401, "missing_permissions", ProviderErrorKind.AUTH),
    (401, "", ProviderErrorKind.AUTH),
    (402, "payment_required", ProviderErrorKind.QUOTA),
    (402, "paid_plan_required", ProviderErrorKind.UNSUPPORTED),
    (403, "", ProviderErrorKind.AUTH),
    (403, "output_format_not_allowed", ProviderErrorKind.UNSUPPORTED),
    (403, "content_against_policy", ProviderErrorKind.CONTENT_POLICY),
    (429, "too_many_concurrent_requests", ProviderErrorKind.CONCURRENCY),
    (429, "concurrent_limit_exceeded", ProviderErrorKind.CONCURRENCY),
    (429, "system_busy", ProviderErrorKind.OVERLOAD),
    (429, "rate_limit_exceeded", ProviderErrorKind.RATE),
    (429, "", ProviderErrorKind.RATE),
    (400, "", ProviderErrorKind.INVALID_INPUT),
    (400, "voice_not_found", ProviderErrorKind.UNSUPPORTED),
    (400, "unsupported_model", ProviderErrorKind.UNSUPPORTED),
    (400, "max_character_limit_exceeded", ProviderErrorKind.INVALID_INPUT),
    (404, "voice_not_found", ProviderErrorKind.UNSUPPORTED),
    (404, "", ProviderErrorKind.UNSUPPORTED),
    (408, "", ProviderErrorKind.TIMEOUT),
    (409, "conflict", ProviderErrorKind.OVERLOAD),
    (422, "", ProviderErrorKind.INVALID_INPUT),
    (422, "voice_not_found", ProviderErrorKind.UNSUPPORTED),
    (500, "", ProviderErrorKind.OVERLOAD),
    (503, "", ProviderErrorKind.OVERLOAD),
]


@pytest.mark.parametrize(("status", "code", "kind"), HTTP_FAILURES)
@pytest.mark.parametrize("timed", [True, False], ids=["timed", "plain"])
async def test_an_http_error_is_told_by_its_code_first(
    fake: ElevenLabsFake, provider: ElevenLabsProvider, status: int, code: str, kind: ProviderErrorKind, timed: bool
) -> None:
    """And by its status second; one call is made, and nothing of what was said in words is passed on."""
    fake.fail(TIMED if timed else PLAIN, Fault(status=status, code=code, headers={"Retry-After": "7"}))

    error = await _failure(provider, _request(with_timings=timed))

    assert (kind, status, 7.0, "req-of-the-error") == (error.kind, error.status, error.retry_after, error.request_id)
    assert 1 == len(fake.speeches)


@pytest.mark.parametrize(
    "body", ["<html>502 Bad Gateway</html>", {"detail": "Not Found"}, {"detail": [{"loc": ["body"], "msg": "x"}]}, []]
)
async def test_an_http_error_of_another_form_is_told_by_its_status(
    fake: ElevenLabsFake, provider: ElevenLabsProvider, body: Any
) -> None:
    """HTML of a proxy, a bare text, the list of a 422, or nothing that makes sense."""
    fake.fail(TIMED, Fault(status=502, body=body))

    error = await _failure(provider, _request(with_timings=True))

    assert (ProviderErrorKind.OVERLOAD, 502, 1) == (error.kind, error.status, len(fake.speeches))


async def test_a_redirect_is_not_followed(fake: ElevenLabsFake, provider: ElevenLabsProvider) -> None:
    """The key stays with the server that it is for."""
    async with elevenlabs_fake() as other:
        fake.fail(TIMED, Fault(status=307, headers={"Location": f"{other.url}/v1/text-to-speech/{RACHEL}"}))

        error = await _failure(provider, _request(with_timings=True))

        assert (ProviderErrorKind.UNSUPPORTED, 1, 0) == (error.kind, len(fake.speeches), len(other.journal))


@pytest.mark.parametrize("breaks", [Break.CUT, Break.BAD_LINE, Break.BAD_BASE64, Break.NULL_AUDIO, Break.END])
async def test_audio_that_is_lost_from_a_stream_with_timestamps_is_noticed(
    fake: ElevenLabsFake, provider: ElevenLabsProvider, breaks: Break
) -> None:
    """Also where the SDK would go on as if nothing had been there, and where the stream ends as if it were whole."""
    fake.fail(TIMED, Fault(breaks=breaks))

    error = await _failure(provider, _request(with_timings=True))

    assert (ProviderErrorKind.TRUNCATED, True, 1) == (error.kind, error.retryable, len(fake.speeches))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("quota_exceeded", ProviderErrorKind.QUOTA),
        ("system_busy", ProviderErrorKind.OVERLOAD),
        ("concurrent_limit_exceeded", ProviderErrorKind.CONCURRENCY),
        ("what_is_this", ProviderErrorKind.TRUNCATED),
    ],
)
async def test_an_error_in_the_midst_of_a_stream_is_typed(
    fake: ElevenLabsFake, provider: ElevenLabsProvider, code: str, kind: ProviderErrorKind
) -> None:
    """Status 200 or not; the SDK would make a chunk without audio of it."""
    fake.fail(TIMED, Fault(breaks=Break.ERROR_LINE, code=code))

    error = await _failure(provider, _request(with_timings=True))

    assert (kind, "req-of-the-error", 1) == (error.kind, error.request_id, len(fake.speeches))


async def test_a_plain_stream_that_is_cut_is_an_error(fake: ElevenLabsFake, provider: ElevenLabsProvider) -> None:
    """TRUNCATED once audio has come."""
    fake.fail(PLAIN, Fault(breaks=Break.CUT))

    error = await _failure(provider, _request())

    assert (ProviderErrorKind.TRUNCATED, 1) == (error.kind, len(fake.speeches))


@pytest.mark.parametrize("timed", [True, False])
async def test_an_empty_stream_is_an_error(fake: ElevenLabsFake, provider: ElevenLabsProvider, timed: bool) -> None:
    """TRUNCATED: no audio came."""
    fake.fail(TIMED if timed else PLAIN, Fault(breaks=Break.NOTHING))

    assert ProviderErrorKind.TRUNCATED == (await _failure(provider, _request(with_timings=timed))).kind


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"detail": {"code": "quota_exceeded"}}, ProviderErrorKind.QUOTA),
        ({"detail": "Mia"}, ProviderErrorKind.TRUNCATED),
        ({"voices": []}, ProviderErrorKind.TRANSPORT),
        ("<html>Please log in, Mia</html>", ProviderErrorKind.TRANSPORT),
    ],
)
async def test_what_is_no_audio_is_not_taken_for_it(
    fake: ElevenLabsFake, provider: ElevenLabsProvider, body: Any, kind: ProviderErrorKind
) -> None:
    """Status 200 with JSON or a page of a proxy in place of a plain stream."""
    fake.fail(PLAIN, Fault(status=200, body=body))

    assert kind == (await _failure(provider, _request())).kind


async def test_a_stream_that_stands_still_times_out(fake: ElevenLabsFake) -> None:
    """TIMEOUT, by the read timeout of the connection."""
    fake.fail(TIMED, Fault(breaks=Break.STALL))
    async with _provider(fake.url, read_seconds=0.2) as provider:
        error = await _failure(provider, _request(with_timings=True))

    assert (ProviderErrorKind.TIMEOUT, 1) == (error.kind, len(fake.speeches))


async def test_a_server_that_is_not_there_is_a_transport_error() -> None:
    """Nothing listens at the address."""
    async with elevenlabs_fake() as gone:
        url = gone.url
    async with _provider(url) as provider:
        assert ProviderErrorKind.TRANSPORT == (await _failure(provider, _request())).kind


async def test_no_call_waits_for_a_connection_forever(fake: ElevenLabsFake) -> None:
    """With all connections in use the next call is one too many."""
    fake.fail(TIMED, Fault(breaks=Break.STALL))
    request = _request(with_timings=True)
    async with (
        _provider(fake.url, connections=1, pool_seconds=0.05) as provider,
        aclosing(provider.synthesize(request)) as items,
    ):
        await anext(items)
        await fake.stalled.wait()
        error = await _failure(provider, request)

    assert (ProviderErrorKind.CONCURRENCY, 1) == (error.kind, len(fake.speeches))


@pytest.mark.parametrize("timed", [True, False])
async def test_a_stream_that_is_left_gives_its_connection_back(fake: ElevenLabsFake, timed: bool) -> None:
    """With one connection in all, the next call gets it."""
    request = _request(TEXT * 9, with_timings=timed)
    async with _provider(fake.url, connections=1, pool_seconds=0.5) as provider:
        for _ in range(3):
            async with aclosing(provider.synthesize(request)) as items:
                await anext(items)
                await anext(items)
        assert _audio(await _items(provider, request))


async def test_half_a_character_is_refused(fake: ElevenLabsFake, provider: ElevenLabsProvider) -> None:
    """What has no UTF-8 cannot be sent."""
    error = await _failure(provider, _request("Oh \ud83d"))

    assert (ProviderErrorKind.INVALID_INPUT, []) == (error.kind, fake.speeches)


@pytest.mark.parametrize("voice_id", ["../../v1/user", "x", f"{RACHEL}?a=b", f"{RACHEL}\n", "Ünicode0000000000000"])
async def test_a_voice_id_of_another_form_never_becomes_part_of_an_address(
    fake: ElevenLabsFake, provider: ElevenLabsProvider, voice_id: str
) -> None:
    """UNSUPPORTED, and no call."""
    error = await _failure(provider, _request(voice_id=voice_id))

    assert (ProviderErrorKind.UNSUPPORTED, []) == (error.kind, fake.journal)
    assert not await provider.knows_voice(voice_id, "en")


async def test_a_stream_says_what_it_costs_and_when_words_sound(
    fake: ElevenLabsFake, provider: ElevenLabsProvider
) -> None:
    """Facts of the call first, audio as it was sent, then each word with its time."""
    first, *rest = await _items(provider, _request(with_timings=True))
    [call] = fake.speeches
    assert call.body is not None
    sound = fake.sound(call.body, RACHEL)
    timings = rest[-1]

    assert CallFacts("req-1", len(TEXT)) == first
    assert sound == _audio(rest)
    assert isinstance(timings, Timings)
    assert TEXT.replace(",", "").replace(".", "").split() == [
        TEXT[word.text_start : word.text_end] for word in timings.words
    ]
    assert pytest.approx(TEXT.index("stars") * walk(sound).duration / len(TEXT), abs=0.01) == next(
        word.start for word in timings.words if "stars" == TEXT[word.text_start : word.text_end]
    )
    assert {"output_format": "mp3_44100_128"} == call.query


async def test_audio_without_times_at_the_end_is_no_loss(fake: ElevenLabsFake, provider: ElevenLabsProvider) -> None:
    """The words that have times are told, the others not."""
    fake.untimed_tail = True
    fake.leading_space = False

    text = f"{TEXT} Then she slept."

    items = await _items(provider, _request(text, with_timings=True))

    [timings] = [item for item in items if isinstance(item, Timings)]
    assert "morning" == text[timings.words[-1].text_start : timings.words[-1].text_end]
    assert len(TEXT.split()) == len(timings.words)


async def test_times_of_another_pace_than_the_audio_are_not_told(
    fake: ElevenLabsFake, provider: ElevenLabsProvider
) -> None:
    """Better none than wrong ones."""
    fake.pace = 2.0

    items = await _items(provider, _request(with_timings=True))

    assert _audio(items)
    assert not [item for item in items if isinstance(item, Timings)]


@pytest.mark.parametrize(
    ("endpoint", "path"), [(Endpoint.STREAM, f"{RACHEL}/stream"), (Endpoint.CONVERT, RACHEL), (Endpoint.TIMESTAMPS, "")]
)
async def test_how_speech_is_asked_for_can_be_chosen(fake: ElevenLabsFake, endpoint: Endpoint, path: str) -> None:
    """The same audio each way; word timings where they come with it."""
    async with _provider(fake.url, endpoint=endpoint) as provider:
        items = await _items(provider, _request(with_timings=True))
        assert (endpoint is not Endpoint.CONVERT) == provider.metadata.supports_streaming

    assert f"/v1/text-to-speech/{path or f'{RACHEL}/stream/with-timestamps'}" == fake.speeches[0].path
    assert walk(_audio(items)).duration > 5
    assert (endpoint is Endpoint.TIMESTAMPS) == isinstance(items[-1], Timings)


async def test_a_request_without_timings_is_a_plain_stream(fake: ElevenLabsFake, provider: ElevenLabsProvider) -> None:
    """It needs fewer bytes."""
    await _items(provider, _request())

    assert [f"/v1/text-to-speech/{RACHEL}/stream"] == [call.path for call in fake.speeches]


async def test_pcm_can_be_had_where_the_plan_allows(fake: ElevenLabsFake) -> None:
    """The metadata say so, and it is asked for."""
    async with _provider(fake.url, output_format="pcm_44100") as provider:
        await _items(provider, _request())
        metadata = provider.metadata

    assert (NativeFormat.PCM_S16LE, 44_100) == (metadata.native_format, metadata.sample_rate)
    assert "pcm_44100" == fake.speeches[0].query["output_format"]


async def test_settings_are_the_defaults_unless_asked_otherwise(
    fake: ElevenLabsFake, provider: ElevenLabsProvider
) -> None:
    """0.5, 0.75, 0.0, boost; what is asked for is taken, within what ElevenLabs takes."""
    await _items(provider, _request())
    await _items(provider, _request(settings=VoiceSettings(stability=0.2, use_speaker_boost=False, speed=3.0)))
    bodies = [call.body for call in fake.speeches if call.body is not None]
    defaults = {"stability": 0.5, "similarity_boost": 0.75, "style": 0.0, "use_speaker_boost": True}

    assert {"text": TEXT, "model_id": "eleven_multilingual_v2", "voice_settings": defaults} == bodies[0]
    assert {**defaults, "stability": 0.2, "use_speaker_boost": False, "speed": 1.2} == bodies[1]["voice_settings"]


@pytest.mark.parametrize(
    ("model_id", "language_code", "sent"),
    [
        ("", "de", {"previous_text": "Before."}),
        ("eleven_flash_v2_5", "de-AT", {"previous_text": "Before.", "language_code": "de"}),
        ("eleven_flash_v2_5", "fa", {"previous_text": "Before."}),
        ("eleven_v3", "fa", {"language_code": "fa"}),
    ],
)
async def test_a_model_is_given_only_what_it_takes(
    fake: ElevenLabsFake, provider: ElevenLabsProvider, model_id: str, language_code: str, sent: dict[str, str]
) -> None:
    """No text before for v3, no language for multilingual v2 or one that the model does not speak."""
    await provider.probe()
    await _items(provider, _request(model_id=model_id, language_code=language_code, previous_text="Before."))
    body = fake.speeches[0].body
    assert body is not None

    assert sent == {name: body[name] for name in ("previous_text", "language_code") if name in body}


@pytest.mark.parametrize(
    ("language_code", "voice_id"),
    [
        ("de", "GermanVoice000000001"),
        ("ru", "LabelledVoice0000001"),
        ("it", "NamedVoice0000000001"),
        ("en-GB", RACHEL),
        ("fi", RACHEL),
    ],
)
async def test_a_request_without_a_voice_gets_one_for_its_language(
    fake: ElevenLabsFake, provider: ElevenLabsProvider, language_code: str, voice_id: str
) -> None:
    """Verified, else labelled, else named, else the default."""
    await _items(provider, _request(language_code=language_code, voice_id=""))

    assert [f"/v1/text-to-speech/{voice_id}/stream"] == [call.path for call in fake.speeches]


async def test_without_a_list_the_default_voice_speaks(fake: ElevenLabsFake, provider: ElevenLabsProvider) -> None:
    """A list that cannot be had is no reason to be silent."""
    fake.fail("/v1/voices", Fault(status=500))

    await _items(provider, _request(language_code="de", voice_id=""))

    assert [f"/v1/text-to-speech/{RACHEL}/stream"] == [call.path for call in fake.speeches]


async def test_lists_are_fetched_once_and_kept_when_they_can_not_be_fetched_again(fake: ElevenLabsFake) -> None:
    """Twenty callers, one call; after its time a list is fetched behind the caller's back, and kept if that fails."""
    clock = Clock()
    async with _provider(fake.url, clock, list_cache_seconds=600) as provider:
        before = await provider.list_voices()
        await asyncio.gather(*(provider.list_voices("de") for _ in range(20)))
        await provider.probe()
        assert 1 == len(fake.calls("/v1/voices"))
        stale = [provider.voices_are_stale]

        fake.fail("/v1/voices", Fault(status=503))
        fake.voices.clear()
        clock.now += 601
        assert before == await provider.list_voices()
        await provider._catalog.voices.settled()
        stale.append(provider.voices_are_stale)
        assert before == await provider.list_voices()
        assert 2 == len(fake.calls("/v1/voices"))

        clock.now += 31
        await provider.list_voices()
        await provider._catalog.voices.settled()
        assert [] == list(await provider.list_voices())
        assert [False, True, False] == [*stale, provider.voices_are_stale]


async def test_the_first_list_that_can_not_be_had_is_an_error_told_again(fake: ElevenLabsFake) -> None:
    """For half a minute it is not called again."""
    clock = Clock()
    fake.fail("/v1/voices", Fault(status=500))
    async with _provider(fake.url, clock) as provider:
        for _ in range(3):
            with pytest.raises(ProviderError) as caught:
                await provider.list_voices()
            assert ProviderErrorKind.OVERLOAD == caught.value.kind
        assert 1 == len(fake.calls("/v1/voices"))

        clock.now += 31
        assert await provider.list_voices()


async def test_a_default_voice_that_is_not_listed_is_looked_up(fake: ElevenLabsFake) -> None:
    """And stands in the list then."""
    async with _provider(fake.url, default_voice=UNLISTED) as provider:
        assert UNLISTED in {voice.voice_id for voice in await provider.list_voices()}
        assert 1 == len(fake.calls(f"/v1/voices/{UNLISTED}"))


async def test_voices_that_are_not_listed_are_known_too(fake: ElevenLabsFake) -> None:
    """Asked for once, whether they are there or not; what is not there is asked for again after a minute."""
    clock = Clock()
    absent = "Absent00000000000000"
    async with _provider(fake.url, clock) as provider:
        for _ in range(2):
            assert await provider.knows_voice(RACHEL, "tlh")
            assert await provider.knows_voice("GermanVoice000000001", "ru")
            assert await provider.knows_voice(UNLISTED, "en")
            assert not await provider.knows_voice(absent, "en")
        assert 1 == len(fake.calls(f"/v1/voices/{UNLISTED}"))
        assert 1 == len(fake.calls(f"/v1/voices/{absent}"))

        fake.voices.append(listed_voice(absent, "There now"))
        clock.now += 61
        assert await provider.knows_voice(absent, "en")


async def test_no_more_than_256_unlisted_voices_are_remembered(
    fake: ElevenLabsFake, provider: ElevenLabsProvider
) -> None:
    """The longest unused goes first."""
    for number in range(257):
        assert not await provider.knows_voice(f"Absent{number:014}", "en")

    assert 256 == len(provider._catalog._asked_for)
    assert not await provider.knows_voice(f"Absent{1:014}", "en")
    assert not await provider.knows_voice(f"Absent{0:014}", "en")
    assert (2, 1) == tuple(len(fake.calls(f"/v1/voices/Absent{number:014}")) for number in (0, 1))


async def test_a_voice_that_can_not_be_looked_up_is_no_unknown_voice(
    fake: ElevenLabsFake, provider: ElevenLabsProvider
) -> None:
    """The failure is told, and not remembered."""
    fake.fail(f"/v1/voices/{UNLISTED}", Fault(status=500))

    with pytest.raises(ProviderError) as caught:
        await provider.knows_voice(UNLISTED, "en")
    assert ProviderErrorKind.OVERLOAD == caught.value.kind
    assert await provider.knows_voice(UNLISTED, "en")


async def test_limits_and_languages_come_from_the_list_of_models(
    fake: ElevenLabsFake, provider: ElevenLabsProvider
) -> None:
    """Built in until there is a list; a text beyond the limit is refused before it is sent."""
    assert 10_000 == provider.metadata.max_text_length
    assert "uk" in provider.metadata.languages
    fake.models[0] = listed_model("eleven_multilingual_v2", 700, "en", "de")

    await provider.probe()

    assert (700, ("en", "de")) == (provider.metadata.max_text_length, provider.metadata.languages)
    fake.models[0] = listed_model("eleven_multilingual_v2", 700, "no")
    await provider.probe()
    assert ("no", "nb", "nn") == provider.metadata.languages
    error = await _failure(provider, _request("a" * 701))
    assert (ProviderErrorKind.INVALID_INPUT, []) == (error.kind, fake.speeches)


async def test_the_plan_says_what_it_has_left(fake: ElevenLabsFake, provider: ElevenLabsProvider) -> None:
    """Characters of this period; never below nothing."""
    assert 8_800 == await provider.remaining_characters()

    fake.characters_used = 20_000
    assert 0 == await provider.remaining_characters()


async def test_no_list_waits_forever(fake: ElevenLabsFake) -> None:
    """TIMEOUT; whoever watches is told of the call."""
    seen: list[tuple[str, str]] = []

    def observe(endpoint: str, status: str, _: float) -> None:
        seen.append((endpoint, status))

    async with _provider(fake.url, observe=observe) as patient:
        await patient.remaining_characters()
    fake.hold = asyncio.Event()
    async with _provider(fake.url, observe=observe, list_seconds=0.1) as hasty:
        with pytest.raises(ProviderError) as caught:
            await hasty.remaining_characters()

    assert ProviderErrorKind.TIMEOUT == caught.value.kind
    assert [("subscription", "success"), ("subscription", "timeout")] == seen


@pytest.mark.parametrize("answer", [{}, None, "<html>", {"voices": None}, 7, [7]])
@pytest.mark.parametrize("path", ["/v1/voices", "/v1/models", "/v1/user/subscription", f"/v1/voices/{UNLISTED}"])
async def test_an_answer_that_can_not_be_read_is_an_error(
    fake: ElevenLabsFake, provider: ElevenLabsProvider, path: str, answer: Any
) -> None:
    """TRANSPORT, whatever came under status 200."""
    ask: Mapping[str, Callable[[], Awaitable[object]]] = {
        "/v1/voices": provider.list_voices,
        "/v1/models": provider.probe,
        "/v1/user/subscription": provider.remaining_characters,
        f"/v1/voices/{UNLISTED}": lambda: provider.knows_voice(UNLISTED, "en"),
    }
    fake.fail(path, Fault(body=answer, sends=True))

    with pytest.raises(ProviderError) as caught:
        await ask[path]()

    assert ProviderErrorKind.TRANSPORT == caught.value.kind


async def test_voices_and_models_of_which_little_is_told_are_listed(
    fake: ElevenLabsFake, provider: ElevenLabsProvider
) -> None:
    """What is of no use is passed over."""
    odd = {"voice_id": "OddVoice000000000001", "labels": {"gender": 1, "language": None}, "verified_languages": [1, {}]}
    fake.voices = [odd, {"name": "no id"}, {"voice_id": 3}, listed_voice(RACHEL, "Rachel")]
    fake.models = [{"model_id": "eleven_multilingual_v2", "languages": [{}, {"language_id": None}]}, {}]

    await provider.probe()
    voices = await provider.list_voices()

    assert {"OddVoice000000000001": (), RACHEL: ()} == {each.voice_id: each.language_codes for each in voices}
    assert 10_000 == provider.metadata.max_text_length
    assert "de" in provider.metadata.languages


async def test_a_probe_asks_for_models_and_carries_no_text(fake: ElevenLabsFake, provider: ElevenLabsProvider) -> None:
    """Each time again, one call each time, and it fails as long as ElevenLabs does."""
    fake.fail("/v1/models", Fault(status=503))

    with pytest.raises(ProviderError) as caught:
        await provider.probe()
    await provider.probe()

    assert ProviderErrorKind.OVERLOAD == caught.value.kind
    assert ["/v1/models"] * 2 == [call.path for call in fake.journal]


@pytest.mark.parametrize(
    ("key", "remedy"),
    [("", "set ELEVENLABS_API_KEY"), ("two words", "no key"), ("schlüssel", "no key"), ("k" * 513, "no key")],
)
async def test_a_key_that_is_none_is_told_without_a_call(fake: ElevenLabsFake, key: str, remedy: str) -> None:
    """AUTH for every call, and a reason that names the variable and not the key."""
    async with _provider(fake.url, key=key) as provider:
        reason = await provider.validate_configuration()
        provider.warm_up()
        error = await _failure(provider, _request())

    assert (ProviderErrorKind.AUTH, []) == (error.kind, fake.journal)
    assert remedy in reason
    assert "ELEVENLABS_API_KEY" in reason
    assert not key or key not in reason


async def test_a_default_voice_that_is_a_name_is_told(fake: ElevenLabsFake) -> None:
    """ELEVENLABS_VOICE wants an id."""
    async with _provider(fake.url, default_voice="Rachel") as provider:
        assert (await provider.validate_configuration()).startswith("ELEVENLABS_VOICE must be the id of a voice")
        assert not await provider.knows_voice("Rachel", "en")


async def test_an_address_may_end_with_the_version(fake: ElevenLabsFake) -> None:
    """As addresses of other providers do."""
    async with _provider(f"{fake.url}/v1") as provider:
        await _items(provider, _request())

    assert [f"/v1/text-to-speech/{RACHEL}/stream"] == [call.path for call in fake.speeches]


async def test_a_refused_key_is_remembered_until_another_comes(fake: ElevenLabsFake, tmp_path: Path) -> None:
    """It rotates by its file, without a restart; the refused one is tried by lists alone, in the background."""
    clock = Clock()
    file = tmp_path / "key"
    file.write_text("sk_old")
    secret = SecretSource(None, file, name="ELEVENLABS_API_KEY", clock=clock)
    async with _provider(fake.url, clock, key=secret) as provider:
        assert "" == await provider.validate_configuration()
        await provider._catalog.models.settled()
        assert "refuses the key" in await provider.validate_configuration()
        assert ProviderErrorKind.AUTH == (await _failure(provider, _request())).kind

        file.write_text(KEY)
        clock.now += 6
        assert "" == await provider.validate_configuration()
        assert _audio(await _items(provider, _request()))
        assert ["sk_old", KEY] == [call.key for call in fake.speeches]


async def test_a_refused_key_is_taken_again_when_it_is_good_after_all(fake: ElevenLabsFake) -> None:
    """ElevenLabs is called again in the background, for a list."""
    clock = Clock()
    fake.fail(TIMED, Fault(status=401, code="invalid_api_key"))
    async with _provider(fake.url, clock) as provider:
        await _failure(provider, _request(with_timings=True))
        assert "refuses the key" in await provider.validate_configuration()
        await provider._catalog.models.settled()
        assert "" == await provider.validate_configuration()

    assert {"/v1/models", "/v1/voices"} == {call.path for call in fake.journal if call.method == "GET"}


async def test_a_key_without_the_right_to_one_thing_is_not_refused(
    fake: ElevenLabsFake, provider: ElevenLabsProvider
) -> None:
    """A key that may speak but not list voices can be used with a voice; without one, what it lacks is named."""
    fake.fail("/v1/voices", replace(LACKS_VOICES, times=2))
    fake.fail("/v1/models", replace(LACKS_VOICES, times=2))

    with pytest.raises(ProviderError) as caught:
        await provider.list_voices()

    assert ProviderErrorKind.AUTH == caught.value.kind
    said = "the key lacks the permission voices_read; allow it in the settings of the key"
    assert said == caught.value.message
    assert "" == await provider.validate_configuration()
    assert f"{said}, or set ELEVENLABS_VOICE to the id of a voice." in await provider.reduced()
    assert _audio(await _items(provider, _request()))
    await provider._catalog.models.settled()
    async with _provider(fake.url, default_voice=UNLISTED) as configured:
        assert "" == await configured.validate_configuration()
        with pytest.raises(ProviderError):
            await configured.list_voices()
        assert _audio(await _items(configured, _request(voice_id="")))
        await configured._catalog.models.settled()
    assert [RACHEL, UNLISTED] == [call.path.split("/")[3] for call in fake.speeches]


@pytest.mark.parametrize("status", [402, 404])
async def test_a_voice_that_is_refused_is_not_chosen_again_for_an_hour(fake: ElevenLabsFake, status: int) -> None:
    """The next one is: another of the language, then any of the account, then one of ElevenLabs' own."""
    clock = Clock()
    refusal = PLAN if status == 402 else Fault(status=404, code="voice_not_found")
    fake.voices = [listed_voice(f"Voice00000000000000{number}", "Ann") for number in range(2)]
    fake.voices[1] |= {"labels": {"language": "en"}}
    async with _provider(fake.url, clock) as provider:
        for _ in range(3):
            fake.fail(PLAIN, refusal)
            error = await _failure(provider, _request(voice_id=""))
            assert isinstance(error, VoiceRefusedError)
            assert ("VOICE_NOT_FOUND" if status == 404 else "UPSTREAM_UNSUPPORTED") == error.treatment.reason
            assert "ELEVENLABS_VOICE" in error.message
        clock.now += 3_601
        await _items(provider, _request(voice_id=""))
        spoken = [call.path.split("/")[3] for call in fake.speeches]
    assert ["Voice000000000000001", "Voice000000000000000", RACHEL, "Voice000000000000001"] == spoken


async def test_warming_up_loads_the_lists(fake: ElevenLabsFake, provider: ElevenLabsProvider) -> None:
    """One call for voices and one for models; nothing is spoken."""
    provider.warm_up()
    await asyncio.gather(provider._catalog.models.settled(), provider._catalog.voices.settled())

    assert {"/v1/models", "/v1/voices"} == {call.path for call in fake.journal}
    assert not provider.voices_are_stale


async def test_closing_ends_what_is_under_way(fake: ElevenLabsFake) -> None:
    """A list that never comes does not hold it up."""
    fake.hold = asyncio.Event()
    provider = ElevenLabsProvider(elevenlabs_config(fake.url))
    waiting = asyncio.create_task(provider.list_voices())
    await fake.called.wait()

    await provider.aclose()

    with pytest.raises(ProviderError) as caught:
        await waiting
    assert ProviderErrorKind.CANCELLED == caught.value.kind


def test_the_sdk_is_not_imported_with_the_provider() -> None:
    """It takes a second, which a service has not got before it serves."""
    program = (
        "import sys, voice_service.providers.elevenlabs.provider\n"
        "print([name for name in ('elevenlabs', 'httpx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert "[]" == done.stdout.strip()


async def test_aimock_is_spoken_with_as_with_elevenlabs() -> None:
    """Its part of ElevenLabs is the conversion as a whole; its errors and broken answers are typed as well."""
    sound = silent_mp3(b"aimock", 300)
    fixture = {"match": {"endpoint": "elevenlabs-tts"}, "response": {"audio": base64.b64encode(sound).decode()}}
    async with aimock() as upstream, _provider(upstream.url, endpoint=Endpoint.CONVERT) as provider:
        await upstream.add(fixture)
        assert sound == _audio(await _items(provider, _request()))
        [call] = await upstream.calls("/v1/text-to-speech/")
        assert f"/v1/text-to-speech/{RACHEL}?output_format=mp3_44100_128" == call.path
        assert "xi-api-key" in call.headers

        for rates, kind in (
            ({"dropRate": 1.0}, ProviderErrorKind.OVERLOAD),
            ({"rateLimitRate": 1.0}, ProviderErrorKind.RATE),
            ({"malformedRate": 1.0}, ProviderErrorKind.TRANSPORT),
            ({"disconnectRate": 1.0}, ProviderErrorKind.TRANSPORT),
        ):
            await upstream.chaos(**rates)
            assert kind == (await _failure(provider, _request())).kind
        assert 5 == len(await upstream.calls("/v1/text-to-speech/"))
