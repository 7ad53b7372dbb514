"""A gateway that sends scripted responses, on a real server."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tale.gateway.v1 import gateway_pb2
from tale.profile.v1 import profile_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2

SERVICES = (
    gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"],
    profile_pb2.DESCRIPTOR.services_by_name["ProfileService"],
    story_pb2.DESCRIPTOR.services_by_name["StoryService"],
    voice_pb2.DESCRIPTOR.services_by_name["VoiceService"],
)

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class Failure:
    """Ends a call with a status; with google.rpc details if it has a reason."""

    code: grpc.StatusCode
    reason: str = ""
    message: str = "scripted"
    violations: Sequence[tuple[str, str]] = ()
    retry_after: float | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    async def abort(self, context: Context) -> None:
        """Ends the call."""
        if not self.reason:
            await context.abort(self.code, self.message)
        details: list[Message] = [
            error_details_pb2.ErrorInfo(reason=self.reason, domain="tale", metadata=self.metadata)
        ]
        if self.violations:
            each = error_details_pb2.BadRequest.FieldViolation
            details.append(
                error_details_pb2.BadRequest(
                    field_violations=[each(field=name, description=said) for name, said in self.violations]
                )
            )
        if self.retry_after is not None:
            info = error_details_pb2.RetryInfo()
            info.retry_delay.FromNanoseconds(int(self.retry_after * 1e9))
            details.append(info)
        packed = [any_pb2.Any() for _ in details]
        for place, detail in zip(packed, details, strict=True):
            place.Pack(detail)
        status = status_pb2.Status(code=self.code.value[0], message=self.message, details=packed)
        await context.abort_with_status(rpc_status.to_status(status))


@dataclass(frozen=True)
class Hold:
    """A call that sends nothing more until the caller ends it; `reached` is set when it starts."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def hold(self) -> None:
        """Waits for the end of the call."""
        self.reached.set()
        await asyncio.get_running_loop().create_future()


Step = Message | Failure | Hold


class ScriptedGateway(grpc.GenericRpcHandler):
    """Answers each call with the next script queued for its method; a call without one fails."""

    def __init__(self) -> None:
        self.target = ""
        self.calls: list[tuple[str, Message]] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self._scripts: dict[str, deque[Sequence[Step]]] = {}
        self._answers: dict[str, Callable[[Message], Sequence[Step]]] = {}
        self._methods = {
            f"/{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Returns the handler of an RPC of the gateway."""
        method = self._methods.get(str(handler_call_details.method))
        if method is None:
            return None
        make: Callable[..., grpc.RpcMethodHandler[Any, Any]]
        if method.server_streaming:
            make, behaviour = grpc.unary_stream_rpc_method_handler, self._stream(method.name)
        elif method.client_streaming:
            make, behaviour = grpc.stream_unary_rpc_method_handler, self._upload(method.name)
        else:
            make, behaviour = grpc.unary_unary_rpc_method_handler, self._unary(method.name)
        return make(
            behaviour,
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=_serialized,
        )

    def queue(self, method: str, *steps: Step) -> None:
        """Queues the steps of the next call of `method`: one response of a unary call, any number of a stream."""
        self._scripts.setdefault(method, deque()).append(steps)

    def answer(self, method: str, script: Callable[[Message], Sequence[Step]]) -> None:
        """Sets the script for calls of `method` beyond the queued ones: it makes the steps from the request."""
        self._answers[method] = script

    def requests(self, method: str) -> list[Message]:
        """Returns the requests of `method`, in order."""
        return [request for name, request in self.calls if name == method]

    def unused(self) -> dict[str, int]:
        """The scripts that were not used, by method."""
        return {name: len(scripts) for name, scripts in self._scripts.items() if scripts}

    async def _next(self, name: str, request: Message, context: Context) -> Sequence[Step]:
        self.calls.append((name, request))
        self.metadata.append({str(key): value for key, value in context.invocation_metadata() or ()})
        scripts = self._scripts.get(name)
        if not scripts and name in self._answers:
            return self._answers[name](request)
        if not scripts:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"nothing is scripted for {name}")
            raise AssertionError("abort returned")
        return scripts.popleft()

    def _unary(self, name: str) -> Any:
        async def answer(request: Message, context: Context) -> Message:
            (step,) = await self._next(name, request, context)
            if isinstance(step, Failure):
                await step.abort(context)
            if isinstance(step, Hold):
                await step.hold()
            assert isinstance(step, Message)
            return step

        return answer

    def _upload(self, name: str) -> Any:
        async def answer(requests: AsyncIterator[Message], context: Context) -> Message:
            """Runs the script of the first request and records the later requests."""
            (step,) = await self._next(name, await anext(aiter(requests)), context)
            # All requests before the response, as the services do: a caller that still writes would miss a refusal.
            self.calls += [(name, request) async for request in requests]
            if isinstance(step, Failure):
                await step.abort(context)
            assert isinstance(step, Message)
            return step

        return answer

    def _stream(self, name: str) -> Any:
        async def answer(request: Message, context: Context) -> AsyncIterator[Message]:
            for step in await self._next(name, request, context):
                if isinstance(step, Failure):
                    await step.abort(context)
                elif isinstance(step, Hold):
                    await step.hold()
                else:
                    yield step

        return answer


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


@asynccontextmanager
async def scripted_gateway(port: int = 0) -> AsyncIterator[ScriptedGateway]:
    """Runs a scripted gateway on `port` (0: a free one); an unused script fails the test."""
    gateway = ScriptedGateway()
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers((gateway,))
    gateway.target = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    try:
        yield gateway
    finally:
        await server.stop(None)
    assert {} == gateway.unused()
