"""Recordings in the client library and in `tale tell --ask`, against a scripted gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.scripted_gateway import Failure, ScriptedGateway, scripted_gateway
from support.tale_command import tale

from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.voice.v1 import voice_pb2
from tale_client import AsyncTaleClient, RetryPolicy, TaleClient, TaleError
from tale_client.calls import Backoff

ID = "0197a5a0-0000-7000-8000-000000000001"
SOUND = bytes(range(256)) * 600
HEARD = voice_pb2.TranscribeResponse(text="A dragon\nwho cannot sleep.", language_code="de", model="whisper-1")
STORY = common_pb2.Story(id=ID, state=common_pb2.STORY_STATE_READY, title="The Owl", content="Once.")
TOLD = gateway_pb2.TellStoryResponse(event=gateway_pb2.StoryEvent(story_id=ID, done=gateway_pb2.DoneEvent(story=STORY)))
AGAIN = RetryPolicy(attempts=3, backoff=Backoff(initial=0.0))


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    async with scripted_gateway() as scripted:
        yield scripted


@pytest.fixture(params=["asyncio", "sync"])
async def transcribe(request: pytest.FixtureRequest, gateway: ScriptedGateway) -> AsyncIterator[Any]:
    """The method of both clients, as a coroutine."""
    if request.param == "asyncio":
        async with AsyncTaleClient(gateway.target, retry=AGAIN) as client:
            yield client.transcribe
        return
    with TaleClient(gateway.target, retry=AGAIN) as blocking:

        async def in_thread(*arguments: Any, **named: Any) -> Any:
            return await asyncio.to_thread(blocking.transcribe, *arguments, **named)

        yield in_thread


def sent(gateway: ScriptedGateway) -> tuple[list[voice_pb2.TranscribeConfig], bytes]:
    """Returns the configs and all bytes of the sent recordings."""
    requests = [
        request for request in gateway.requests("Transcribe") if isinstance(request, voice_pb2.TranscribeRequest)
    ]
    configs = [request.config for request in requests if request.HasField("config")]
    return configs, b"".join(request.chunk for request in requests)


async def test_recording_is_sent_in_chunks(gateway: ScriptedGateway, transcribe: Any) -> None:
    """The config first, then every byte in order, each message far below gRPC's limit."""
    gateway.queue("Transcribe", HEARD)

    assert HEARD == await transcribe(SOUND, content_type="audio/webm", language_code="de")
    configs, data = sent(gateway)
    assert [voice_pb2.TranscribeConfig(content_type="audio/webm", language_code="de")] == configs
    assert SOUND == data
    assert max(request.ByteSize() for request in gateway.requests("Transcribe")) < 70_000


@pytest.mark.parametrize(("name", "content_type"), [("a.WAV", "audio/wav"), ("b.m4a", "audio/mp4")])
async def test_content_type_follows_the_suffix_of_the_file(
    gateway: ScriptedGateway, transcribe: Any, tmp_path: Path, name: str, content_type: str
) -> None:
    """By its suffix, as a path or as text."""
    (tmp_path / name).write_bytes(SOUND)
    for place in (tmp_path / name, str(tmp_path / name)):
        gateway.queue("Transcribe", HEARD)
        await transcribe(place)
    configs, data = sent(gateway)

    assert [content_type, content_type] == [config.content_type for config in configs]
    assert SOUND * 2 == data


async def test_unusable_recording_is_refused_before_the_call(
    gateway: ScriptedGateway, transcribe: Any, tmp_path: Path
) -> None:
    """An unknown type and a missing file; the gateway is not called."""
    (tmp_path / "a.txt").write_bytes(SOUND)
    for recording in (SOUND, tmp_path / "a.txt"):
        with pytest.raises(TaleError) as caught:
            await transcribe(recording)
        assert ["config.content_type"] == [violation.field for violation in caught.value.violations]
    with pytest.raises(FileNotFoundError):
        await transcribe(tmp_path / "none.wav")

    assert [] == gateway.calls


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, ""),
        (grpc.StatusCode.UNAVAILABLE, "RECONNECT"),
        (grpc.StatusCode.UNAVAILABLE, "STARTING"),
        (grpc.StatusCode.INTERNAL, ""),
    ],
)
async def test_upload_that_was_not_started_is_repeated(
    gateway: ScriptedGateway, transcribe: Any, code: grpc.StatusCode, reason: str
) -> None:
    """The whole recording is sent again; INTERNAL without a reason is a lost connection."""
    gateway.queue("Transcribe", Failure(code, reason))
    gateway.queue("Transcribe", HEARD)

    assert HEARD == await transcribe(SOUND, content_type="audio/wav")
    assert 2 == len(sent(gateway)[0])


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "CIRCUIT_OPEN"),
        (grpc.StatusCode.UNAVAILABLE, "NETWORK_ERROR"),
        (grpc.StatusCode.FAILED_PRECONDITION, "INVALID_CONFIGURATION"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
    ],
)
async def test_upload_that_a_provider_failed_is_not_repeated(
    gateway: ScriptedGateway, transcribe: Any, code: grpc.StatusCode, reason: str
) -> None:
    """Each attempt may be billed."""
    gateway.queue("Transcribe", Failure(code, reason, retry_after=1))
    with pytest.raises(TaleError) as caught:
        await transcribe(SOUND, content_type="audio/wav")

    assert code == caught.value.code
    assert reason == caught.value.reason
    assert 1 == caught.value.attempts


async def test_tell_accepts_a_recorded_wish(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """The understood words are printed in one line and become the wish; the story has the language of the recording."""
    (tmp_path / "prompt.wav").write_bytes(SOUND)
    gateway.queue("Transcribe", HEARD)
    gateway.queue("TellStory", TOLD)
    code, out, err = await tale(gateway.target, tmp_path, "tell", "--name", "Mia", "--ask", "prompt.wav", "--json")

    assert 0 == code, err
    assert 'Understood: "A dragon who cannot sleep."\n' in err
    assert ID == json.loads(out)["id"]
    assert ([voice_pb2.TranscribeConfig(content_type="audio/wav")], SOUND) == sent(gateway)
    (request,) = gateway.requests("TellStory")
    assert isinstance(request, gateway_pb2.TellStoryRequest)
    expected = common_pb2.StorySpec(
        child=common_pb2.Child(name="Mia"), wish="A dragon\nwho cannot sleep.", language_code="de"
    )
    assert expected == request.spec


async def test_tell_transcribes_in_the_requested_language(gateway: ScriptedGateway, tmp_path: Path) -> None:
    """--language is the language of the recording and of the story."""
    (tmp_path / "prompt.ogg").write_bytes(SOUND)
    gateway.queue("Transcribe", HEARD)
    gateway.queue("TellStory", TOLD)
    arguments = ("tell", "--name", "Mia", "--ask", "prompt.ogg", "--language", "ru")
    code, _, err = await tale(gateway.target, tmp_path, *arguments)

    assert 0 == code, err
    assert [voice_pb2.TranscribeConfig(content_type="audio/ogg", language_code="ru")] == sent(gateway)[0]
    (request,) = gateway.requests("TellStory")
    assert isinstance(request, gateway_pb2.TellStoryRequest)
    assert "ru" == request.spec.language_code


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ask", "prompt.wav", "--wish", "w"], "Give the wish once: --wish TEXT, or --ask FILE"),
        (["--ask", "none.wav"], "'none.wav' does not exist"),
        (["--ask", "notes.txt"], "unknown format of notes.txt. Use a file ending in .wav, .mp3"),
        (["--ask", "."], "is a directory"),
    ],
)
async def test_wrong_usage_of_ask_fails_before_the_call(
    gateway: ScriptedGateway, tmp_path: Path, arguments: list[str], said: str
) -> None:
    """Exit code 2."""
    for name in ("prompt.wav", "notes.txt"):
        (tmp_path / name).write_bytes(SOUND)
    code, _, err = await tale(gateway.target, tmp_path, "tell", "--name", "Mia", *arguments)

    assert 2 == code
    assert said in " ".join(err.split())
    assert [] == gateway.calls


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (
            Failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                "INVALID_CONFIGURATION",
                "Transcription is not configured. Set OPENAI_API_KEY.",
            ),
            1,
            "Set OPENAI_API_KEY. [INVALID_CONFIGURATION]",
        ),
        (
            Failure(
                grpc.StatusCode.FAILED_PRECONDITION,
                "NO_SPEECH",
                "No words were heard in the recording.",
                metadata={"remedy": "Record it again, closer to the microphone."},
            ),
            1,
            "in the recording. [NO_SPEECH] Record it again, closer to the microphone.",
        ),
        (
            Failure(
                grpc.StatusCode.INVALID_ARGUMENT,
                "VALIDATION_FAILED",
                violations=[("config.content_type", "must be one of audio/wav")],
            ),
            2,
            "Error: --ask must be one of audio/wav",
        ),
    ],
)
async def test_failed_transcription_prints_its_error_and_its_request_id(
    gateway: ScriptedGateway, tmp_path: Path, failure: Failure, code: int, said: str
) -> None:
    """No story is created."""
    (tmp_path / "prompt.wav").write_bytes(SOUND)
    gateway.queue("Transcribe", failure)
    got, out, err = await tale(gateway.target, tmp_path, "tell", "--name", "Mia", "--ask", "prompt.wav")

    assert code == got
    assert "" == out
    message, *ids = err.splitlines()
    assert said in message
    assert 1 >= len(ids)
    assert all(line.startswith("  request id ") for line in ids)
    assert [] == gateway.requests("TellStory")
