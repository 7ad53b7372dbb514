"""One client for the process, behind circuit breakers and retries."""

from __future__ import annotations

import asyncio
import importlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from servicekit.errors import unavailable
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.errors import ProviderError, to_domain_error
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.retry import RetryBudget, RetryPolicy
from storage_service.supabase.failures import PROVIDER, SupabaseError
from storage_service.supabase.refusals import check
from storage_service.supabase.wire import to_time_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from storage_service.ports import Clock
    from storage_service.supabase.client import Client
    from storage_service.supabase.config import SupabaseConfig

T = TypeVar("T")

DATABASE: Final = "supabase:database"
FILES: Final = "supabase:storage"

_MOST_AT_ONCE: Final = 2_048


def breaker_config(name: str) -> BreakerConfig:
    """A circuit opens after 10 failures in a row, for 30 s at first."""
    return BreakerConfig(
        name=name, provider=PROVIDER, failure_threshold=10, recovery_timeout=30.0, max_recovery_timeout=300.0
    )


class Connection:
    """Calls to Supabase. Failures are DomainErrors, typed by the kit; nothing becomes None.

    A call that is `safe` changes nothing or can be repeated, and is then made again after any passing failure; another
    one only where it is certain that nothing was changed. Once begun a call goes on when its caller goes away.
    `clock` is for tests; without one the clock of the database counts, which all replicas share.
    """

    def __init__(
        self, config: SupabaseConfig, breakers: BreakerManager | None = None, *, clock: Clock | None = None
    ) -> None:
        self._config = config
        self.breakers = breakers or BreakerManager(breaker_config)
        self._clock = clock
        self._policy = RetryPolicy(
            retries=config.retries, delay=config.retry_delay, longest_wait=config.timeout_seconds
        )
        self._budget = RetryBudget()
        self._client: Client | None = None
        self._opening = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()

    async def client(self) -> Client:
        """The client; built at first, its SDK imported in a thread. Raises SupabaseErrors where it is used bare."""
        async with self._opening:
            if self._client is None:
                module = await asyncio.to_thread(importlib.import_module, "storage_service.supabase.client")
                self._client = await module.build(self._config)
            return self._client

    async def close(self) -> None:
        """Waits for what is under way and closes the client."""
        if self._running:
            await asyncio.wait(self._running)
        if self._client is not None:
            await self._client.close()
            self._client = None

    def now(self) -> str | None:
        """The time to go by; None: the database's."""
        return None if self._clock is None else to_time_text(self._clock.now())

    async def rpc(
        self,
        function: str,
        about: str | None = None,
        *,
        noun: str = "story",
        safe: bool = True,
        on_retry: Callable[[], None] | None = None,
        **params: object,
    ) -> Any:
        """Returns what a function of the schema answers; `on_retry` is called before each repetition.

        Where the id `about` of a `noun` is given, raises what the function refuses.
        """
        given = {f"p_{name}": value for name, value in params.items()}
        answer = await self.run(DATABASE, lambda client: client.rpc(function, given), safe=safe, on_retry=on_retry)
        if about is not None:
            check(answer, about, noun=noun)
        return answer

    async def timed_rpc(self, function: str, about: str | None = None, **params: Any) -> Any:
        """`rpc` of a function that takes the time to go by."""
        return await self.rpc(function, about, now=self.now(), **params)

    async def run(
        self,
        circuit: str,
        call: Callable[[Client], Awaitable[T]],
        *,
        safe: bool = True,
        on_retry: Callable[[], None] | None = None,
    ) -> T:
        """Returns what `call` returns, behind that circuit breaker."""
        if len(self._running) >= _MOST_AT_ONCE:
            raise unavailable("STORAGE_BUSY", "Too many calls are waiting for the store.")
        task = asyncio.create_task(self._attempts(circuit, call, safe=safe, on_retry=on_retry))
        self._running.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    @asynccontextmanager
    async def stream(self, path: str, *, offset: int, end: int) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """The bytes [offset, end) of a file; what goes wrong while they are read is typed as well, and not repeated."""
        client = await self.client()
        try:
            with self.breakers.get(FILES).call() as marked:
                async with client.read(path, offset=offset, end=end) as blocks:
                    marked.answered()
                    yield blocks
        except ProviderError as error:
            raise to_domain_error(error) from error

    async def _attempts(
        self,
        circuit: str,
        call: Callable[[Client], Awaitable[T]],
        *,
        safe: bool,
        on_retry: Callable[[], None] | None,
    ) -> T:
        client = await self.client()
        breaker = self.breakers.get(circuit)

        async def attempt() -> T:
            with breaker.call():
                return await call(client)

        attempts = self._policy.attempts(
            budget=self._budget,
            may_wait=lambda error: safe or (isinstance(error, SupabaseError) and error.undone),
            on_retry=lambda *_: on_retry() if on_retry is not None else None,
        )
        try:
            result: T = await attempts(attempt)
        except ProviderError as error:
            raise to_domain_error(error) from error
        return result

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Its caller may be gone; a failure that is never looked at would be logged as a defect.
            task.exception()


class SupabaseStore:
    """A store in the schema `tales`, behind a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
