"""Transcribe on the wire: takes a recording as it comes, bounded, and answers what was said."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Final

from servicekit.errors import DomainError, FieldViolation, validation_failed
from servicekit.validation import Progress
from servicekit.waiting import Places
from tale.voice.v1 import voice_pb2
from voice_service.transcription.transcriber import KNOWN, Recording, is_known, media_type

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from servicekit.resilience.outgoing import Attempt, OutgoingCalls
    from voice_service.transcription.transcriber import Transcriber, Transcript

ENDPOINT: Final = "audio_transcriptions"
MAX_BYTES: Final = 25 << 20
"""What OpenAI takes at most."""
_MOST_AT_ONCE: Final = 8
"""Recordings that are held in memory at a time; the next ones wait, unread."""
_WAIT_SECONDS: Final = 10.0


class TranscribeHandler:
    """Answers Transcribe. `seconds` is how long a call may take from its first byte to the answer."""

    def __init__(
        self, transcriber: Transcriber, calls: OutgoingCalls, *, max_bytes: int = MAX_BYTES, seconds: float = 120.0
    ) -> None:
        self._transcriber = transcriber
        self._calls = calls
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._places = Places(
            _MOST_AT_ONCE, seconds=_WAIT_SECONDS, refusal="Too many recordings are being transcribed."
        )

    async def handle(self, requests: AsyncIterator[voice_pb2.TranscribeRequest]) -> voice_pb2.TranscribeResponse:
        """Reads the whole recording and answer what is said in it.

        Raises DomainError: INVALID_ARGUMENT / VALIDATION_FAILED; FAILED_PRECONDITION / INVALID_CONFIGURATION where no
        server is set up, before the recording is read; FAILED_PRECONDITION / RECORDING_TOO_LARGE as soon as it is,
        and NO_SPEECH where no words are in it; RESOURCE_EXHAUSTED / RATE_LIMITED where too many others are being read;
        DEADLINE_EXCEEDED / TIMEOUT; and what a ProviderError stands for.
        """
        pieces = aiter(requests)
        try:
            async with asyncio.timeout(self._seconds):
                return await self._answer(pieces, asyncio.get_running_loop().time() + self._seconds)
        except TimeoutError:
            raise DomainError("TIMEOUT", "The transcription took longer than one call may take.") from None

    async def _answer(
        self, pieces: AsyncIterator[voice_pb2.TranscribeRequest], deadline: float
    ) -> voice_pb2.TranscribeResponse:
        config = _config(await anext(pieces, None))
        self._check_set_up()
        async with self._places.place():
            recording = Recording(await self._read(pieces), media_type(config.content_type), config.language_code)

            async def work(attempt: Attempt) -> Transcript:
                transcript = await self._transcriber.transcribe(recording, deadline=deadline)
                attempt.ids["request_id"] = transcript.request_id
                return transcript

            return _response(await self._calls.call(ENDPOINT, work, deadline=deadline))

    def _check_set_up(self) -> None:
        missing = self._transcriber.missing()
        if missing:
            raise DomainError(
                "INVALID_CONFIGURATION",
                f"Transcription is not configured: {missing}.",
                metadata={self._transcriber.name: missing},
            )

    async def _read(self, pieces: AsyncIterator[voice_pb2.TranscribeRequest]) -> bytes:
        data, progress = io.BytesIO(), Progress("chunk")
        async for piece in pieces:
            if piece.HasField("config"):
                raise validation_failed([FieldViolation("config", "must be sent once, first")])
            chunk = piece.chunk
            progress.count(chunk)
            if data.tell() + len(chunk) > self._max_bytes:
                raise DomainError(
                    "RECORDING_TOO_LARGE",
                    f"The recording has more than {self._max_bytes} bytes.",
                    metadata={"max_bytes": str(self._max_bytes)},
                )
            data.write(chunk)
        if not data.tell():
            raise validation_failed([FieldViolation("chunk", "must be given: the recording is empty")])
        # Its own buffer: no second copy.
        return data.getvalue()


def _config(first: voice_pb2.TranscribeRequest | None) -> voice_pb2.TranscribeConfig:
    if first is None or not first.HasField("config"):
        raise validation_failed([FieldViolation("config", "must be the first message")])
    config = first.config
    if not is_known(config.content_type):
        raise validation_failed([FieldViolation("config.content_type", f"must be one of {', '.join(KNOWN)}")])
    return config


def _response(transcript: Transcript) -> voice_pb2.TranscribeResponse:
    if not transcript.text.strip():
        raise DomainError("NO_SPEECH", "The recording contains no speech.")
    response = voice_pb2.TranscribeResponse(
        text=transcript.text, language_code=transcript.language_code, model=transcript.model
    )
    if transcript.duration is not None:
        response.duration.FromMilliseconds(round(transcript.duration * 1_000))
    return response
