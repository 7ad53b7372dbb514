"""One client for the process, behind circuit breakers and retries."""

from __future__ import annotations

import asyncio
import importlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from servicekit.errors import provider_failed, resource_not_found, wrong_state
from servicekit.resilience.errors import ProviderError
from servicekit.resilience.manager import BreakerManager
from storage_service.errors import (
    lease_lost,
    request_id_reused,
    resource_deleted,
    revision_mismatch,
    storage_conflict,
)
from storage_service.stories.quotas import over_quota
from storage_service.supabase.errors import PROVIDER, SupabaseError
from storage_service.supabase.rows import to_time_text
from storage_service.upstream import breaker_config, outgoing_calls

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping

    from servicekit.resilience.outgoing import Attempt, AuditLog
    from storage_service.ports import Clock
    from storage_service.supabase.client import Client
    from storage_service.supabase.config import SupabaseConfig

T = TypeVar("T")

DATABASE: Final = "supabase:database"
FILES: Final = "supabase:storage"

_CONCURRENCY: Final = 2_048
"""Calls at once, and as many downloads: a listener who pauses takes no call's place."""
_NOT_FOUND: Final = {"STORY_NOT_FOUND": "story", "CHILD_NOT_FOUND": "child", "HERO_NOT_FOUND": "hero"}


class Connection:
    """Calls to Supabase. Failures are DomainErrors, typed by the kit; nothing becomes None.

    A call is `safe` if it changes nothing or can be repeated. After a passing failure a safe call is made again; any
    other call is made again only where it is certain that the failed attempt changed nothing. An attempt that has
    started continues when its caller goes away. `clock` is for tests; without it the database's clock counts, which all
    replicas share.
    """

    def __init__(
        self,
        config: SupabaseConfig,
        breakers: BreakerManager | None = None,
        *,
        clock: Clock | None = None,
        audit: AuditLog | None = None,
    ) -> None:
        self._config = config
        # Both go by the same circuit breakers.
        given = breakers or BreakerManager(breaker_config)
        self._calls, self._downloads = (
            outgoing_calls(PROVIDER, config, concurrency=_CONCURRENCY, breakers=given, audit=audit) for _ in range(2)
        )
        self._clock = clock
        self._client: Client | None = None
        self._opening = asyncio.Lock()

    async def client(self) -> Client:
        """Returns the client, built on first use, its SDK imported in a thread. Used bare it raises SupabaseErrors."""
        async with self._opening:
            if self._client is None:
                module = await asyncio.to_thread(importlib.import_module, "storage_service.supabase.client")
                self._client = await module.build(self._config)
            return self._client

    async def settle(self) -> None:
        """Waits for calls, those whose callers are gone too."""
        await self._calls.settle()

    async def close(self) -> None:
        """Waits for what is under way and closes the client."""
        await self.settle()
        if self._client is not None:
            await self._client.close()
            self._client = None

    def now(self) -> str | None:
        """Returns the time to go by; None: the database's."""
        return None if self._clock is None else to_time_text(self._clock.now())

    async def rpc(
        self,
        function: str,
        about: str | None = None,
        *,
        noun: str = "story",
        safe: bool = True,
        on_retry: Callable[[], None] = lambda: None,
        **params: object,
    ) -> Any:
        """Returns what a function of the schema answers; `on_retry` is called before each repetition.

        Where the id `about` of a `noun` is given, raises what the function refuses.
        """
        given = {f"p_{name}": value for name, value in params.items()}
        answer = await self.run(
            DATABASE, function, lambda client: client.rpc(function, given), safe=safe, on_retry=on_retry
        )
        if about is not None:
            check_refusal(answer, about, noun=noun)
        return answer

    async def timed_rpc(self, function: str, about: str | None = None, **params: Any) -> Any:
        """Calls `rpc` for a function that takes the time to go by."""
        return await self.rpc(function, about, now=self.now(), **params)

    async def run(
        self,
        circuit: str,
        endpoint: str,
        call: Callable[[Client], Awaitable[T]],
        *,
        safe: bool = True,
        on_retry: Callable[[], None] = lambda: None,
    ) -> T:
        """Returns what `call` returns, behind that circuit breaker; `endpoint` is its name in log and metrics."""

        async def work(_: Attempt) -> T:
            return await call(await self.client())

        try:
            return await self._calls.call(
                endpoint,
                work,
                circuit=circuit,
                may_repeat=lambda error: safe or (isinstance(error, SupabaseError) and error.undone),
                on_retry=on_retry,
                finished=True,
            )
        except ProviderError as error:
            raise provider_failed(error) from error

    @asynccontextmanager
    async def stream(self, path: str, *, offset: int, end: int) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """Yields the bytes [offset, end) of a file; failures while they are read are typed too, and not retried."""
        client = await self.client()
        try:
            async with (
                self._downloads.attempt("download", circuit=FILES) as attempt,
                client.read(path, offset=offset, end=end) as blocks,
            ):
                attempt.answered()
                yield blocks
        except ProviderError as error:
            raise provider_failed(error) from error


class SupabaseStore:
    """A store in the schema `tales`, behind a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection


class UnknownRefusalError(Exception):
    """The schema refuses for a reason that this program does not know: it is newer."""


def check_refusal(answer: Mapping[str, Any], resource_id: str, *, noun: str = "story") -> None:
    """Raises the error that `answer` says, if it says one, about `resource_id` unless it names another."""
    reason = answer.get("refused")
    if reason is not None:
        detail = answer.get("detail") or {}
        if reason == "QUOTA":
            raise over_quota(**detail)
        raise _error(reason, detail, str(detail.get("id", resource_id)), noun)


def _error(reason: str, detail: Mapping[str, Any], resource_id: str, noun: str) -> Exception:
    found: Exception
    match reason:
        case "NOT_FOUND" | "STORY_NOT_FOUND" | "CHILD_NOT_FOUND" | "HERO_NOT_FOUND":
            found = resource_not_found(_NOT_FOUND.get(reason, noun), resource_id)
        case "DELETED":
            found = resource_deleted(noun, resource_id)
        case "LEASE_LOST":
            found = lease_lost(resource_id)
        case "REQUEST_ID_REUSED":
            found = request_id_reused()
        case "REVISION_MISMATCH":
            found = revision_mismatch(expected=detail["expected"], actual=detail["actual"])
        case "STORAGE_CONFLICT":
            found = storage_conflict()
        case "OTHER_NARRATION":
            found = wrong_state("The run has started another narration.")
        case "WRONG_STATE" if "id" in detail:
            found = wrong_state("A story can only continue one whose text is complete.", parent_story_id=resource_id)
        case "WRONG_STATE":
            found = wrong_state("The story has ended.")
        case _:
            found = UnknownRefusalError(reason)
    return found
