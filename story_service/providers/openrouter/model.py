"""A ChatModel over OpenRouter, and the timers of a streamed completion."""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, TypeVar

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.secrets import SecretSource
from story_service.chat import ChatDelta, ChatEvent, ChatRequest, ChatTimers, UpstreamModel
from story_service.providers.openrouter.answer import (
    MAX_BODY_BYTES,
    Completion,
    Payloads,
    decoded_object,
    upstream_models,
)
from story_service.providers.openrouter.errors import PROVIDER, failure, object_failure, safe_id, status_failure
from story_service.providers.openrouter.options import OpenRouterOptions, check_key_format, request_body

if TYPE_CHECKING:
    from story_service.providers.openrouter.sdk import Upstream

T = TypeVar("T")

_LAST_WORDS_SECONDS: Final = 5.0
_NOT_FOUND: Final = 404
_MAX_LIST_BYTES: Final = 33_554_432
_FIRST_LOOK_SECONDS: Final = 0.2
_LONGEST_LOOK_SECONDS: Final = 2.0
_LATE: Final = frozenset({ProviderErrorKind.TIMEOUT, ProviderErrorKind.TRANSPORT})


class OpenRouterChatModel:
    """A ChatModel over OpenRouter. Connects at its first call or `warm_up`; retries and logs nothing."""

    def __init__(
        self,
        options: OpenRouterOptions,
        key: SecretSource,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`key` is read for every call, so that it may rotate; `sleep` waits between polls for a generation.

        `clock` drives the timeouts of an answer, in seconds; by default the event loop's.
        """
        self._options = options
        self._key = key
        self._sleep = sleep
        self._clock = clock
        self._upstream: Upstream | None = None
        self._loading = asyncio.Lock()

    @property
    def provider(self) -> str:
        """Name of the provider."""
        return PROVIDER

    async def warm_up(self) -> None:
        """Imports the SDK in a thread: it takes more than a second. Otherwise the first call does."""
        await self._loaded()

    async def stream(self, request: ChatRequest, timers: ChatTimers) -> AsyncGenerator[ChatEvent, None]:
        """Calls the model; see ChatModel."""
        self._checked_key()
        upstream = await self._loaded()
        timeouts = StreamTimers(timers, clock=self._clock)
        async with AsyncExitStack() as stack:
            call = upstream.chat(request_body(request, self._options.routing))
            reply = await timeouts.within(stack.enter_async_context(call))
            payloads, completion = Payloads(reply), Completion(request.model, reply.headers)
            started = payloads.streamed and bool(completion.generation_id)
            if started:
                timeouts.pause()
                yield completion.started
                timeouts.resume(heard=False)
            while not payloads.ended:
                for payload in await _read(payloads, completion, timeouts):
                    text = completion.feed(payload)
                    if not started and (text or completion.generation_id):
                        started = True
                        timeouts.pause()
                        yield completion.started
                        timeouts.resume(heard=False)
                    if text:
                        timeouts.pause()
                        yield ChatDelta(text)
                        timeouts.resume(heard=True)
        yield completion.end()

    async def generation_info(self, generation_id: str, *, timeout: float) -> Mapping[str, Any]:
        """Returns what OpenRouter reports of a generation; see ChatModel."""
        if not safe_id(generation_id):
            raise failure(ProviderErrorKind.UNSUPPORTED, "the generation has no id")
        wait = _FIRST_LOOK_SECONDS
        try:
            async with asyncio.timeout(timeout):
                while (info := await self._look(generation_id)) is None:
                    await self._sleep(wait)
                    wait = min(2 * wait, _LONGEST_LOOK_SECONDS)
                return info
        except TimeoutError:
            raise failure(ProviderErrorKind.TIMEOUT, "no report of the generation came in time") from None

    async def models(self, *, timeout: float) -> Sequence[UpstreamModel]:
        """Returns the models of OpenRouter; see ChatModel."""
        body = await self._get("/models", timeout=timeout, max_bytes=_MAX_LIST_BYTES)
        try:
            return await asyncio.to_thread(upstream_models, body)
        except ValueError:
            raise failure(ProviderErrorKind.TRANSPORT) from None

    async def check_key(self, *, timeout: float) -> None:
        """Checks the key at OpenRouter; see ChatModel."""
        await self._get("/key", timeout=timeout)

    async def aclose(self) -> None:
        """Closes the connections."""
        async with self._loading:
            upstream, self._upstream = self._upstream, None
        if upstream is not None:
            await upstream.aclose()

    async def _look(self, generation_id: str) -> Mapping[str, Any] | None:
        """Returns the generation, None while it is not known."""
        try:
            body = await self._get("/generation", {"id": generation_id})
        except ProviderError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        data = body.get("data")
        return data if isinstance(data, dict) else body

    async def _get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
        max_bytes: int = MAX_BODY_BYTES,
    ) -> dict[str, Any]:
        self._checked_key()
        upstream = await self._loaded()
        try:
            async with asyncio.timeout(timeout):
                status, headers, body = await upstream.get(path, params or {}, max_bytes=max_bytes)
        except TimeoutError:
            raise failure(ProviderErrorKind.TIMEOUT) from None
        decoded = decoded_object(body) if len(body) <= MAX_BODY_BYTES else await asyncio.to_thread(decoded_object, body)
        if not 200 <= status < 300:
            raise status_failure(status, headers, decoded)
        if decoded is None:
            raise failure(ProviderErrorKind.TRANSPORT)
        if decoded.get("error"):
            raise object_failure(decoded["error"], headers)
        return decoded

    def _checked_key(self) -> str:
        try:
            return check_key_format(self._key.get(), base_url=self._options.base_url)
        except ValueError:
            raise failure(ProviderErrorKind.AUTH, "no key is set, or it cannot be sent") from None

    async def _current_key(self) -> str:
        return self._checked_key()

    async def _loaded(self) -> "Upstream":
        async with self._loading:
            if self._upstream is None:
                self._upstream = await asyncio.to_thread(self._load)
            return self._upstream

    def _load(self) -> "Upstream":
        sdk = importlib.import_module("story_service.providers.openrouter.sdk")
        upstream: Upstream = sdk.Upstream(self._options, self._current_key)
        return upstream


class StreamTimers:
    """The timeouts of an answer, from the call on. Only text resets them, and time of the reader does not count."""

    def __init__(self, timers: ChatTimers, *, clock: Callable[[], float] | None = None) -> None:
        """`clock` returns monotonic seconds; by default the running event loop's."""
        self._clock = clock or asyncio.get_running_loop().time
        self._idle = timers.idle
        now = self._clock()
        self._end = now + timers.total
        self._next = now + timers.first_token
        self._paused = now
        self._whole = False
        self._waiting_for = "no text came in time"

    @property
    def deadline(self) -> float:
        """Time of the next timeout, on the clock."""
        return min(self._next, self._end)

    async def within(self, answer: Awaitable[T]) -> T:
        """Waits for `answer` until the next timeout. Raises ProviderError TIMEOUT."""
        try:
            async with asyncio.timeout(self.deadline - self._clock()):
                return await answer
        except TimeoutError:
            late = self._end <= self._next
            raise failure(
                ProviderErrorKind.TIMEOUT, "the answer took too long" if late else self._waiting_for
            ) from None

    def finishing(self) -> None:
        """The text is complete: only its cost is waited for, for a short time."""
        if not self._whole:
            self._whole = True
            self._next = self._clock() + min(self._idle, _LAST_WORDS_SECONDS)

    def pause(self) -> None:
        """Stops the timers while the reader has an item."""
        self._paused = self._clock()

    def resume(self, *, heard: bool) -> None:
        """Restarts the timers; with `heard` the item was text, and the idle timeout restarts."""
        now = self._clock()
        pause = now - self._paused
        self._end += pause
        if heard and not self._whole:
            self._next = now + self._idle
            self._waiting_for = "no more text came in time"
        else:
            self._next += pause


async def _read(payloads: Payloads, completion: Completion, timeouts: StreamTimers) -> list[bytes]:
    """Returns the next payloads; none where only the cost of a complete text did not come."""
    if completion.finish_reason:
        timeouts.finishing()
    try:
        return await timeouts.within(payloads.read())
    except ProviderError as error:
        if completion.finish_reason and error.kind in _LATE:
            payloads.ended = True
            return []
        raise failure(error.kind, error.message, request_id=completion.generation_id) from None
