"""GatewayService: the streams to watchers and listeners, and the state of the cluster, beside the RPCs of stories."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from gateway.door.stories import Context, StoryServicer, seconds_left
from gateway.door.system import System
from gateway.watch.audio import AudioReader
from gateway.watch.cursor import Cursor, chunks_of, fill_audio
from gateway.watch.watcher import Sources, Watching
from servicekit.context import current
from tale.gateway.v1 import gateway_pb2
from tale.storage.v1 import storage_pb2


class GatewayServicer(StoryServicer):
    """The gateway's own RPCs."""

    def __init__(self, sources: Sources, reader: AudioReader, system: System) -> None:
        super().__init__(sources.storage, sources.runs)
        self._sources = sources
        self._reader = reader
        self._system = system

    async def TellStory(  # noqa: N802
        self, request: gateway_pb2.TellStoryRequest, context: Context
    ) -> AsyncIterator[gateway_pb2.TellStoryResponse]:
        """Asks for a story and follows it."""
        story = await self._create(request, context)
        cursor = Cursor(gateway_pb2.TellStoryResponse, story.id, request)
        watching = Watching(cursor, self._sources, owner=current().owner, include_audio=request.include_audio)
        async for response in watching.responses():
            yield response

    async def WatchStory(  # noqa: N802
        self, request: gateway_pb2.WatchStoryRequest, context: Context
    ) -> AsyncIterator[gateway_pb2.WatchStoryResponse]:
        """Follows a story."""
        del context
        cursor = Cursor(gateway_pb2.WatchStoryResponse, request.story_id, request)
        watching = Watching(cursor, self._sources, owner=current().owner, include_audio=request.include_audio)
        async for response in watching.responses():
            yield response

    async def ReadStoryAudio(  # noqa: N802
        self, request: gateway_pb2.ReadStoryAudioRequest, context: Context
    ) -> AsyncIterator[gateway_pb2.ReadStoryAudioResponse]:
        """Returns audio, finished or in the making: a header, then bytes."""
        wanted = storage_pb2.ReadAudioRequest(
            story_id=request.story_id, audio_id=request.audio_id, offset=request.offset
        )
        audio_id = ""
        async with aclosing(self._reader.read(wanted, timeout=context.time_remaining())) as responses:
            async for response in responses:
                if response.HasField("header"):
                    audio_id = response.header.audio_id
                    yield gateway_pb2.ReadStoryAudioResponse(header=response.header)
                    continue
                offset = response.chunk.offset
                for chunk in chunks_of(response.chunk.data):
                    piece = gateway_pb2.ReadStoryAudioResponse()
                    fill_audio(piece.chunk, audio_id, offset, chunk)
                    yield piece
                    offset += len(chunk)

    async def GetSystemStatus(  # noqa: N802
        self, request: gateway_pb2.GetSystemStatusRequest, context: Context
    ) -> gateway_pb2.GetSystemStatusResponse:
        """Describes the cluster."""
        del request, context
        return await self._system.status(running_stories=self._sources.runs.count)

    async def ResetCircuit(  # noqa: N802
        self, request: gateway_pb2.ResetCircuitRequest, context: Context
    ) -> gateway_pb2.ResetCircuitResponse:
        """Closes a circuit breaker of any service; without a service, of the one that has a circuit of that name.

        It is for operators. Whoever may call the gateway may call it, until there is authentication and, with it, a
        way to tell operators from other callers.
        """
        circuit = await self._system.reset_circuit(request.service, request.name, timeout=seconds_left(context))
        return gateway_pb2.ResetCircuitResponse(circuit=circuit)
