"""The port's adapter to OpenRouter."""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.secrets import SecretSource
from story_service.chat import ChatDelta, ChatEvent, ChatRequest, ChatTimers, UpstreamModel
from story_service.providers.openrouter.answer import Answer, decoded_object
from story_service.providers.openrouter.failures import PROVIDER, failure, object_failure, safe_id, status_failure
from story_service.providers.openrouter.listing import upstream_models
from story_service.providers.openrouter.options import OpenRouterOptions, check_key_format, request_body
from story_service.providers.openrouter.reading import MAX_BODY_BYTES, Payloads
from story_service.providers.openrouter.watch import Watch

if TYPE_CHECKING:
    from story_service.providers.openrouter.sdk import Upstream

_NOT_FOUND: Final = 404
_MAX_LIST_BYTES: Final = 33_554_432
_FIRST_LOOK_SECONDS: Final = 0.2
_LONGEST_LOOK_SECONDS: Final = 2.0
_LATE: Final = frozenset({ProviderErrorKind.TIMEOUT, ProviderErrorKind.TRANSPORT})


class OpenRouterChatModel:
    """A ChatModel over OpenRouter. Opens nothing before its first call or `warm_up`; retries and logs nothing."""

    def __init__(
        self,
        options: OpenRouterOptions,
        key: SecretSource,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`key` is read for every call, so that it may rotate; `sleep` parts looks for a generation, in seconds.

        `clock` is what the timers of an answer go by, in seconds; by default the event loop's.
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
        """Import the SDK, in a thread: it takes more than a second. The first call does it else."""
        await self._loaded()

    async def stream(self, request: ChatRequest, timers: ChatTimers) -> AsyncGenerator[ChatEvent, None]:
        """Ask; see ChatModel."""
        self._checked_key()
        upstream = await self._loaded()
        watch = Watch(timers, clock=self._clock)
        async with AsyncExitStack() as stack:
            call = upstream.chat(request_body(request, self._options.routing))
            reply = await watch.within(stack.enter_async_context(call))
            payloads, answer = Payloads(reply), Answer(request.model, reply.headers)
            started = payloads.streamed and bool(answer.generation_id)
            if started:
                watch.pause()
                yield answer.started
                watch.go_on(heard=False)
            while not payloads.ended:
                for payload in await _read(payloads, answer, watch):
                    text = answer.feed(payload)
                    if not started and (text or answer.generation_id):
                        started = True
                        watch.pause()
                        yield answer.started
                        watch.go_on(heard=False)
                    if text:
                        watch.pause()
                        yield ChatDelta(text)
                        watch.go_on(heard=True)
        yield answer.end()

    async def generation_info(self, generation_id: str, *, timeout: float) -> Mapping[str, Any]:
        """What OpenRouter tells of a generation; see ChatModel."""
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
            raise failure(ProviderErrorKind.TIMEOUT, "nothing was told of the generation in time") from None

    async def models(self, *, timeout: float) -> Sequence[UpstreamModel]:
        """The models of OpenRouter; see ChatModel."""
        body = await self._get("/models", timeout=timeout, max_bytes=_MAX_LIST_BYTES)
        try:
            return await asyncio.to_thread(upstream_models, body)
        except ValueError:
            raise failure(ProviderErrorKind.TRANSPORT) from None

    async def check_key(self, *, timeout: float) -> None:
        """Ask OpenRouter about the key; see ChatModel."""
        await self._get("/key", timeout=timeout)

    async def aclose(self) -> None:
        """Close the connections."""
        async with self._loading:
            upstream, self._upstream = self._upstream, None
        if upstream is not None:
            await upstream.aclose()

    async def _look(self, generation_id: str) -> Mapping[str, Any] | None:
        """The generation, None while it is not known."""
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
            raise failure(ProviderErrorKind.AUTH, "there is no key, or none that can be sent") from None

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


async def _read(payloads: Payloads, answer: Answer, watch: Watch) -> list[bytes]:
    """What came next; nothing where only the cost of a whole text did not come."""
    if answer.finish_reason:
        watch.finishing()
    try:
        return await watch.within(payloads.read())
    except ProviderError as error:
        if answer.finish_reason and error.kind in _LATE:
            payloads.ended = True
            return []
        raise failure(error.kind, error.message, request_id=answer.generation_id) from None
