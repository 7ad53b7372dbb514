"""Recordings: what is said in them."""

from pathlib import Path
from typing import Final

from tale.voice.v1 import voice_pb2
from tale_client.calls import Calls
from tale_client.errors import TaleError, Violation, own_error
from tale_client.rpcs import TRANSCRIBE

CONTENT_TYPES: Final = {
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".mp4": "video/mp4",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".webm": "audio/webm",
    ".flac": "audio/flac",
}
"""Media types of recordings by the suffix of their file."""

_CHUNK: Final = 64 * 1024
_LONGEST: Final = 256 << 20
"""More than any server takes: a file that does not end is not read to its end."""
_TIMEOUT: Final = 150.0
"""Seconds for a recording with all that is done to it; the server's own bound is two minutes by default."""


class RecordingCalls(Calls):
    """Speech to text."""

    async def transcribe(
        self,
        recording: bytes | Path | str,
        *,
        content_type: str = "",
        language_code: str = "",
        timeout: float = _TIMEOUT,
    ) -> voice_pb2.TranscribeResponse:
        """What is said in a recording: its bytes, or the path of its file. Also OSError.

        `content_type` is its media type, such as "audio/wav"; of a file it is told by the suffix. `language_code`
        (BCP-47) is what is spoken; empty: to be told. `timeout` in seconds, upload and repetitions included.
        FAILED_PRECONDITION / INVALID_CONFIGURATION where the cluster has nobody who listens, RECORDING_TOO_LARGE,
        NO_SPEECH where no words are heard.
        """
        if isinstance(recording, bytes):
            data = recording
        else:
            place = Path(recording)
            content_type = content_type or CONTENT_TYPES.get(place.suffix.lower(), "")
            data = await self._transport.offload(_read, place)
        if not content_type:
            raise _unknown()
        config = voice_pb2.TranscribeConfig(content_type=content_type, language_code=language_code)
        requests = [voice_pb2.TranscribeRequest(config=config)]
        requests += [
            voice_pb2.TranscribeRequest(chunk=data[start : start + _CHUNK]) for start in range(0, len(data), _CHUNK)
        ]
        return await self._upload(TRANSCRIBE, requests, timeout=timeout)


def _read(place: Path) -> bytes:
    with place.open("rb") as file:
        data = file.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise own_error("RECORDING_TOO_LARGE", "The recording is far too large.")
    return data


def _unknown() -> TaleError:
    known = ", ".join(sorted(set(CONTENT_TYPES.values())))
    message = f"must be given where the name of the file does not tell it: one of {known}"
    return own_error(
        "VALIDATION_FAILED",
        f"content_type {message}",
        violations=[Violation("config.content_type", message)],
    )
