"""A voice service in the test's process, on mock providers of several names."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import grpc

from servicekit.resilience.errors import ProviderError
from support.servers import Running, running
from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2, voice_pb2_grpc
from voice_service.bootstrap import assemble
from voice_service.ports import ProviderMetadata, SegmentRequest, SpeechItem, VoiceInfo
from voice_service.providers.mock.provider import MockJournal, MockVoiceProvider
from voice_service.providers.mock.script import MockScript
from voice_service.settings import Tuning, VoiceServiceSettings
from voice_service.synthesis.store import SegmentStore

STORY = (
    "Once there was a small fox who could not sleep. She counted the stars above the sea. Dr. Owl came at 3 p.m. and "
    "brought warm milk. The fox drank it slowly, and she thanked him with a bow!\n\n"
    "Then the wind began to sing. It sang of the long road home, of the mill and of the quiet river, and of all the "
    "animals who were asleep already. The fox listened. She forgot to count. One eye closed, and then the other one "
    "closed too, and the moon looked after her until the morning came. In the morning she told everybody about it, and "
    "nobody wanted to believe her. But Dr. Owl only smiled and said nothing at all. That was enough for the fox. "
)


class NamedVoice:
    """The mock voice under another name; what it says differs by the name."""

    def __init__(self, name: str, script: MockScript | None = None) -> None:
        self.mock = MockVoiceProvider(script)
        self._name = name
        self.called = asyncio.Event()
        """Set when the first call has begun."""

    @property
    def journal(self) -> MockJournal:
        return self.mock.journal

    @property
    def metadata(self) -> ProviderMetadata:
        return replace(self.mock.metadata, name=self._name, default_voice=self._name, default_model=f"{self._name}-1")

    @property
    def is_set(self) -> bool:
        return self.mock.is_set

    async def validate_configuration(self) -> str:
        return await self.mock.validate_configuration()

    async def probe(self) -> None:
        try:
            await self.mock.probe()
        except ProviderError as error:
            raise self._own(error) from error

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        self.called.set()
        try:
            async for item in self.mock.synthesize(request):
                yield item
        except ProviderError as error:
            raise self._own(error) from error

    async def list_voices(self, language_code: str | None = None) -> Sequence[VoiceInfo]:
        return [replace(voice, voice_id=self._name) for voice in await self.mock.list_voices(language_code)]

    async def knows_voice(self, voice_id: str, language_code: str) -> bool:
        del language_code
        return voice_id == self._name

    async def aclose(self) -> None:
        await self.mock.aclose()

    def _own(self, error: ProviderError) -> ProviderError:
        return ProviderError(error.kind, error.message, provider=self._name, retry_after=error.retry_after)


class HeldVoice(NamedVoice):
    """Speaks when it is let go."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.go_on = asyncio.Event()

    async def synthesize(self, request: SegmentRequest) -> AsyncGenerator[SpeechItem, None]:
        self.called.set()
        await self.go_on.wait()
        async for item in super().synthesize(request):
            yield item


@dataclass(slots=True)
class Told:
    """What a call of SynthesizeSpeech answered."""

    header: common_pb2.NarrationHeader | None = None
    segments: list[common_pb2.Segment] = field(default_factory=list)
    attempts: list[common_pb2.Attempt] = field(default_factory=list)
    warnings: list[common_pb2.Problem] = field(default_factory=list)
    summary: voice_pb2.SpeechSummary | None = None
    chunks: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    error: grpc.aio.AioRpcError | None = None

    def add(self, response: voice_pb2.SynthesizeSpeechResponse) -> None:
        kind = response.WhichOneof("event")
        assert kind is not None
        self.kinds.append(kind)
        match kind:
            case "header":
                self.header = response.header
            case "segment":
                self.segments.append(response.segment)
            case "attempt":
                # One that was sent is followed by itself when it has ended.
                self.attempts = [each for each in self.attempts if each.attempt_id != response.attempt.attempt_id]
                self.attempts.append(response.attempt)
            case "warning":
                self.warnings.append(response.warning)
            case "summary":
                self.summary = response.summary
            case _:
                self.offsets.append(response.chunk.offset)
                self.chunks.append(response.chunk.data)

    @property
    def audio(self) -> bytes:
        """All the audio that came."""
        return b"".join(self.chunks)

    def piece(self, index: int) -> bytes:
        """The audio of a segment, where all of the audio is here."""
        span = self.segments[index].audio
        return self.audio[span.start : span.end]


class Voice:
    """A running voice service and its providers."""

    def __init__(self, running_service: Running) -> None:
        self.service = running_service
        self.stub = voice_pb2_grpc.VoiceServiceStub(running_service.channel)

    async def tell(self, text: str | Iterable[str] = STORY, **config: Any) -> Told:
        """Narrate a text, whole or in pieces; a failure is in `error`."""
        pieces = [text] if isinstance(text, str) else list(text)
        config.setdefault("language_code", "en")
        told = Told()
        try:
            async for response in self.stub.SynthesizeSpeech(self._requests(pieces, config), timeout=30):
                told.add(response)
        except grpc.aio.AioRpcError as error:
            told.error = error
        return told

    @staticmethod
    async def _requests(pieces: list[str], config: dict[str, Any]) -> AsyncIterator[voice_pb2.SynthesizeSpeechRequest]:
        yield voice_pb2.SynthesizeSpeechRequest(config=voice_pb2.SpeechConfig(**config))
        for piece in pieces:
            yield voice_pb2.SynthesizeSpeechRequest(text=voice_pb2.TextPiece(text=piece))


QUICK: Final = Tuning(retry_delay=0)
"""No wait before a retry."""


def settings(**given: Any) -> VoiceServiceSettings:
    """Settings for a test: free ports, segments in memory, `mock` first."""
    return VoiceServiceSettings(
        **{
            "listen": "127.0.0.1:0",
            "ops_listen": "127.0.0.1:0",
            "storage_target": "",
            "elevenlabs_api_key": None,
            "speech_base_url": "",
            "default_provider": "mock",
            "drain_seconds": 1,
            **given,
        }
    )


@asynccontextmanager
async def voice_service(
    *providers: Any, store: SegmentStore | None = None, tuning: Tuning = QUICK, **given: Any
) -> AsyncIterator[Voice]:
    """Runs a voice service on these providers and, where it is given, that segment store."""
    chosen = settings(**given)
    app = assemble(chosen, providers, tuning=tuning, store=store)
    async with running(app, settings=chosen, service="voice") as service:
        yield Voice(service)


def faults(*given: dict[str, Any], **more: Any) -> MockScript:
    """A script of the mock voice with these faults."""
    return MockScript.model_validate({"faults": list(given), **more})


def reason_of(error: grpc.aio.AioRpcError | None) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Code, reason and metadata of a failed call."""
    from servicekit.status import from_rpc_error  # noqa: PLC0415 - only failing calls need it

    assert error is not None
    domain = from_rpc_error(error)
    return domain.code, domain.reason, dict(domain.metadata)


def sha256(data: bytes) -> bytes:
    """SHA-256 of `data`."""
    return hashlib.sha256(data).digest()
