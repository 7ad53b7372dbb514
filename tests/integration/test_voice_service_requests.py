"""What the voice service refuses, and its lists."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from pydantic import SecretStr
from support.servers import running
from support.speech_fake import speech_config, speech_fake
from support.voice_kit import STORY, NamedVoice, faults, reason_of, settings, voice_service

from servicekit.settings import load
from servicekit.status import from_rpc_error
from tale.common.v1 import common_pb2, status_pb2, status_pb2_grpc
from tale.voice.v1 import voice_pb2
from voice_service.bootstrap import build
from voice_service.ports import SegmentRequest, SpeechItem, VoiceSettings
from voice_service.providers.factory import ANNOUNCED, BRING_REAL_VOICE
from voice_service.providers.speech.provider import SpeechProvider
from voice_service.settings import Tuning, VoiceServiceSettings


async def _refused(call: Any) -> tuple[grpc.StatusCode, str, set[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = from_rpc_error(caught.value)
    return error.code, error.reason, {violation.field for violation in error.violations}


async def test_everything_that_is_wrong_with_a_config_is_told_at_once() -> None:
    """All violations, named by field, before anything is spoken."""
    mock = NamedVoice("mock")
    wrong = common_pb2.VoiceSelection(
        provider="no name",
        voice_id="v" * 201,
        settings=common_pb2.VoiceSettings(stability=1.5, speed=9),
        audio_format=7,  # type: ignore[arg-type] # no such format
    )
    spoken = common_pb2.Segment(index=3, audio=common_pb2.Span(start=1, end=1))
    async with voice_service(mock) as voice:
        told = await voice.tell(
            STORY,
            story_id="../../etc/passwd",
            audio_id="a b",
            parent_attempt_id="é",
            title="t" * 201,
            language_code="english!",
            voice=wrong,
            spoken_so_far=[spoken],
            delivery=7,  # no such delivery
        )

    assert told.error is not None
    error = from_rpc_error(told.error)
    assert (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED") == (error.code, error.reason)
    assert {
        "config.story_id", "config.audio_id", "config.parent_attempt_id", "config.title", "config.language_code",
        "config.voice.provider", "config.voice.voice_id", "config.voice.settings.stability",
        "config.voice.settings.speed", "config.voice.audio_format", "config.pinned", "config.delivery",
        "config.spoken_so_far[0].audio", "config.spoken_so_far[0].provider", "config.spoken_so_far[0].sha256",
        "config.spoken_so_far[0].key",
    } == {violation.field for violation in error.violations}  # fmt: skip
    assert ([], 0) == (told.kinds, mock.journal.calls)


@pytest.mark.parametrize(
    ("pieces", "field"),
    [
        ([], "config"),
        (["text"], "config"),
        (["nothing"], "piece"),
        (["config", "config"], "config"),
        (["config", "text", "config"], "config"),
        (["config", "nothing"], "piece"),
    ],
)
async def test_the_config_comes_first_and_once(pieces: list[str], field: str) -> None:
    """Anything else is INVALID_ARGUMENT."""
    made = {
        "text": voice_pb2.SynthesizeSpeechRequest(text=voice_pb2.TextPiece(text="Hi.")),
        "config": voice_pb2.SynthesizeSpeechRequest(config=voice_pb2.SpeechConfig(language_code="en")),
        "nothing": voice_pb2.SynthesizeSpeechRequest(),
    }
    async with voice_service(NamedVoice("mock")) as voice:
        call = voice.stub.SynthesizeSpeech(iter([made[piece] for piece in pieces]), timeout=10)

        async def read() -> None:
            async for _ in call:
                pass

        assert (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED", {field}) == await _refused(read())


@pytest.mark.parametrize("silent_after", [0, 1])
async def test_a_caller_that_stops_sending_does_not_hold_the_call_for_ever(silent_after: int) -> None:
    """DEADLINE_EXCEEDED / TIMEOUT after what one narration may take, before or after the config."""

    async def requests() -> AsyncIterator[voice_pb2.SynthesizeSpeechRequest]:
        for _ in range(silent_after):
            yield voice_pb2.SynthesizeSpeechRequest(config=voice_pb2.SpeechConfig(title="Fox", language_code="en"))
        await asyncio.Event().wait()

    async with voice_service(NamedVoice("mock"), tuning=Tuning(narration=0.1)) as voice:
        call = voice.stub.SynthesizeSpeech(requests(), timeout=10)

        async def read() -> None:
            async for _ in call:
                pass

        assert (grpc.StatusCode.DEADLINE_EXCEEDED, "TIMEOUT", set()) == await _refused(read())


@pytest.mark.parametrize("text", ["", " \n\n ", ["", "  "]])
async def test_neither_title_nor_text_is_empty_text(text: Any) -> None:
    """INVALID_ARGUMENT / EMPTY_TEXT."""
    async with voice_service(NamedVoice("mock")) as voice:
        told = await voice.tell(text, title="  ")

    assert (grpc.StatusCode.INVALID_ARGUMENT, "EMPTY_TEXT") == reason_of(told.error)[:2]


async def test_a_stream_of_empty_pieces_is_refused() -> None:
    """INVALID_ARGUMENT that names the field, also with words in it; some are no matter."""
    async with voice_service(NamedVoice("mock")) as voice:
        told = await voice.tell(["A fox.", *[""] * 1_002])
        few = await voice.tell(["", "A fox.", *[""] * 500, " It slept."])

    assert (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED") == reason_of(told.error)[:2]
    assert few.error is None


async def test_a_text_beyond_65536_characters_is_too_long() -> None:
    """FAILED_PRECONDITION / TEXT_TOO_LONG as soon as it is seen."""
    async with voice_service(NamedVoice("mock")) as voice:
        told = await voice.tell(["a " * 32_768, "b"])

    assert (grpc.StatusCode.FAILED_PRECONDITION, "TEXT_TOO_LONG") == reason_of(told.error)[:2]


@pytest.mark.parametrize(
    ("audio_format", "most"),
    [(common_pb2.AUDIO_FORMAT_MP3, 851), (common_pb2.AUDIO_FORMAT_WAV, 154), (common_pb2.AUDIO_FORMAT_OGG_OPUS, 1703)],
)
async def test_what_would_not_fit_the_store_is_refused_before_it_is_paid_for(
    audio_format: common_pb2.AudioFormat.ValueType, most: int
) -> None:
    """By what so much text sounds in that format, against AUDIO_MAX_BYTES."""
    mock, choice = NamedVoice("mock"), common_pb2.VoiceSelection(audio_format=audio_format)
    async with voice_service(mock, max_audio_bytes=1 << 20) as voice:
        told = await voice.tell("a" * (most + 1), voice=choice)
        calls = mock.journal.calls
        fits = await voice.tell((STORY * 3)[:most], voice=choice)

    code, reason, metadata = reason_of(told.error)
    assert (grpc.StatusCode.FAILED_PRECONDITION, "TEXT_TOO_LONG", str(most)) == (
        code,
        reason,
        metadata["max_characters"],
    )
    assert (0, None) == (calls, fits.error)
    assert len(fits.audio) <= 1 << 20


async def test_sound_that_outgrows_the_store_ends_the_narration() -> None:
    """A voice that is slower than voices are: what was spoken is stored, nothing more is asked for."""

    class Slow(NamedVoice):
        async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
            async for item in super().synthesize(replace(request, settings=VoiceSettings(speed=0.4))):
                yield item

    slow = Slow("mock")
    async with voice_service(slow, max_audio_bytes=1 << 20, segments_ahead=0) as voice:
        told = await voice.tell(STORY)

    assert (grpc.StatusCode.FAILED_PRECONDITION, "TEXT_TOO_LONG") == reason_of(told.error)[:2]
    assert len(told.audio) <= 1 << 20


async def test_a_language_that_nobody_speaks_is_read_with_a_warning_or_refused() -> None:
    """As the caller wants it."""
    async with voice_service(NamedVoice("mock")) as voice:
        read = await voice.tell("Hyvää yötä.", language_code="fi")
        refused = await voice.tell("Hyvää yötä.", language_code="fi", strict_language=True)

    assert (None, ["LANGUAGE_UNSUPPORTED"]) == (read.error, [each.reason for each in read.warnings])
    assert (grpc.StatusCode.FAILED_PRECONDITION, "LANGUAGE_UNSUPPORTED") == reason_of(refused.error)[:2]


async def test_an_unknown_voice_is_not_found() -> None:
    """NOT_FOUND / VOICE_NOT_FOUND."""
    async with voice_service(NamedVoice("mock")) as voice:
        told = await voice.tell(STORY, voice=common_pb2.VoiceSelection(provider="mock", voice_id="nobody"))

    assert (grpc.StatusCode.NOT_FOUND, "VOICE_NOT_FOUND") == reason_of(told.error)[:2]


async def test_providers_are_listed_in_the_order_in_which_they_would_be_tried() -> None:
    """With what they can do, and why they cannot be called."""
    one, two = NamedVoice("mock", faults(configured=False)), NamedVoice("offline")
    async with voice_service(one, two, provider_fallback=("offline",)) as voice:
        answer = await voice.stub.ListProviders(voice_pb2.ListProvidersRequest(), timeout=5)

    announced = [each.name for each in ANNOUNCED]
    assert ["mock", "offline", *announced] == [each.provider_name for each in answer.providers]
    mock, offline, elevenlabs = answer.providers[:3]
    assert (False, False, False, 0) == (mock.configured, mock.available, mock.is_default, mock.fallback_position)
    assert "configured" in mock.unavailable_reason
    assert (True, True, 1, True, "closed") == (
        offline.available, offline.is_default, offline.fallback_position, offline.embedded, offline.circuit_state,
    )  # fmt: skip
    assert (5_000, ["mp3_44100_128"], ["en", "de", "es", "fr", "ru"]) == (
        mock.max_text_length, list(mock.supported_formats), list(mock.language_codes),
    )  # fmt: skip
    assert (False, True) == (elevenlabs.available, "ELEVENLABS_API_KEY" in elevenlabs.unavailable_reason)


async def test_voices_are_listed_page_by_page() -> None:
    """Every voice once, in the providers' order; a token is for its own list alone."""
    names = ["one", "two", "mock"]
    async with voice_service(*map(NamedVoice, names), default_provider="two") as voice:
        seen, token = [], ""
        for _ in names:
            page = await voice.stub.ListVoices(voice_pb2.ListVoicesRequest(page_size=1, page_token=token), timeout=5)
            seen += [each.voice_id for each in page.voices]
            last, token = token, page.next_page_token
        none = await voice.stub.ListVoices(voice_pb2.ListVoicesRequest(language_code="fi"), timeout=5)
        foreign = voice_pb2.ListVoicesRequest(provider="one", page_token=last)
        assert (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED", {"page_token"}) == await _refused(
            voice.stub.ListVoices(foreign, timeout=5)
        )

    assert (["two", "one", "mock"], "", 0) == (seen, token, len(none.voices))


async def test_voices_say_what_they_are() -> None:
    """As the list of a server has it, in one line; an address that no browser should open is none."""
    async with speech_fake() as server:
        server.voices = [
            {"id": "anna", "description": "Warm\n and slow\x00", "preview_url": "https://voices.example/anna.mp3"},
            {"id": "ben", "description": 3, "preview_url": "javascript:alert(1)"},
        ]
        async with voice_service(SpeechProvider(speech_config(server.url)), NamedVoice("mock")) as voice:
            answer = await voice.stub.ListVoices(voice_pb2.ListVoicesRequest(), timeout=30)
    listed = {each.voice_id: (each.description, each.preview_url) for each in answer.voices}

    assert ("Warm and slow", "https://voices.example/anna.mp3") == listed["anna"]
    assert ("", "") == listed["ben"]
    assert ("Silence", "") == listed["mock"]


async def test_bad_requests_for_lists_are_refused() -> None:
    """All violations at once; unknown providers are not found, those that are not set up say so."""
    async with voice_service(NamedVoice("mock")) as voice:
        bad = voice_pb2.ListVoicesRequest(provider="no name", language_code="?", page_size=101)
        for request, answer in (
            (bad, ("INVALID_ARGUMENT", "VALIDATION_FAILED", {"provider", "language_code", "page_size"})),
            (
                voice_pb2.ListVoicesRequest(page_token="?"),  # noqa: S106 - no secret
                ("INVALID_ARGUMENT", "VALIDATION_FAILED", {"page_token"}),
            ),
            (voice_pb2.ListVoicesRequest(provider="nobody"), ("NOT_FOUND", "PROVIDER_NOT_FOUND", set())),
            (voice_pb2.ListVoicesRequest(provider="speech"), ("FAILED_PRECONDITION", "INVALID_CONFIGURATION", set())),
        ):
            code, reason, fields = await _refused(voice.stub.ListVoices(request, timeout=5))
            assert answer == (code.name, reason, fields)


async def test_stored_delivery_without_a_storage_service_is_refused() -> None:
    """Before anything is paid for, and the message names the variable to set."""
    mock = NamedVoice("mock")
    async with voice_service(mock) as voice:
        told = await voice.tell(STORY, delivery=voice_pb2.DELIVERY_STORED)

    assert told.error is not None
    assert (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_CONFIGURATION") == reason_of(told.error)[:2]
    assert "STORAGE_TARGET" in (told.error.details() or "")
    assert ([], 0) == (told.kinds, mock.journal.calls)


@pytest.mark.parametrize(
    ("providers", "default", "parts", "warns"),
    [
        (["offline"], "", ["voice"], False),
        (["offline"], "elevenlabs", ["voice"], True),
        (["offline", "mock"], "mock", [], False),
        (["mock"], "", [], True),
    ],
)
async def test_the_service_says_what_is_embedded(
    providers: list[str], default: str, parts: list[str], warns: bool
) -> None:
    """GetStatus names the embedded voice only while it is the one that speaks; with none at all it warns."""
    async with voice_service(*map(NamedVoice, providers), default_provider=default) as voice:
        stub = status_pb2_grpc.StatusServiceStub(voice.service.channel)
        status = (await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=5)).status

    assert parts == [part.part for part in status.embedded_parts]
    assert not parts or [*BRING_REAL_VOICE] == status.embedded_parts[0].environment_variables
    assert warns is bool(status.warnings)


@pytest.mark.parametrize("fallback", [(), ("kokoro",), ("offline",), ("kokoro", "offline")])
async def test_a_provider_that_no_setting_asks_for_is_not_missed(
    fallback: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """A server of SPEECH_PROVIDERS alone speaks before the embedded voice, and nothing warns of ElevenLabs."""
    voices = map(NamedVoice, ("offline", "mock", "kokoro"))
    async with voice_service(*voices, default_provider="", provider_fallback=fallback) as voice:
        told = await voice.tell(STORY)
        stub = status_pb2_grpc.StatusServiceStub(voice.service.channel)
        status = (await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=5)).status

    assert {"kokoro"} == {segment.provider for segment in told.segments}
    assert [] == told.warnings
    assert ["kokoro"] == [each.name for each in status.providers if each.is_default]
    assert "elevenlabs" not in f"{status} {caplog.text}".lower()


async def test_with_nothing_set_up_the_embedded_voice_says_so_once() -> None:
    """One warning, and what to set."""
    async with voice_service(NamedVoice("offline"), NamedVoice("mock"), default_provider="") as voice:
        told = await voice.tell(STORY)

    assert ["EMBEDDED_VOICE"] == [warning.reason for warning in told.warnings]
    assert "SPEECH_BASE_URL" in told.warnings[0].remedy


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the names that operators know, and the key stays out of what is printed."""
    monkeypatch.setenv("ELEVENLABS_API_KEY", "secret-key")
    monkeypatch.setenv("SPEECH_BASE_URL", "http://speech:8880/v1")
    chosen = load(VoiceServiceSettings)

    assert (SecretStr("secret-key"), "http://speech:8880/v1") == (chosen.elevenlabs_api_key, chosen.speech_base_url)
    assert "secret-key" not in repr(chosen)


async def test_the_service_speaks_with_no_key_at_all() -> None:
    """The real embedded voice, as a newcomer gets it: spoken words, their times, and one MP3."""
    chosen = settings(default_provider="elevenlabs")
    from support.voice_kit import Voice  # noqa: PLC0415 - beside its only other use

    async with running(build(chosen), settings=chosen, service="voice") as service:
        told = await Voice(service).tell(STORY, title="The Fox", word_timings=True)

    assert told.error is None
    assert told.summary is not None
    assert ("offline", True) == (told.segments[-1].provider, told.summary.embedded)
    assert len(STORY.split()) / 150 * 60 * 0.7 < told.summary.duration.ToMilliseconds() / 1_000 < 120
    words = [STORY[word.text.start : word.text.end] for word in told.segments[1].words]
    assert ["Once", "there", "was"] == words[:3]
