"""The clients: AsyncTaleClient for asyncio, TaleClient for programs without an event loop."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from copy import copy
from functools import wraps
from typing import Any, Concatenate, Self

import grpc

from tale_client.aio import AioTransport
from tale_client.blocking import BlockingTransport, finish, iterate
from tale_client.calls import ReconnectPolicy, RetryPolicy
from tale_client.errors import TaleError
from tale_client.services import ProfileCalls, ServiceCalls
from tale_client.stories import StoryCalls
from tale_client.transport import P, T, resolve_target


class TaleCalls(StoryCalls, ProfileCalls, ServiceCalls):
    """Every call to a gateway, over any transport."""


class AsyncTaleClient(TaleCalls):
    """The gateway, for one event loop. Use it inside `async with`; any number of tasks may share it.

    `target`: a gRPC target ("host:port", "dns:///host:port", "unix:/path"); None: GATEWAY_TARGET of the environment, or
    127.0.0.1:50051. `credentials`: None for plain text. `token`: an API key or JSON Web Token; None: TALE_TOKEN of the
    environment. `connect_timeout`: seconds to wait for a connection. `timeout`: seconds for a unary call with all that
    it does. `metadata` is sent with every call; `with_options` changes both for single calls. Every method raises
    TaleError for a failed call.

    Calls that create something take a `request_id`. Without one a UUIDv7 is used, so that a repetition after a lost
    connection never creates a second story.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        connect_timeout: float = 10.0,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        reconnect: ReconnectPolicy | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self._aio = AioTransport(
            resolve_target(target), credentials=credentials, connect_timeout=connect_timeout, token=token
        )
        super().__init__(self._aio, timeout=timeout, retry=retry, reconnect=reconnect, metadata=metadata)

    async def __aenter__(self) -> Self:
        self._aio.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._aio.close()


def _finished(
    method: Callable[Concatenate[TaleCalls, P], Coroutine[Any, Any, T]],
) -> "Callable[Concatenate[TaleClient, P], T]":
    @wraps(method)
    def call(self: "TaleClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return finish(method(self.calls, *args, **kwargs))

    return call


def _iterated(
    method: Callable[Concatenate[TaleCalls, P], AsyncGenerator[T, None]],
) -> "Callable[Concatenate[TaleClient, P], Generator[T, None, None]]":
    @wraps(method)
    def call(self: "TaleClient", /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        return iterate(method(self.calls, *args, **kwargs))

    return call


class TaleClient:
    """The gateway, for programs without an event loop; any number of threads may share it.

    Methods, arguments and errors are those of AsyncTaleClient. An asynchronous iterator there is a generator here;
    closing it ends the call. Use the client inside `with`, or call `close`.

    A `channel` of the caller is used instead of a target; it is neither waited for nor closed.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        connect_timeout: float = 10.0,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        reconnect: ReconnectPolicy | None = None,
        metadata: Mapping[str, str] | None = None,
        channel: grpc.Channel | None = None,
    ) -> None:
        self._blocking = BlockingTransport(
            resolve_target(target),
            credentials=credentials,
            connect_timeout=connect_timeout,
            channel=channel,
            token=token,
        )
        self.calls = TaleCalls(self._blocking, timeout=timeout, retry=retry, reconnect=reconnect, metadata=metadata)
        """The coroutines that the methods run."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the channel and ends its calls."""
        self._blocking.close()

    def with_options(self, *, metadata: Mapping[str, str] | None = None, timeout: float | None = None) -> Self:
        """See AsyncTaleClient."""
        other = copy(self)
        other.calls = self.calls.with_options(metadata=metadata, timeout=timeout)
        return other

    @property
    def target(self) -> str:
        """Address of the gateway."""
        return self.calls.target

    @property
    def waiting(self) -> tuple[float, TaleError] | None:
        """See AsyncTaleClient."""
        return self.calls.waiting

    create_story = _finished(TaleCalls.create_story)
    tell = _iterated(TaleCalls.tell)
    watch = _iterated(TaleCalls.watch)
    get_story = _finished(TaleCalls.get_story)
    list_stories = _iterated(TaleCalls.list_stories)
    cancel_story = _finished(TaleCalls.cancel_story)
    retry_story = _finished(TaleCalls.retry_story)
    narrate_story = _finished(TaleCalls.narrate_story)
    rate_story = _finished(TaleCalls.rate_story)
    delete_story = _finished(TaleCalls.delete_story)
    get_audio_url = _finished(TaleCalls.get_audio_url)
    get_download_url = _finished(TaleCalls.get_download_url)
    get_feed_url = _finished(TaleCalls.get_feed_url)
    read_audio = _iterated(TaleCalls.read_audio)
    save_audio = _finished(TaleCalls.save_audio)

    create_child = _finished(TaleCalls.create_child)
    get_child = _finished(TaleCalls.get_child)
    list_children = _iterated(TaleCalls.list_children)
    update_child = _finished(TaleCalls.update_child)
    delete_child = _finished(TaleCalls.delete_child)
    erase_child = _finished(TaleCalls.erase_child)
    create_hero = _finished(TaleCalls.create_hero)
    get_hero = _finished(TaleCalls.get_hero)
    list_heroes = _iterated(TaleCalls.list_heroes)
    update_hero = _finished(TaleCalls.update_hero)
    delete_hero = _finished(TaleCalls.delete_hero)

    transcribe = _finished(TaleCalls.transcribe)
    list_providers = _finished(TaleCalls.list_providers)
    list_voices = _finished(TaleCalls.list_voices)
    list_models = _finished(TaleCalls.list_models)
    system_status = _finished(TaleCalls.system_status)
    reset_circuit = _finished(TaleCalls.reset_circuit)
    usage = _finished(TaleCalls.usage)
