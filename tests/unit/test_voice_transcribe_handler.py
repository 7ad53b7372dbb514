"""How many recordings are held at a time, and what languages are called."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from servicekit.errors import DomainError
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import OutgoingCalls
from servicekit.resilience.retry import RetryPolicy
from tale.voice.v1 import voice_pb2
from voice_service.transcription.openai_transcriber import code_of
from voice_service.transcription.transcriber import Recording, Transcript, is_known, media_type, suffix_of
from voice_service.wire import transcribe_servicer
from voice_service.wire.transcribe_servicer import TranscribeHandler


class Waiting:
    """A transcriber that answers when it is let."""

    name = "transcribe"

    def __init__(self) -> None:
        self.heard: list[Recording] = []
        self.room = asyncio.Semaphore(0)

    def missing(self) -> str:
        return ""

    async def transcribe(self, recording: Recording, *, deadline: float | None = None) -> Transcript:
        del deadline
        self.heard.append(recording)
        await self.room.acquire()
        return Transcript(text="said", language_code="en", duration=None, model="m")

    async def aclose(self) -> None:
        """Nothing is held."""


def handler_of(transcriber: Waiting) -> TranscribeHandler:
    """A handler whose calls are not repeated."""
    calls = OutgoingCalls("transcribe", breakers=BreakerManager(), policy=RetryPolicy(retries=0), http=False)
    return TranscribeHandler(transcriber, calls)


async def recording(read: list[int], index: int) -> AsyncIterator[voice_pb2.TranscribeRequest]:
    """A recording of one piece; notes when that is read."""
    yield voice_pb2.TranscribeRequest(config=voice_pb2.TranscribeConfig(content_type="audio/wav"))
    read.append(index)
    yield voice_pb2.TranscribeRequest(chunk=b"sound")


async def settle() -> None:
    """Lets every task go as far as it can."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_the_ninth_recording_is_not_read_before_one_of_eight_is_done() -> None:
    """So that memory is bounded."""
    transcriber, read = Waiting(), list[int]()
    handler = handler_of(transcriber)
    calls = [asyncio.create_task(handler.handle(recording(read, index))) for index in range(10)]
    await settle()
    assert (8, list(range(8))) == (len(transcriber.heard), read)
    transcriber.room.release()
    await settle()
    assert list(range(9)) == read
    for _ in range(9):
        transcriber.room.release()

    assert ["said"] * 10 == [answer.text for answer in await asyncio.gather(*calls)]


async def test_a_recording_for_which_there_is_no_room_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """RESOURCE_EXHAUSTED / RATE_LIMITED with the time to wait; a call that is given up makes room."""
    monkeypatch.setattr(transcribe_servicer, "_WAIT_SECONDS", 0.01)
    transcriber, read = Waiting(), list[int]()
    handler = handler_of(transcriber)
    calls = [asyncio.create_task(handler.handle(recording(read, index))) for index in range(8)]
    await settle()
    with pytest.raises(DomainError) as caught:
        await handler.handle(recording(read, 8))
    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", 0.01) == (
        caught.value.code,
        caught.value.reason,
        caught.value.retry_after,
    )
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    transcriber.room.release()

    assert "said" == (await handler.handle(recording(read, 9))).text


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("english", "en"),
        ("English", "en"),
        ("haitian creole", "ht"),
        ("cantonese", "yue"),
        ("en", "en"),
        ("pt-BR", "pt-br"),
        ("klingon", ""),
        ("", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_a_language_is_known_by_its_name_or_code(said: object, code: str) -> None:
    """As Whisper and its descendants say it."""
    assert code == code_of(said)


@pytest.mark.parametrize(
    ("content_type", "known", "suffix"),
    [
        ("audio/wav", True, "wav"),
        ("Audio/WebM; codecs=opus", True, "webm"),
        ("audio/x-m4a", True, "m4a"),
        ("audio/midi", False, "wav"),
        ("", False, "wav"),
    ],
)
def test_a_media_type_names_the_file(content_type: str, known: bool, suffix: str) -> None:
    """Parameters and case do not count."""
    assert (known, suffix) == (is_known(content_type), suffix_of(content_type))
    assert media_type(content_type) == media_type(media_type(content_type))
