"""Lists providers and their voices for callers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from servicekit.errors import DomainError
from servicekit.resilience.errors import ProviderError
from tale.common.v1 import common_pb2, status_pb2
from tale.voice.v1 import voice_pb2
from voice_service.narration.errors import speech_failed
from voice_service.ports import Remembering
from voice_service.providers.registry import EMBEDDED, Announced, voices_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from voice_service.ports import ProviderMetadata, VoiceInfo, VoiceProvider
    from voice_service.providers.registry import ProviderRegistry

_log: Final = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFacts:
    """A provider as callers see it; `metadata` is None for one that is only announced.

    `configured` where everything it needs is set; `unavailable_reason` is "" where a call would be tried now.
    `circuit_state` is "closed", "open" or "half_open".
    """

    name: str
    display_name: str
    metadata: ProviderMetadata | None
    configured: bool
    circuit_state: str
    unavailable_reason: str
    is_default: bool
    fallback_position: int
    embedded: bool


@dataclass(frozen=True, slots=True)
class VoicePage:
    """Voices with the provider of each; `stale` where a provider's list could not be had, or is an old one."""

    voices: tuple[tuple[str, VoiceInfo], ...]
    next_page_token: str
    stale: bool


class VoiceCatalogue:
    """Providers and voices, from a registry; `circuit_state` returns a circuit's state by the provider's name."""

    def __init__(self, registry: ProviderRegistry, circuit_state: Callable[[str], str] = lambda _: "closed") -> None:
        self._registry = registry
        self._circuit_state = circuit_state

    async def providers(self) -> list[ProviderFacts]:
        """All providers, in the order in which they would be tried."""
        facts = []
        fallback = self._registry.fallback
        default = await self._first()
        for listed in self._registry.list_providers():
            metadata = None if isinstance(listed, Announced) else listed.metadata
            name = listed.name if isinstance(listed, Announced) else listed.metadata.name
            missing = await self._registry.missing_reason(name)
            facts.append(
                ProviderFacts(
                    name=name,
                    display_name=listed.display_name if isinstance(listed, Announced) else listed.metadata.display_name,
                    metadata=metadata,
                    configured=not missing,
                    circuit_state=self._circuit_state(name),
                    unavailable_reason=missing or self._registry.closed_reason(name),
                    is_default=name == default and metadata is not None,
                    fallback_position=fallback.index(name) + 1 if name in fallback else 0,
                    embedded=name == EMBEDDED,
                )
            )
        return facts

    async def voices(self, provider: str, language_code: str, page_size: int, page_token: str) -> VoicePage:
        """Returns a page of voices of one provider or all that can be called.

        Raises NOT_FOUND / PROVIDER_NOT_FOUND, FAILED_PRECONDITION / INVALID_CONFIGURATION, ValueError for a token
        that is not of this list, and what `speech_failed` makes of a single provider's failure.
        """
        offset = _offset(page_token, provider, language_code)
        everything: list[tuple[str, VoiceInfo]] = []
        stale = False
        for each in await self._asked(provider):
            try:
                found = await voices_of(each, language_code or None)
            except ProviderError as error:
                if provider:
                    raise speech_failed([error], -1) from error
                _log.warning("voices cannot be listed", provider=each.metadata.name, kind=error.kind.value)
                stale = True
                continue
            stale = stale or (isinstance(each, Remembering) and each.voices_are_stale)
            everything += [(each.metadata.name, voice) for voice in found]
        page = everything[offset : offset + page_size]
        end = offset + len(page)
        token = _token(end, provider, language_code) if end < len(everything) else ""
        return VoicePage(tuple(page), token, stale)

    async def _asked(self, provider: str) -> list[VoiceProvider]:
        if not provider:
            return await self._registry.list_available_providers()
        return [self._registry.get_provider(provider)]

    async def _first(self) -> str:
        """Name of the provider that would be tried first; "" where there is none."""
        try:
            chain = await self._registry.candidates()
        except DomainError:
            return ""
        return chain.providers[0].metadata.name


def _token(offset: int, provider: str, language_code: str) -> str:
    return f"{offset}-{hashlib.sha256(f'{provider} {language_code}'.encode()).hexdigest()[:16]}"


def _offset(token: str, provider: str, language_code: str) -> int:
    number = token.partition("-")[0]
    offset = int(number) if number.isascii() and number.isdigit() else 0
    if token and token != _token(offset, provider, language_code):
        raise ValueError("not a page token of this list")
    return offset


_GENDERS: Final = {"female": common_pb2.GENDER_FEMALE, "male": common_pb2.GENDER_MALE}


def providers_response(facts: Iterable[ProviderFacts]) -> voice_pb2.ListProvidersResponse:
    """Returns the answer to ListProviders."""
    return voice_pb2.ListProvidersResponse(providers=map(_provider, facts))


def provider_status(facts: ProviderFacts) -> status_pb2.ProviderStatus:
    """Returns the entry of a provider in GetStatus."""
    return status_pb2.ProviderStatus(
        name=facts.name,
        configured=facts.configured,
        available=not facts.unavailable_reason,
        unavailable_reason=facts.unavailable_reason,
        is_default=facts.is_default,
    )


def voices_response(page: VoicePage) -> voice_pb2.ListVoicesResponse:
    """Returns the answer to ListVoices."""
    return voice_pb2.ListVoicesResponse(
        voices=[
            voice_pb2.Voice(
                provider=provider,
                voice_id=voice.voice_id,
                display_name=voice.display_name,
                language_codes=voice.language_codes,
                gender=_GENDERS.get(voice.gender, common_pb2.GENDER_UNSPECIFIED),
            )
            for provider, voice in page.voices
        ],
        next_page_token=page.next_page_token,
        stale=page.stale,
    )


def _provider(facts: ProviderFacts) -> voice_pb2.Provider:
    available = not facts.unavailable_reason
    provider = voice_pb2.Provider(
        provider_name=facts.name,
        display_name=facts.display_name,
        configured=facts.configured,
        available=available,
        unavailable_reason=facts.unavailable_reason,
        is_default=facts.is_default,
        fallback_position=facts.fallback_position,
        circuit_state=facts.circuit_state,
        embedded=facts.embedded,
    )
    metadata = facts.metadata
    if metadata is not None:
        provider.supports_streaming = metadata.supports_streaming
        provider.max_text_length = metadata.max_text_length
        provider.supported_formats.extend(metadata.formats or (metadata.native_format.value,))
        provider.language_codes.extend(metadata.languages)
    return provider
