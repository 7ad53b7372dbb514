"""Registers voice providers, and returns those that can be called in the order in which they are tried."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from servicekit.errors import DomainError, not_found
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.ports import Configurable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from voice_service.ports import VoiceInfo, VoiceProvider


NO_ANSWER: Final = "it does not answer"
"""Why a provider that did not answer in time is not available."""
_TIMEOUT: Final = 10.0
_GOOD_SECONDS: Final = 60.0
_BAD_SECONDS: Final = 5.0


class Availability:
    """Asks a provider at most once a minute whether it is set up, and one that is not every five seconds."""

    def __init__(self, provider: VoiceProvider, clock: Callable[[], float] = time.monotonic) -> None:
        self._provider = provider
        self._clock = clock
        self._lock = asyncio.Lock()
        self._reason = ""
        self._until = float("-inf")

    async def reason(self) -> str:
        """Why the provider cannot be called; "" where it can."""
        async with self._lock:
            if self._clock() >= self._until:
                self._reason = await self._ask()
                self._until = self._clock() + (_BAD_SECONDS if self._reason else _GOOD_SECONDS)
            return self._reason

    async def _ask(self) -> str:
        try:
            async with asyncio.timeout(_TIMEOUT):
                return await self._provider.validate_configuration()
        except TimeoutError:
            return NO_ANSWER


async def voices_of(
    provider: VoiceProvider, language_code: str | None = None, *, within: float = _TIMEOUT
) -> Sequence[VoiceInfo]:
    """Lists the voices of a provider. Raises ProviderError, TIMEOUT after `within` seconds."""
    async with _in_time(provider, within):
        return await provider.list_voices(language_code)


async def knows_voice(provider: VoiceProvider, voice_id: str, language_code: str, *, within: float = _TIMEOUT) -> bool:
    """Returns whether a provider has a voice for a language. Raises ProviderError, TIMEOUT after `within` seconds."""
    async with _in_time(provider, within):
        return await provider.knows_voice(voice_id, language_code)


@asynccontextmanager
async def _in_time(provider: VoiceProvider, seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        name = provider.metadata.name
        raise ProviderError(ProviderErrorKind.TIMEOUT, "the voices did not come in time", provider=name) from None


EMBEDDED: Final = "offline"
"""The voice that needs no key."""


@dataclass(frozen=True, slots=True)
class Announced:
    """A provider that is known by name but not configured; `reason` says what to set.

    `is_set` if something was set for it that is wrong.
    """

    name: str
    display_name: str
    reason: str
    is_set: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """A provider that was passed over, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Providers in the order in which to try them, and those that were passed over.

    `unavailable` are names of configured providers whose circuit is not closed.
    """

    providers: tuple[VoiceProvider, ...]
    skipped: tuple[Skipped, ...]
    stand_in: bool = False
    """True if no provider is configured and the embedded voice is used."""
    unavailable: frozenset[str] = frozenset()


class ProviderRegistry:
    """Providers by name, with a default ("": the first of `preferred` that is registered) and an order of fallback.

    `preferred` are tried in this order where neither the default nor a fallback is configured. `closed_reason` returns
    by a provider's name why a configured provider is not called now, else "".
    """

    def __init__(
        self,
        default: str,
        fallback: Sequence[str] = (),
        *,
        preferred: Sequence[str] = (),
        closed_reason: Callable[[str], str] = lambda _: "",
    ) -> None:
        self._providers: dict[str, VoiceProvider] = {}
        self._availability: dict[str, Availability] = {}
        self._announced: dict[str, Announced] = {}
        self._default = default
        self._preferred = tuple(preferred)
        self.closed_reason = closed_reason
        self.fallback = tuple(dict.fromkeys(fallback))

    def register(self, provider: VoiceProvider) -> None:
        """Adds a provider under its metadata's name. Raises ValueError when the name is taken."""
        name = provider.metadata.name
        if name in self._providers:
            raise ValueError(f"a voice provider {name!r} is registered already")
        self._announced.pop(name, None)
        self._providers[name] = provider
        self._availability[name] = Availability(provider)

    def announce(self, announced: Announced) -> None:
        """Adds a provider that is known by name but not configured."""
        if announced.name not in self._providers:
            self._announced[announced.name] = announced

    def unregister(self, name: str) -> VoiceProvider:
        """Removes a provider and returns it. NOT_FOUND / PROVIDER_NOT_FOUND."""
        provider = self.get_provider(name)
        del self._providers[name], self._availability[name]
        return provider

    @property
    def names(self) -> frozenset[str]:
        """All that are registered or announced."""
        return frozenset({*self._providers, *self._announced})

    def knows(self, name: str) -> bool:
        """Whether the name is registered or announced."""
        return name in self._providers or name in self._announced

    def get_provider(self, name: str) -> VoiceProvider:
        """Returns the provider of that name.

        NOT_FOUND / PROVIDER_NOT_FOUND for an unknown one, FAILED_PRECONDITION / INVALID_CONFIGURATION for one that is
        only announced.
        """
        provider = self._providers.get(name)
        if provider is not None:
            return provider
        announced = self._announced.get(name)
        if announced is not None:
            raise invalid_configuration([Skipped(name, announced.reason)])
        raise self._not_found(name)

    def list_providers(self) -> list[VoiceProvider | Announced]:
        """All that are registered or announced, in the order in which they would be tried."""
        everything: dict[str, VoiceProvider | Announced] = {**self._announced, **self._providers}
        first = [name for name in (*self._asked(), *self._preferred, EMBEDDED) if name in everything]
        return [everything[name] for name in dict.fromkeys((*first, *sorted(everything)))]

    async def list_available_providers(self) -> list[VoiceProvider]:
        """All that are set up and well, in the same order."""
        listed = [provider for provider in self.list_providers() if not isinstance(provider, Announced)]
        return [provider for provider in listed if not await self.unavailable_reason(provider.metadata.name)]

    def get_default_provider_name(self) -> str:
        """Name of the provider that is tried first, configured or not; "" where none is asked for."""
        return self._default or next((name for name in self._preferred if name in self._providers), "")

    def set_default_provider(self, name: str) -> None:
        """Changes the provider that is tried first. NOT_FOUND / PROVIDER_NOT_FOUND."""
        if not self.knows(name):
            raise self._not_found(name)
        self._default = name

    async def missing_reason(self, name: str) -> str:
        """What a provider lacks to be called, and how to fix it; "" where it is set up."""
        announced = self._announced.get(name)
        if announced is not None:
            return announced.reason
        self.get_provider(name)
        return await self._availability[name].reason()

    async def unavailable_reason(self, name: str) -> str:
        """Why the provider is not called now; "" where it is."""
        return await self.missing_reason(name) or self.closed_reason(name)

    async def get_provider_with_fallback(self, requested: str = "") -> Chain:
        """Requested, default, fallbacks, in this order: those that are configured and available.

        Raises what `candidates` raises, and UNAVAILABLE / NO_PROVIDERS_AVAILABLE if all circuits are open.
        """
        chain = await self.candidates(requested)
        well = tuple(each for each in chain.providers if each.metadata.name not in chain.unavailable)
        unavailable = (Skipped(name, self.closed_reason(name)) for name in sorted(chain.unavailable))
        skipped = (*chain.skipped, *unavailable)
        if not well:
            raise no_providers_available(skipped)
        return replace(chain, providers=well, skipped=skipped)

    async def candidates(self, requested: str = "") -> Chain:
        """Requested, default, fallbacks, in this order: those that are configured, also those with an open circuit.

        The embedded voice is among them only where it is asked for, is in the order of fallback, or is the default
        with nothing else asked for; and where nothing is set for a default, a fallback, or one of `preferred` and
        nothing was asked for: never for one whose key is refused.

        Raises NOT_FOUND / PROVIDER_NOT_FOUND for an unknown name,
        FAILED_PRECONDITION / INVALID_CONFIGURATION where what was asked for is not set up and nothing falls back for
        it, or where what is set is wrong or refused, UNAVAILABLE / NO_PROVIDERS_AVAILABLE where there is nothing at all
        or what is set does not answer.
        """
        if requested and not self.knows(requested):
            raise self._not_found(requested)
        names = [requested, *self._asked()] if requested else self._asked()
        if requested and self._default == EMBEDDED and requested != EMBEDDED and EMBEDDED not in self.fallback:
            names.remove(EMBEDDED)
        providers, skipped = await self._configured(names)
        stand_in = False
        if not providers and not requested:
            providers, more = await self._configured(self._preferred)
            providers = providers[:1]
            wrong = [each for each in dict.fromkeys((*skipped, *more)) if self._is_set(each.name)]
            if wrong and not providers:
                raise _can_not_be_called(wrong)
        if not providers and not requested:
            providers, more = await self._configured([EMBEDDED])
            skipped += more
            stand_in = bool(providers)
        if not providers:
            raise invalid_configuration(skipped) if requested else no_providers_available(skipped)
        unavailable = frozenset(each.metadata.name for each in providers if self.closed_reason(each.metadata.name))
        return Chain(tuple(providers), tuple(skipped), stand_in, unavailable)

    def is_asked_for(self, name: str) -> bool:
        """Returns whether a setting brings the provider or names it."""
        announced = self._announced.get(name)
        return announced is None or announced.is_set or name in self._asked()

    def _asked(self) -> list[str]:
        """Names of those that the settings ask for, in order."""
        return [self.get_default_provider_name(), *self.fallback]

    async def _configured(self, names: Sequence[str]) -> tuple[list[VoiceProvider], list[Skipped]]:
        providers, skipped = [], []
        for name in dict.fromkeys(names):
            if not self.knows(name):
                continue
            reason = await self.missing_reason(name)
            if reason:
                skipped.append(Skipped(name, reason))
            else:
                providers.append(self._providers[name])
        return providers, skipped

    def _is_set(self, name: str) -> bool:
        """Whether anything is set for a provider other than the embedded voice, which needs nothing."""
        known = self._announced.get(name) or self._providers[name]
        return name != EMBEDDED and (known.is_set if isinstance(known, Configurable) else True)

    def _not_found(self, name: str) -> DomainError:
        known = ", ".join(sorted({*self._providers, *self._announced}))
        return not_found(
            "PROVIDER_NOT_FOUND", f"No voice provider has this name; known are {known}.", provider=name[:64]
        )


def invalid_configuration(skipped: Sequence[Skipped]) -> DomainError:
    """FAILED_PRECONDITION / INVALID_CONFIGURATION: the requested provider is not configured."""
    return DomainError(
        "INVALID_CONFIGURATION",
        f"The voice provider is not available ({_why(skipped)}).",
        metadata={each.name: each.reason for each in skipped},
    )


def no_providers_available(
    skipped: Sequence[Skipped], *, reason: str = "NO_PROVIDERS_AVAILABLE", retry_after: float | None = 30.0
) -> DomainError:
    """UNAVAILABLE / NO_PROVIDERS_AVAILABLE: nothing can be called; or a `reason` that says more."""
    return DomainError(
        reason,
        f"No voice provider is available ({_why(skipped)}).",
        metadata={each.name: each.reason for each in skipped},
        retry_after=retry_after,
    )


def _can_not_be_called(wrong: Sequence[Skipped]) -> DomainError:
    """What is set is wrong, unless it may answer a little later."""
    if any(each.reason == NO_ANSWER for each in wrong):
        return no_providers_available(wrong)
    return invalid_configuration(wrong)


def _why(skipped: Sequence[Skipped]) -> str:
    return "; ".join(f"{each.name}: {each.reason}" for each in skipped)
