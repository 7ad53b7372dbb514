"""Providers and voices as messages of the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tale.common.v1 import common_pb2, status_pb2
from tale.voice.v1 import voice_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voice_service.catalogue import ProviderFacts, VoicePage

_GENDERS: Final = {"female": common_pb2.GENDER_FEMALE, "male": common_pb2.GENDER_MALE}


def providers_response(facts: Iterable[ProviderFacts]) -> voice_pb2.ListProvidersResponse:
    """Return the answer to ListProviders."""
    return voice_pb2.ListProvidersResponse(providers=map(_provider, facts))


def provider_status(facts: ProviderFacts) -> status_pb2.ProviderStatus:
    """Return what GetStatus tells of a provider."""
    return status_pb2.ProviderStatus(
        name=facts.name,
        configured=facts.configured,
        available=not facts.unavailable_reason,
        unavailable_reason=facts.unavailable_reason,
        is_default=facts.is_default,
    )


def voices_response(page: VoicePage) -> voice_pb2.ListVoicesResponse:
    """Return the answer to ListVoices."""
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
