"""Calls that concern the services: voices, models, transcription, status, circuits."""

from contextlib import aclosing
from pathlib import Path
from typing import Final

from tale.common.v1 import status_pb2
from tale.gateway.v1 import gateway_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2
from tale_client.calls import PAGE_SIZE, Calls
from tale_client.errors import TaleError, Violation, own_error
from tale_client.transport import Rpc

GET_SYSTEM_STATUS: Final = Rpc(gateway_pb2.GetSystemStatusRequest, gateway_pb2.GetSystemStatusResponse)
LIST_MODELS: Final = Rpc(story_pb2.ListModelsRequest, story_pb2.ListModelsResponse)
LIST_PROVIDERS: Final = Rpc(voice_pb2.ListProvidersRequest, voice_pb2.ListProvidersResponse)
LIST_VOICES: Final = Rpc(voice_pb2.ListVoicesRequest, voice_pb2.ListVoicesResponse)
RESET_CIRCUIT: Final = Rpc(gateway_pb2.ResetCircuitRequest, gateway_pb2.ResetCircuitResponse)
TRANSCRIBE: Final = Rpc(voice_pb2.TranscribeRequest, voice_pb2.TranscribeResponse)

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
"""Media types of recordings by the suffix of the file."""

_CHUNK_BYTES: Final = 64 * 1024
_MAX_BYTES: Final = 256 << 20
"""More than any server accepts; limits what is read from an endless file."""
_TRANSCRIBE_SECONDS: Final = 150.0
"""Default timeout of a transcription; the server's own limit is two minutes by default."""


class ServiceCalls(Calls):
    """What the services offer, and their state. Lists are returned whole; `stale`: a part of one is out of date."""

    async def list_providers(self) -> voice_pb2.ListProvidersResponse:
        """Returns the speech providers in their order of use."""
        return await self._unary(LIST_PROVIDERS, voice_pb2.ListProvidersRequest())

    async def list_voices(self, *, provider: str = "", language_code: str = "") -> voice_pb2.ListVoicesResponse:
        """Returns the voices of a provider (empty: of all configured ones) for a language (BCP-47; empty: any)."""
        request = voice_pb2.ListVoicesRequest(provider=provider, language_code=language_code, page_size=PAGE_SIZE)
        whole = voice_pb2.ListVoicesResponse()
        async with aclosing(self._pages(LIST_VOICES, request)) as found:
            async for page in found:
                whole.voices.extend(page.voices)
                whole.stale |= page.stale
        return whole

    async def list_models(self) -> story_pb2.ListModelsResponse:
        """Returns the models that can write stories."""
        request = story_pb2.ListModelsRequest(page_size=PAGE_SIZE)
        whole = story_pb2.ListModelsResponse()
        async with aclosing(self._pages(LIST_MODELS, request)) as found:
            async for page in found:
                whole.models.extend(page.models)
                whole.stale |= page.stale
        return whole

    async def transcribe(
        self,
        recording: bytes | Path | str,
        *,
        content_type: str = "",
        language_code: str = "",
        timeout: float = _TRANSCRIBE_SECONDS,
    ) -> voice_pb2.TranscribeResponse:
        """Returns the words of a recording: its bytes, or the path of its file.

        `content_type`: media type, such as "audio/wav"; by default it follows the suffix of the file. `language_code`:
        spoken language (BCP-47); empty: it is detected. `timeout`: seconds, with upload and repetitions.

        Raises OSError, and TaleError with INVALID_CONFIGURATION where the cluster has no transcription,
        RECORDING_TOO_LARGE, or NO_SPEECH where the recording has no words.
        """
        if isinstance(recording, bytes):
            data = recording
        else:
            place = Path(recording)
            content_type = content_type or CONTENT_TYPES.get(place.suffix.lower(), "")
            data = await self._transport.offload(_read, place)
        if not content_type:
            raise _unknown_content_type()
        config = voice_pb2.TranscribeConfig(content_type=content_type, language_code=language_code)
        requests = [voice_pb2.TranscribeRequest(config=config)]
        requests += [
            voice_pb2.TranscribeRequest(chunk=data[start : start + _CHUNK_BYTES])
            for start in range(0, len(data), _CHUNK_BYTES)
        ]
        return await self._upload(TRANSCRIBE, requests, timeout=timeout)

    async def system_status(self) -> gateway_pb2.GetSystemStatusResponse:
        """Returns the state of every service and its embedded parts."""
        return await self._unary(GET_SYSTEM_STATUS, gateway_pb2.GetSystemStatusRequest())

    async def reset_circuit(self, name: str, *, service: str = "") -> status_pb2.CircuitStatus:
        """Closes a circuit breaker and returns its new state; `system_status` lists the circuits.

        `service` is needed only if several services have a circuit with this name. If a service has replicas, the one
        that the call reaches is changed.
        """
        response = await self._unary(RESET_CIRCUIT, gateway_pb2.ResetCircuitRequest(service=service, name=name))
        return response.circuit


def _read(place: Path) -> bytes:
    with place.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise own_error("RECORDING_TOO_LARGE", f"The recording is larger than {_MAX_BYTES >> 20} MiB.")
    return data


def _unknown_content_type() -> TaleError:
    known = ", ".join(sorted(set(CONTENT_TYPES.values())))
    message = f"must be given if the file name has no known suffix: one of {known}"
    return own_error(
        "VALIDATION_FAILED",
        f"content_type {message}",
        violations=[Violation("config.content_type", message)],
    )
