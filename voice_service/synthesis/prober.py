"""Asks providers in the background: whether one whose circuit is open is well again, and what their plans have left.

No question carries a word of a story.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import structlog

from servicekit.failures import log_defect
from servicekit.resilience.errors import CircuitOpenError, ProviderError, ProviderErrorKind
from voice_service.ports import AudioChunk, Metered, Probing, SegmentRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_service.metrics import VoiceMetrics
    from voice_service.ports import VoiceProvider
    from voice_service.synthesis.gates import ProviderGates


_SECONDS: Final = 10.0
_SHORTEST_WAIT: Final = 0.01
_WORD: Final = "Hello."
_ANSWERS: Final = frozenset(
    {
        ProviderErrorKind.AUTH,
        ProviderErrorKind.INVALID_INPUT,
        ProviderErrorKind.UNSUPPORTED,
        ProviderErrorKind.CONTENT_POLICY,
    }
)
"""Failures of a provider that is up: what is wrong with the call, the next call will tell."""


class Prober:
    """Asks each provider whose circuit is open once a window, until it is closed. Calls of narrations never do."""

    def __init__(self, gates: ProviderGates, metrics: VoiceMetrics) -> None:
        self._gates = gates
        self._metrics = metrics
        self._watches: dict[str, asyncio.Task[None]] = {}

    def watch(self, provider: VoiceProvider) -> None:
        """See to it that the provider is asked as long as its circuit is not closed."""
        name = provider.metadata.name
        if name not in self._watches and self._gates.state(name) != "closed":
            self._watches[name] = task = asyncio.create_task(self._watch(provider), name=f"probe {name}")
            task.add_done_callback(lambda _: self._watches.pop(name, None))

    async def aclose(self) -> None:
        """Stop asking."""
        watches = list(self._watches.values())
        for task in watches:
            task.cancel()
        if watches:
            await asyncio.wait(watches)

    async def _watch(self, provider: VoiceProvider) -> None:
        breaker = self._gates.of(provider.metadata).breaker
        while breaker.state != "closed":
            await asyncio.sleep(max(_SHORTEST_WAIT, breaker.retry_after))
            try:
                with breaker.call():
                    await self._ask(provider)
            except CircuitOpenError:
                continue
            except ProviderError:
                self._metrics.probed(provider.metadata.name, well=False)
            else:
                self._metrics.probed(provider.metadata.name, well=True)

    async def _ask(self, provider: VoiceProvider) -> None:
        """Ask once. Raises ProviderError, of a kind that speaks against its health, where it is not well."""
        name = provider.metadata.name
        try:
            async with asyncio.timeout(_SECONDS):
                await (provider.probe() if isinstance(provider, Probing) else _say_a_word(provider))
        except TimeoutError:
            raise ProviderError(ProviderErrorKind.TIMEOUT, "it does not answer", provider=name) from None
        except ProviderError as error:
            if error.kind not in _ANSWERS:
                raise ProviderError(
                    ProviderErrorKind.OVERLOAD, "it is not well", provider=name, retry_after=error.retry_after
                ) from error
        except Exception as error:
            # Whatever a stranger's provider raises: who is not asked again would stay shut out until a restart.
            log_defect(error)
            raise ProviderError(ProviderErrorKind.TRANSPORT, "its probe failed", provider=name) from error


async def _say_a_word(provider: VoiceProvider) -> None:
    metadata = provider.metadata
    request = SegmentRequest(
        text=_WORD, language_code="en", voice_id=metadata.default_voice, model_id=metadata.default_model
    )
    async with aclosing(provider.synthesize(request)) as items:
        async for item in items:
            if isinstance(item, AudioChunk) and item.data:
                return
    raise ProviderError(ProviderErrorKind.TRUNCATED, "it says nothing", provider=metadata.name)


_log: Final = structlog.stdlib.get_logger(__name__)


class AccountWatch:
    """Asks each provider that tells, every `interval` seconds; nobody waits for the answer."""

    def __init__(self, providers: Sequence[VoiceProvider], metrics: VoiceMetrics, interval: float) -> None:
        self._metered = [(each.metadata.name, each) for each in providers if isinstance(each, Metered)]
        self._metrics = metrics
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, where there is anybody to ask."""
        if self._metered:
            self._task = asyncio.create_task(self._watch(), name="account watch")

    async def aclose(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self) -> None:
        while True:
            for name, provider in self._metered:
                await self._ask(name, provider)
            await asyncio.sleep(self._interval)

    async def _ask(self, name: str, provider: Metered) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                self._metrics.remaining(name, await provider.remaining_characters())
        except (ProviderError, TimeoutError) as error:
            kind = error.kind.value if isinstance(error, ProviderError) else "timeout"
            _log.info("what the plan has left is not known", provider=name, kind=kind)
