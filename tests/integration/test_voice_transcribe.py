"""Transcribe: recordings to the voice service, alone and behind the gateway, and every way in which that fails."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs
from support.house import house
from support.speech_fake import Reply, SpeechFake, speech_fake
from support.tale_command import tale
from support.voice_kit import NamedVoice, Voice, voice_service

from servicekit.errors import DomainError
from servicekit.status import from_rpc_error
from tale.common.v1 import status_pb2, status_pb2_grpc
from tale.voice.v1 import voice_pb2, voice_pb2_grpc
from tale_client import AsyncTaleClient
from voice_service.settings import Tuning

SOUND = b"RIFF" + bytes(range(256)) * 40
TEXT = "A story about a dragon who cannot sleep."
JSON = "application/json"
NO_CREDITS = b'{"error": {"code": 402, "message": "no"}}'
Pieces = Sequence[voice_pb2.TranscribeRequest]


def config(content_type: str = "audio/wav", language_code: str = "") -> voice_pb2.TranscribeRequest:
    return voice_pb2.TranscribeRequest(
        config=voice_pb2.TranscribeConfig(content_type=content_type, language_code=language_code)
    )


def chunk(data: bytes = SOUND) -> voice_pb2.TranscribeRequest:
    return voice_pb2.TranscribeRequest(chunk=data)


@asynccontextmanager
async def listening(**given: Any) -> AsyncIterator[tuple[Voice, SpeechFake]]:
    """A voice service and the server that it asks."""
    async with speech_fake() as server:
        chosen = {
            "transcribe_base_url": server.url,
            "transcribe_api_key": "secret-key",
            "openai_api_key": None,
            **given,
        }
        async with voice_service(NamedVoice("mock"), **chosen) as voice:
            yield voice, server


async def transcribe(stub: Any, *pieces: voice_pb2.TranscribeRequest, timeout: float = 20) -> Any:
    """What is heard in a recording of these pieces."""
    return await stub.Transcribe(iter(pieces), timeout=timeout)


async def failure(call: Any) -> DomainError:
    """The error of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_a_recording_comes_back_as_text() -> None:
    """Its pieces joined, its type and language told, under the key; language and length of the answer."""
    async with listening() as (voice, server):
        server.transcript = {"text": TEXT, "language": "german", "duration": 2.5}
        answer = await transcribe(
            voice.stub, config("audio/webm;codecs=opus", "de-AT"), chunk(SOUND[:9]), chunk(b""), chunk(SOUND[9:])
        )

    assert (TEXT, "de", 2.5, "whisper-1") == (
        answer.text,
        answer.language_code,
        answer.duration.ToMilliseconds() / 1_000,
        answer.model,
    )
    (upload,) = server.uploads
    assert {"model": "whisper-1", "language": "de", "response_format": "verbose_json"} == upload.fields
    assert (SOUND, "recording.webm", "audio/webm") == (upload.file, upload.file_name, upload.content_type)
    assert "Bearer secret-key" == upload.headers["Authorization"]


@pytest.mark.parametrize(
    ("answer", "language", "seconds"),
    [
        ({"text": TEXT}, "ru", 0),
        ({"text": TEXT, "language": "en", "duration": 0.0}, "en", 0),
        ({"text": TEXT, "language": "klingon", "duration": "long"}, "ru", 0),
        ({"text": TEXT, "languages": [{"code": "uk"}], "usage": {"type": "duration", "seconds": 3}}, "uk", 3),
        ({"text": TEXT, "language": "haitian creole"}, "ht", 0),
    ],
)
async def test_what_a_server_leaves_out_is_left_out(answer: dict[str, Any], language: str, seconds: float) -> None:
    """The language that was asked for stands in; a length that nobody says is unset."""
    async with listening(transcribe_model="gpt-transcribe") as (voice, server):
        server.transcript = answer
        heard = await transcribe(voice.stub, config(language_code="ru"), chunk())

    assert (language, seconds) == (heard.language_code, heard.duration.seconds)
    assert heard.HasField("duration") is bool(seconds)
    assert "json" == server.uploads[0].fields["response_format"]


@pytest.mark.parametrize(
    ("pieces", "field"),
    [
        ([], "config"),
        ([chunk()], "config"),
        ([voice_pb2.TranscribeRequest()], "piece"),
        ([config(""), chunk()], "config.content_type"),
        ([config("text/plain"), chunk()], "config.content_type"),
        ([config("audio/wav\r\nX-Header: 1"), chunk()], "config.content_type"),
        ([config("audio/wav;" + "x" * 300), chunk()], "config.content_type"),
        ([config(language_code="deutsch!"), chunk()], "config.language_code"),
        ([config(), config()], "config"),
        ([config(), chunk(), config()], "config"),
        ([config(), voice_pb2.TranscribeRequest()], "piece"),
        ([config()], "chunk"),
        ([config(), chunk(b"")], "chunk"),
        ([config(), chunk(), *[chunk(b"")] * 1_002, chunk()], "chunk"),
    ],
)
async def test_a_recording_begins_with_its_config_and_has_something_in_it(pieces: Pieces, field: str) -> None:
    """INVALID_ARGUMENT that names the field; nobody is asked."""
    async with listening() as (voice, server):
        error = await failure(transcribe(voice.stub, *pieces))

    assert (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED") == (error.code, error.reason)
    assert [field] == [violation.field for violation in error.violations]
    assert [] == server.uploads


async def test_everything_wrong_with_the_config_is_told_at_once() -> None:
    """Both fields."""
    async with listening() as (voice, _):
        error = await failure(transcribe(voice.stub, config("", "deutsch!")))

    assert {"config.content_type", "config.language_code"} == {violation.field for violation in error.violations}


async def test_without_a_server_the_variable_is_named() -> None:
    """FAILED_PRECONDITION / INVALID_CONFIGURATION, before the recording is read to its end; no circuit knows of it."""
    never = asyncio.Event()

    async def endless() -> AsyncIterator[voice_pb2.TranscribeRequest]:
        yield config()
        yield chunk()
        await never.wait()

    async with voice_service(NamedVoice("mock"), transcribe_api_key=None, openai_api_key=None) as voice:
        error = await failure(voice.stub.Transcribe(endless(), timeout=20))
        circuits = await _circuits(voice)

    assert (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_CONFIGURATION") == (error.code, error.reason)
    assert "OPENAI_API_KEY" in error.message
    assert "TRANSCRIBE_BASE_URL" in error.metadata["transcribe"]
    assert "transcribe" not in circuits


async def _circuits(voice: Voice) -> dict[str, int]:
    stub: Any = status_pb2_grpc.StatusServiceStub(voice.service.channel)
    answer = await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=5)
    return {circuit.name: circuit.state for circuit in answer.status.circuits}


async def test_openais_key_stands_in() -> None:
    """OPENAI_API_KEY where TRANSCRIBE_API_KEY is unset."""
    async with listening(transcribe_api_key=None, openai_api_key="openai-key") as (voice, server):
        await transcribe(voice.stub, config(), chunk())

    assert "Bearer openai-key" == server.uploads[0].headers["Authorization"]


async def test_a_server_of_ones_own_needs_no_key() -> None:
    """No header then."""
    async with listening(transcribe_api_key=None) as (voice, server):
        await transcribe(voice.stub, config(), chunk())

    assert "Authorization" not in server.uploads[0].headers


@pytest.mark.parametrize("pieces", [1, 40])
async def test_a_recording_that_is_too_large_is_refused_before_anybody_is_asked(pieces: int) -> None:
    """FAILED_PRECONDITION / RECORDING_TOO_LARGE with the bound; exactly the bound is fine."""
    async with listening(transcribe_max_bytes=50_000) as (voice, server):
        size = 50_000 // pieces + 1
        error = await failure(transcribe(voice.stub, config(), *[chunk(bytes(size))] * pieces))
        assert [] == server.uploads
        await transcribe(voice.stub, config(), chunk(bytes(50_000)))

    assert (grpc.StatusCode.FAILED_PRECONDITION, "RECORDING_TOO_LARGE") == (error.code, error.reason)
    assert {"max_bytes": "50000"} == error.metadata


async def test_a_refusal_reaches_a_caller_who_still_writes() -> None:
    """Each time: the rest is read away first, since gRPC would put an error of its own in its place."""
    pieces = [config(), *[chunk(bytes(65_536))] * 60]
    async with listening(transcribe_max_bytes=100_000) as (voice, _):
        errors = await asyncio.gather(*(failure(transcribe(voice.stub, *pieces)) for _ in range(20)))

    assert ["RECORDING_TOO_LARGE"] * 20 == [error.reason for error in errors]


async def test_silence_is_no_wish() -> None:
    """FAILED_PRECONDITION / NO_SPEECH."""
    async with listening() as (voice, server):
        server.transcript = {"text": " \n", "language": "english", "duration": 1.0}
        error = await failure(transcribe(voice.stub, config(), chunk()))

    assert (grpc.StatusCode.FAILED_PRECONDITION, "NO_SPEECH") == (error.code, error.reason)


@pytest.mark.parametrize(
    ("reply", "code", "reason", "calls"),
    [
        (Reply(status=400), grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_REFUSED", 1),
        (Reply(status=401), grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_AUTH", 1),
        (Reply(status=402), grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", 1),
        (Reply(status=404), grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_UNSUPPORTED", 1),
        (Reply(status=413), grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_REFUSED", 1),
        (Reply(status=429), grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", 3),
        (Reply(status=500), grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE", 3),
        (Reply(cut_after=0), grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR", 3),
        (Reply(cut_after=10), grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR", 3),
        (Reply(body=b"<html>", content_type="text/html"), grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR", 3),
        (Reply(body=NO_CREDITS, content_type=JSON), grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", 1),
        (Reply(body=b'{"text": null}', content_type=JSON), grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR", 3),
        (Reply(body=b"[]", content_type=JSON), grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR", 3),
    ],
)  # fmt: skip
async def test_each_failure_has_its_reason(reply: Reply, code: grpc.StatusCode, reason: str, calls: int) -> None:
    """And is called again where that may help: two more times."""
    async with listening() as (voice, server):
        server.script(*[reply] * calls)
        error = await failure(transcribe(voice.stub, config(), chunk()))

    assert (code, reason) == (error.code, error.reason)
    assert {"provider": "transcribe"}.items() <= error.metadata.items()
    assert calls == len(server.uploads)


async def test_a_call_that_failed_is_made_again_with_the_whole_recording() -> None:
    """The second one succeeds."""
    async with listening() as (voice, server):
        server.script(Reply(status=503))
        answer = await transcribe(voice.stub, config(), chunk())

    assert TEXT == answer.text
    assert [SOUND, SOUND] == [upload.file for upload in server.uploads]


async def test_a_server_that_is_down_is_not_asked_for_a_while() -> None:
    """The circuit "transcribe" opens; its state is told, and closing it by hand lets calls through."""
    async with listening(retries=0, breaker_failures=2) as (voice, server):
        server.script(Reply(status=500), Reply(status=500))
        for _ in range(2):
            await failure(transcribe(voice.stub, config(), chunk()))
        error = await failure(transcribe(voice.stub, config(), chunk()))
        assert 2 == len(server.uploads)
        assert status_pb2.CIRCUIT_STATE_OPEN == (await _circuits(voice))["transcribe"]
        stub: Any = status_pb2_grpc.StatusServiceStub(voice.service.channel)
        await stub.ResetCircuit(status_pb2.ResetCircuitRequest(name="transcribe"), timeout=5)
        answer = await transcribe(voice.stub, config(), chunk())

    assert (grpc.StatusCode.UNAVAILABLE, "CIRCUIT_OPEN") == (error.code, error.reason)
    assert error.retry_after
    assert TEXT == answer.text


async def test_a_server_that_stalls_runs_into_the_time_of_the_call() -> None:
    """A typed error, within the bound of the whole call."""
    async with listening(tuning=Tuning(transcription=2.0)) as (voice, server):
        server.script(Reply(hold=asyncio.Event()))
        error = await failure(transcribe(voice.stub, config(), chunk()))

    assert error.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    assert error.reason in {"NETWORK_ERROR", "TIMEOUT"}


async def test_a_recording_that_does_not_come_runs_into_the_time_of_the_call() -> None:
    """DEADLINE_EXCEEDED / TIMEOUT."""
    never = asyncio.Event()

    async def slow() -> AsyncIterator[voice_pb2.TranscribeRequest]:
        yield config()
        await never.wait()

    async with listening(tuning=Tuning(transcription=0.2)) as (voice, _):
        error = await failure(voice.stub.Transcribe(slow(), timeout=20))

    assert (grpc.StatusCode.DEADLINE_EXCEEDED, "TIMEOUT") == (error.code, error.reason)


async def test_nothing_of_what_was_said_is_logged() -> None:
    """Neither the text nor the key, whether it goes well or not."""
    with capture_logs() as lines:
        async with listening() as (voice, server):
            server.script(Reply(), Reply(status=400, body=b'{"error": {"message": "dragon"}}', content_type=JSON))
            await transcribe(voice.stub, config(), chunk())
            await failure(transcribe(voice.stub, config(), chunk()))

    assert lines
    assert "dragon" not in str(lines)
    assert "secret-key" not in str(lines)


async def test_calls_are_counted_and_audited() -> None:
    """By how they ended, with the server's id of the call."""
    with capture_logs() as lines:
        async with listening() as (voice, server):
            server.script(Reply(headers={"X-Request-Id": "req-1"}), Reply(status=400))
            await transcribe(voice.stub, config(), chunk())
            await failure(transcribe(voice.stub, config(), chunk()))

    audited = [line for line in lines if line.get("endpoint") == "audio_transcriptions"]
    assert [("transcribe", "success", "req-1"), ("transcribe", "invalid_input", None)] == [
        (line["provider"], line["status"], line.get("upstream_request_id")) for line in audited
    ]


async def test_through_the_gateway_a_story_can_be_asked_for_by_voice(tmp_path: Path) -> None:
    """The library and the command get the text; what was understood becomes the wish of a whole story."""
    recording = tmp_path / "prompt.wav"
    recording.write_bytes(SOUND * 30)
    async with speech_fake() as server:
        server.transcript = {"text": "A story about dragons.", "language": "english", "duration": 2.5}
        listens = {"transcribe_base_url": server.url, "transcribe_api_key": "secret-key"}
        async with house(tmp_path / "house", voice=listens) as cluster:
            target = cluster.servers["gateway"].address
            async with AsyncTaleClient(target) as client:
                heard = await client.transcribe(recording)
            arguments = ("tell", "--name", "Mia", "--minutes", "1", "--ask", "prompt.wav", "--json")
            code, _, err = await tale(target, tmp_path, *arguments)
            (kept,) = [each async for each in _stories(target)]

    assert "A story about dragons." == heard.text
    assert [SOUND * 30] * 2 == [upload.file for upload in server.uploads]
    assert 0 == code, err
    assert 'Understood: "A story about dragons."' in err
    assert ("A story about dragons.", "en") == (kept.wish, kept.language_code)


async def _stories(target: str) -> AsyncIterator[Any]:
    async with AsyncTaleClient(target) as client:
        async for summary in client.list_stories():
            yield await client.get_story(summary.id)


async def test_through_the_gateway_every_refusal_comes_as_it_is(tmp_path: Path) -> None:
    """The reasons of the voice service, with their details, while the caller still writes."""
    async with house(tmp_path, voice={"transcribe_api_key": None, "openai_api_key": None}) as cluster:
        stub: Any = voice_pb2_grpc.VoiceServiceStub(cluster.channel)
        pieces = [config(), *[chunk(bytes(65_536))] * 40]
        unset = [await failure(transcribe(stub, *pieces)) for _ in range(10)]
        empty = await failure(transcribe(stub))

    assert {"INVALID_CONFIGURATION"} == {error.reason for error in unset}
    assert "OPENAI_API_KEY" in unset[0].message
    assert ["config"] == [violation.field for violation in empty.violations]
