"""Lists providers and their voices for callers."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

import structlog

from servicekit.errors import DomainError
from servicekit.resilience.errors import ProviderError
from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2
from voice_service.narration.errors import speech_failed
from voice_service.narration.speaker import choose
from voice_service.ports import Remembering
from voice_service.providers.registry import EMBEDDED, Announced, voices_of
from voice_service.wire.convert import voice_choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from voice_service.ports import VoiceInfo, VoiceProvider
    from voice_service.providers.registry import ProviderRegistry

_log: Final = structlog.stdlib.get_logger(__name__)

_MOST_SHOWN: Final = 500
_ADDRESS: Final = re.compile(r"https?://[!-~]{1,2000}")
_GENDERS: Final = {"female": common_pb2.GENDER_FEMALE, "male": common_pb2.GENDER_MALE}


class VoiceCatalogue:
    """Providers and voices, from a registry; `circuit_state` returns a circuit's state by the provider's name."""

    def __init__(self, registry: ProviderRegistry, circuit_state: Callable[[str], str] = lambda _: "closed") -> None:
        self._registry = registry
        self._circuit_state = circuit_state

    async def providers(
        self, wanted: voice_pb2.ListProvidersRequest | None = None, *, asked_for: bool = False
    ) -> list[voice_pb2.Provider]:
        """All providers, in the order in which they would be tried; one that is only announced has no formats.

        With `asked_for` those alone that a setting brings or names: no other one is missed. With a language in `wanted`
        those alone that would read the text. Raises what `choose` raises.
        """
        readers: list[str] | None = None
        if wanted is not None and wanted.language_code:
            choice, code, title = voice_choice(wanted.voice), wanted.language_code, wanted.text or None
            speakers, _ = await choose(self._registry, choice, code, pinned=False, strict=False, title=title)
            readers = [each.metadata.name for each in speakers.providers]
        fallback = self._registry.fallback
        default = await self._first()
        found = []
        for listed in self._registry.list_providers():
            metadata = listed if isinstance(listed, Announced) else listed.metadata
            name = metadata.name
            if (asked_for and not self._registry.is_asked_for(name)) or (readers is not None and name not in readers):
                continue
            missing = await self._registry.missing_reason(name)
            unavailable = missing or self._registry.closed_reason(name)
            provider = voice_pb2.Provider(
                provider_name=name,
                display_name=metadata.display_name,
                configured=not missing,
                available=not unavailable,
                unavailable_reason=unavailable,
                fallback_position=fallback.index(name) + 1 if name in fallback else 0,
                circuit_state=self._circuit_state(name),
                embedded=name == EMBEDDED,
            )
            if not isinstance(metadata, Announced):
                provider.is_default = name == default
                provider.supports_streaming = metadata.supports_streaming
                provider.max_text_length = metadata.max_text_length
                provider.supported_formats.extend(metadata.formats or (metadata.native_format.value,))
                provider.language_codes.extend(metadata.languages)
            found.append(provider)
        return found

    async def voices(
        self, provider: str, language_code: str, page_size: int, page_token: str
    ) -> voice_pb2.ListVoicesResponse:
        """Returns a page of voices of one provider or all that can be called.

        It is stale where a provider's list could not be had, or is an old one.

        Raises NOT_FOUND / PROVIDER_NOT_FOUND, FAILED_PRECONDITION / INVALID_CONFIGURATION, ValueError for a token
        that is not of this list, and what `speech_failed` makes of a single provider's failure.
        """
        offset = _offset(page_token, provider, language_code)
        everything: list[voice_pb2.Voice] = []
        stale = False
        for each in await self._asked(provider):
            try:
                found = await voices_of(each, language_code or None)
            except ProviderError as error:
                if provider:
                    raise speech_failed([error], -1) from error
                _log.warning("voices not listed", provider=each.metadata.name, kind=error.kind.value)
                stale = True
                continue
            stale = stale or (isinstance(each, Remembering) and each.voices_are_stale)
            everything += [_voice(each.metadata.name, voice) for voice in found]
        page = everything[offset : offset + page_size]
        end = offset + len(page)
        token = _token(end, provider, language_code) if end < len(everything) else ""
        return voice_pb2.ListVoicesResponse(voices=page, next_page_token=token, stale=stale)

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


def _voice(provider: str, voice: VoiceInfo) -> voice_pb2.Voice:
    return voice_pb2.Voice(
        provider=provider,
        voice_id=voice.voice_id,
        display_name=voice.display_name,
        language_codes=voice.language_codes,
        gender=_GENDERS.get(voice.gender, common_pb2.GENDER_UNSPECIFIED),
        # As an upstream sends them.
        description="".join(filter(str.isprintable, " ".join(voice.description[:_MOST_SHOWN].split()))),
        preview_url=voice.preview_url if _ADDRESS.fullmatch(voice.preview_url) else "",
    )


def _token(offset: int, provider: str, language_code: str) -> str:
    return f"{offset}-{hashlib.sha256(f'{provider} {language_code}'.encode()).hexdigest()[:16]}"


def _offset(token: str, provider: str, language_code: str) -> int:
    number = token.partition("-")[0]
    offset = int(number) if number.isascii() and number.isdigit() else 0
    if token and token != _token(offset, provider, language_code):
        raise ValueError("not a page token of this list")
    return offset
