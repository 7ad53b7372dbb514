"""A ChatModel over the chat models of one server with OpenAI's API."""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.secrets import SecretSource
from story_service.chat import ChatDelta, ChatEvent, ChatRequest, ChatTimers, UpstreamModel
from story_service.providers.chat.completion import Completion, decoded_object
from story_service.providers.chat.dialect import Dialect
from story_service.providers.chat.errors import Failures, safe_id
from story_service.providers.chat.events import MAX_BODY_BYTES, Payloads
from story_service.providers.chat.lists import upstream_models
from story_service.providers.chat.request import request_body
from story_service.providers.chat.timers import StreamTimers

if TYPE_CHECKING:
    from story_service.providers.chat.sdk import Upstream

_NOT_FOUND: Final = 404
_MAX_LIST_BYTES: Final = 33_554_432
_FIRST_LOOK_SECONDS: Final = 0.2
_LONGEST_LOOK_SECONDS: Final = 2.0
_LATE: Final = frozenset({ProviderErrorKind.TIMEOUT, ProviderErrorKind.TRANSPORT})


class ServerChatModel:
    """A ChatModel over one server. Connects at its first call or `warm_up`; retries and logs nothing."""

    def __init__(
        self,
        dialect: Dialect,
        key: SecretSource,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`key` is read for every call, so that it may rotate; `sleep` waits between polls for a generation.

        `clock` drives the timeouts of an answer, in seconds; by default the event loop's.
        """
        self._dialect = dialect
        self._failures = Failures(dialect)
        self._key = key
        self._sleep = sleep
        self._clock = clock
        self._upstream: Upstream | None = None
        self._loading = asyncio.Lock()

    @property
    def provider(self) -> str:
        """Name of the provider."""
        return self._dialect.provider

    @property
    def reports_generations(self) -> bool:
        """True where `generation_info` can be asked for."""
        return bool(self._dialect.generation_path)

    async def warm_up(self) -> None:
        """Imports the SDK in a thread: it takes more than a second. Otherwise the first call does."""
        await self._loaded()

    async def stream(self, request: ChatRequest, timers: ChatTimers) -> AsyncGenerator[ChatEvent, None]:
        """Calls the model; see ChatModel."""
        self._checked_key()
        upstream = await self._loaded()
        timeouts = StreamTimers(timers, self._failures, clock=self._clock)
        async with AsyncExitStack() as stack:
            call = upstream.chat(request_body(request, self._dialect.fields))
            reply = await timeouts.within(stack.enter_async_context(call))
            payloads, completion = (
                Payloads(reply, self._failures),
                Completion(request.model, reply.headers, self._failures),
            )
            started = payloads.streamed and bool(completion.generation_id)
            if started:
                timeouts.pause()
                yield completion.started
                timeouts.resume(heard=False)
            while not payloads.ended:
                for payload in await self._read(payloads, completion, timeouts):
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
        yield completion.end(done=payloads.done)

    async def generation_info(self, generation_id: str, *, timeout: float) -> Mapping[str, Any]:
        """Returns what the server reports of a generation; see ChatModel."""
        if not safe_id(generation_id) or not self.reports_generations:
            raise self._failures.of(ProviderErrorKind.UNSUPPORTED, "the server has no report of the generation")
        wait = _FIRST_LOOK_SECONDS
        try:
            async with asyncio.timeout(timeout):
                while (info := await self._look(generation_id)) is None:
                    await self._sleep(wait)
                    wait = min(2 * wait, _LONGEST_LOOK_SECONDS)
                return info
        except TimeoutError:
            raise self._failures.of(ProviderErrorKind.TIMEOUT, "no report of the generation came in time") from None

    async def models(self, *, timeout: float) -> Sequence[UpstreamModel]:
        """Returns the models of the server; see ChatModel."""
        body = await self._get("/models", timeout=timeout, max_bytes=_MAX_LIST_BYTES)
        try:
            return await asyncio.to_thread(upstream_models, body)
        except ValueError:
            raise self._failures.of(ProviderErrorKind.TRANSPORT) from None

    async def check_key(self, *, timeout: float) -> None:
        """Checks the key at the server; see ChatModel."""
        await self._get(self._dialect.key_path, timeout=timeout, max_bytes=_MAX_LIST_BYTES)

    async def aclose(self) -> None:
        """Closes the connections."""
        async with self._loading:
            upstream, self._upstream = self._upstream, None
        if upstream is not None:
            await upstream.aclose()

    async def _read(self, payloads: Payloads, completion: Completion, timeouts: StreamTimers) -> list[bytes]:
        """Returns the next payloads; none where only the cost of a complete text did not come."""
        if completion.only_cost_missing:
            timeouts.finishing()
        try:
            return await timeouts.within(payloads.read())
        except ProviderError as error:
            if completion.complete and error.kind in _LATE:
                payloads.ended = True
                return []
            raise self._failures.of(error.kind, error.message, request_id=completion.generation_id) from None

    async def _look(self, generation_id: str) -> Mapping[str, Any] | None:
        """Returns the generation, None while it is not known."""
        try:
            body = await self._get(self._dialect.generation_path, {"id": generation_id})
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
            raise self._failures.of(ProviderErrorKind.TIMEOUT) from None
        decoded = decoded_object(body) if len(body) <= MAX_BODY_BYTES else await asyncio.to_thread(decoded_object, body)
        if not 200 <= status < 300:
            raise self._failures.of_status(status, headers, decoded)
        if decoded is None:
            raise self._failures.of(ProviderErrorKind.TRANSPORT)
        if decoded.get("error"):
            raise self._failures.of_object(decoded["error"], headers)
        return decoded

    def _checked_key(self) -> str:
        try:
            return self._dialect.check_key(self._key.get())
        except ValueError:
            raise self._failures.of(
                ProviderErrorKind.AUTH,
                f"no key is set, or it cannot be sent; see {self._dialect.key_variable}",
                billed=False,
            ) from None

    async def _current_key(self) -> str:
        return self._checked_key()

    async def _loaded(self) -> "Upstream":
        async with self._loading:
            if self._upstream is None:
                self._upstream = await asyncio.to_thread(self._load)
            return self._upstream

    def _load(self) -> "Upstream":
        sdk = importlib.import_module("story_service.providers.chat.sdk")
        upstream: Upstream = sdk.Upstream(self._dialect, self._failures, self._current_key)
        return upstream
