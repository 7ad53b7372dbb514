"""A ChatModel over the chat models of one server with OpenAI's API."""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.secrets import SecretSource
from story_service.chat import ChatEvent, ChatRequest, ChatStarted, ChatTimers, ChatWorking, Message, UpstreamModel
from story_service.providers.chat.completion import Completion
from story_service.providers.chat.dialect import Dialect
from story_service.providers.chat.errors import Failures, ServerError, safe_id
from story_service.providers.chat.events import MAX_BODY_BYTES, Payloads
from story_service.providers.chat.lists import upstream_models
from story_service.providers.chat.report import decoded, is_error
from story_service.providers.chat.request import Plan, Refusals
from story_service.providers.chat.timers import StreamTimers

if TYPE_CHECKING:
    from story_service.providers.chat.sdk import Upstream

_NOT_FOUND: Final = 404
_MAX_LIST_BYTES: Final = 33_554_432
_FIRST_LOOK_SECONDS: Final = 0.2
_LONGEST_LOOK_SECONDS: Final = 2.0
_LOADING_SECONDS: Final = 3.0
_LONGEST_LOADING_SECONDS: Final = 10.0
_LOADING: Final = ChatWorking(loading=True)
_MOST_LOADING_SECONDS: Final = 1_200.0


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
        self._refusals = Refusals(dialect)
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
        """Calls the model; see ChatModel. What it refuses of the request is left out, at most twice a call."""
        self._checked_key()
        upstream = await self._loaded()
        failures = Failures(self._dialect, request)
        timeouts = StreamTimers(timers, failures, clock=self._clock)
        plan, loading = self._refusals.plan(request), 0.0
        while True:
            worked = False
            timeouts.restart(first_token=plan.first_token(timers))
            try:
                async with aclosing(_answer(upstream, plan, failures, timeouts)) as events:
                    async for event in events:
                        if not worked:
                            self._refusals.accepted(plan)
                            worked = not isinstance(event, ChatStarted)
                        yield event
            except ProviderError as error:
                if worked or not isinstance(error, ServerError) or not (error.loading or plan.adapt(error)):
                    error.billed = error.billed or worked
                    if plan.adapted and isinstance(error, ServerError) and error.refused:
                        failures.note_repeated(error)
                    raise
                wait = _pause(error)
                loading += wait
                if loading >= min(timers.total, _MOST_LOADING_SECONDS):
                    failures.note_repeated(error, loading=loading)
                    raise
            else:
                return
            if wait:
                timeouts.pause()
                yield _LOADING
                timeouts.resume(heard=False)
                await self._sleep(wait)

    async def moderate(self, text: str, *, model: str, timeout: float) -> Mapping[str, Any]:
        """Returns what `POST /moderations` says of `text`, as JSON; "" leaves the model to the server.

        One call, within `timeout` seconds. Raises ProviderError.
        """
        self._checked_key()
        failures = Failures(self._dialect, ChatRequest(model=model, messages=(Message("user", text),)))
        body = bytearray()
        try:
            async with asyncio.timeout(timeout), (await self._loaded()).moderation(text, model, failures) as reply:
                while (chunk := await reply.read()) and len(body) <= MAX_BODY_BYTES:
                    body += chunk
        except TimeoutError:
            raise failures.of(ProviderErrorKind.TIMEOUT) from None
        value = _object(bytes(body)) if len(body) <= MAX_BODY_BYTES else None
        if value is None or is_error(value):
            raise failures.of_body(bytes(body), reply.headers)
        return value

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
                status, headers, body = await upstream.get(path, params or {}, self._failures, max_bytes=max_bytes)
        except TimeoutError:
            raise self._failures.of(ProviderErrorKind.TIMEOUT) from None
        if 200 <= status < 300 and path == "/models" and body.lstrip()[:1] == b"[":
            # A list with nothing around it, as Together sends it.
            body = b'{"data":%b}' % body
        value = await asyncio.to_thread(_object, body) if len(body) > MAX_BODY_BYTES else _object(body)
        if not 200 <= status < 300 or value is None or value.get("error"):
            raise self._failures.of_body(body, headers, status=0 if 200 <= status < 300 else status)
        return value

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
        upstream: Upstream = sdk.Upstream(self._dialect, self._current_key)
        return upstream


async def _answer(
    upstream: "Upstream", plan: Plan, failures: Failures, timeouts: StreamTimers
) -> AsyncGenerator[ChatEvent, None]:
    """Calls once. What cannot be read behind a complete text, such as its cost, ends it."""
    async with AsyncExitStack() as stack:
        reply = await timeouts.within(stack.enter_async_context(upstream.chat(plan.body, failures)))
        payloads = Payloads(reply, failures)
        completion = Completion(plan.request.model, reply.headers, failures)
        events: Iterable[ChatEvent] = completion.opened(streamed=payloads.streamed)
        try:
            while True:
                for event in events:
                    timeouts.pause()
                    yield event
                    timeouts.resume(heard=not isinstance(event, ChatStarted))
                if payloads.ended:
                    break
                if completion.only_cost_missing:
                    timeouts.finishing()
                events = completion.events(await timeouts.within(payloads.read()))
        except ProviderError as error:
            if not completion.complete:
                error.request_id = error.request_id or completion.generation_id
                raise
    for event in completion.end(done=payloads.done):
        yield event


def _pause(error: ServerError) -> float:
    """Returns the seconds until the same call is sent again."""
    if not error.loading:
        return 0.0
    return min(max(error.retry_after or _LOADING_SECONDS, 1.0), _LONGEST_LOADING_SECONDS)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = decoded(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
