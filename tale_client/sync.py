"""The client for programs without an event loop."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Self

import grpc

from tale_client.blocking import BlockingTransport, finish, iterate
from tale_client.client import TaleCalls
from tale_client.retry import ReconnectPolicy, RetryPolicy
from tale_client.transport import P, T, resolve_target


def _answered(
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
    """The gateway, for programs without an event loop; safe for any number of threads at once.

    The methods, arguments and errors are those of AsyncTaleClient; what is an asynchronous iterator there is a
    generator here, which ends its call when it is closed. Use inside of `with`, or call `close`.

    `channel`, in place of a target, is a channel of the caller's own: it is used as it is, neither waited for nor
    closed.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        connect_timeout: float = 10.0,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        reconnect: ReconnectPolicy | None = None,
        channel: grpc.Channel | None = None,
    ) -> None:
        self._blocking = BlockingTransport(
            resolve_target(target), credentials=credentials, connect_timeout=connect_timeout, channel=channel
        )
        self.calls = TaleCalls(
            self._blocking, timeout=timeout, retry=retry or RetryPolicy(), reconnect=reconnect or ReconnectPolicy()
        )
        """The coroutines that the methods run."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the channel and all calls on it."""
        self._blocking.close()

    @property
    def target(self) -> str:
        """Where the gateway is looked for."""
        return self.calls.target

    create_story = _answered(TaleCalls.create_story)
    tell = _iterated(TaleCalls.tell)
    watch = _iterated(TaleCalls.watch)
    get_story = _answered(TaleCalls.get_story)
    list_stories = _iterated(TaleCalls.list_stories)
    cancel_story = _answered(TaleCalls.cancel_story)
    retry_story = _answered(TaleCalls.retry_story)
    narrate_story = _answered(TaleCalls.narrate_story)
    rate_story = _answered(TaleCalls.rate_story)
    delete_story = _answered(TaleCalls.delete_story)
    get_audio_url = _answered(TaleCalls.get_audio_url)
    read_audio = _iterated(TaleCalls.read_audio)
    save_audio = _answered(TaleCalls.save_audio)

    create_child = _answered(TaleCalls.create_child)
    get_child = _answered(TaleCalls.get_child)
    list_children = _iterated(TaleCalls.list_children)
    update_child = _answered(TaleCalls.update_child)
    delete_child = _answered(TaleCalls.delete_child)
    erase_child = _answered(TaleCalls.erase_child)
    create_hero = _answered(TaleCalls.create_hero)
    get_hero = _answered(TaleCalls.get_hero)
    list_heroes = _iterated(TaleCalls.list_heroes)
    update_hero = _answered(TaleCalls.update_hero)
    delete_hero = _answered(TaleCalls.delete_hero)

    transcribe = _answered(TaleCalls.transcribe)

    list_providers = _answered(TaleCalls.list_providers)
    list_voices = _answered(TaleCalls.list_voices)
    list_models = _answered(TaleCalls.list_models)
    system_status = _answered(TaleCalls.system_status)
    reset_circuit = _answered(TaleCalls.reset_circuit)
