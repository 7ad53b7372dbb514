"""Lists of the account's voices and models, cached, and the choice of a voice for a language."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from cachetools import LRUCache

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.ports import VoiceInfo
from voice_service.providers.cached_list import CachedList
from voice_service.providers.elevenlabs.api import NAME, RACHEL, LackingRightError
from voice_service.providers.elevenlabs.models import (
    ModelLimits,
    bare,
    facts_of,
    is_voice_id,
    listed_models,
    named,
    names_in,
    tag,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from elevenlabs.types import Voice

    from voice_service.providers.elevenlabs.api import ApiKey, ElevenLabsConfig
    from voice_service.providers.elevenlabs.client import ElevenLabsClient


_LABELS: Final = ("language", "languages", "locale")
_GENDERS: Final = ("female", "male")
_OF_THE_LIBRARY: Final = ("professional", "high_quality", "famous")
_FREE: Final = "free"
_ANY: Final = (3, False, False)
"""Rank of a voice of which no language is known."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A language that a voice was tried in, with the model that spoke it; `locale` may be empty."""

    language: str
    locale: str
    model_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedVoice:
    """A voice as ElevenLabs lists it; languages are bare codes, from the surest source to the least sure.

    `tiers` are the plans that may use it, empty for all; `library` means that it belongs to another account;
    `created` is in seconds since 1970, 0 for one of ElevenLabs' own.
    """

    voice_id: str
    name: str
    gender: str = ""
    tiers: tuple[str, ...] = ()
    owned: bool = False
    library: bool = False
    legacy: bool = False
    created: int = 0
    verified: tuple[Verified, ...] = ()
    labelled: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    description: str = ""
    preview_url: str = ""

    def info(self) -> VoiceInfo:
        """Returns the voice as callers see it, with the languages that it is known to speak."""
        codes = (*(each.locale or each.language for each in self.verified), *self.labelled, *self.named)
        return VoiceInfo(
            voice_id=self.voice_id,
            display_name=self.name,
            language_codes=tuple(dict.fromkeys(codes)),
            gender=self.gender,
            description=self.description,
            preview_url=self.preview_url,
        )

    def needs_another(self, tier: str) -> bool:
        """Returns whether the voice needs another plan than `tier` ("": unknown)."""
        return (bool(self.tiers) and tier not in self.tiers) or (self.library and tier == _FREE)


def listed_voice(voice: Voice) -> ListedVoice:
    """Returns what matters of a voice. The SDK has checked nothing but that it has an id."""
    labels = voice.labels if isinstance(voice.labels, dict) else {}
    gender = _text(labels.get("gender")).lower()
    verified = tuple(
        Verified(
            bare(_text(getattr(each, "language", ""))),
            tag(_text(getattr(each, "locale", ""))),
            _text(getattr(each, "model_id", "")),
        )
        for each in _list(voice.verified_languages)
        if _text(getattr(each, "language", ""))
    )
    labelled = _codes(_text(labels.get(key)) for key in _LABELS)
    name, created = _text(voice.name), voice.created_at_unix
    owned = voice.is_owner is True
    return ListedVoice(
        voice_id=voice.voice_id,
        name=name or voice.voice_id,
        gender=gender if gender in _GENDERS else "",
        tiers=tuple(filter(None, map(_text, _list(voice.available_for_tiers)))),
        owned=owned,
        library=not owned and voice.category in _OF_THE_LIBRARY,
        legacy=voice.is_legacy is True,
        created=created if isinstance(created, int) else 0,
        verified=verified,
        labelled=labelled,
        named=names_in(name),
        description=_text(voice.description),
        preview_url=_text(voice.preview_url),
    )


def speaking(
    voices: Sequence[ListedVoice], language_code: str, *, model_id: str, tier: str = "", any_language: bool = False
) -> list[ListedVoice]:
    """Returns the voices that suit `language_code` (BCP-47), the best first; with `any_language` the others behind.

    Those that need another plan than `tier` come last. Those verified in the language come first (with this model and
    in this region before others), then those with a label that says the language, then those whose name does. Of
    equals the order is the same whatever is added to the account later: its own voices go first, and older ones.
    """
    ranked = []
    for voice in voices:
        rank = _rank(voice, language_code, model_id) or (_ANY if any_language else None)
        if rank is not None:
            key = (voice.needs_another(tier), rank, voice.legacy, not voice.owned, voice.created, voice.voice_id)
            ranked.append((key, voice))
    return [voice for _, voice in sorted(ranked, key=lambda entry: entry[0])]


def _rank(voice: ListedVoice, language_code: str, model_id: str) -> tuple[int, bool, bool] | None:
    wanted, region = bare(language_code), tag(language_code)
    verified = [
        (0, "-" in region and each.locale != region, each.model_id != model_id)
        for each in voice.verified
        if each.language == wanted
    ]
    if verified:
        return min(verified)
    if wanted in voice.labelled:
        return (1, False, False)
    return (2, False, False) if wanted in voice.named else None


def _codes(values: Iterable[str]) -> tuple[str, ...]:
    codes = (named(part) for value in values for part in value.replace(";", ",").split(","))
    return tuple(dict.fromkeys(code for code in codes if code is not None))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


_log: Final = structlog.stdlib.get_logger(__name__)
_ASKED_FOR: Final = 256
"""Voices by id that are remembered."""
_ABSENT_SECONDS: Final = 60.0
_REFUSED_SECONDS: Final = 3_600.0
_REFUSALS: Final = frozenset({ProviderErrorKind.UNSUPPORTED, ProviderErrorKind.INVALID_INPUT})


class Catalog:
    """Knows voices and models."""

    def __init__(
        self,
        config: ElevenLabsConfig,
        key: ApiKey,
        opened: Callable[[], Awaitable[ElevenLabsClient]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`opened` returns what calls are made through."""
        self._config = config
        self._key = key
        self._opened = opened
        self._clock = clock
        seconds = config.list_cache_seconds
        self.voices = CachedList(self._fetch_voices, name="voices", provider=NAME, seconds=seconds, clock=clock)
        self.models = CachedList(self._fetch_models, name="models", provider=NAME, seconds=seconds, clock=clock)
        self._asked_for: LRUCache[str, tuple[bool, float]] = LRUCache(_ASKED_FOR)
        self._refused: LRUCache[str, float] = LRUCache(_ASKED_FOR)
        self.tier = ""
        """The plan of the account; "" while it is not known."""

    def model(self, model_id: str) -> ModelLimits:
        """Returns what is known of a model, without a call."""
        return facts_of(model_id, self.models.value)

    async def speaking(self, language_code: str) -> list[ListedVoice]:
        """Returns the voices that suit a language, the best first: before all the configured one, which reads any.

        Without those that were refused lately. Raises ProviderError.
        """
        listed, configured = await self.voices.get(), self._config.default_voice
        first = [voice for voice in listed if voice.voice_id == configured]
        return first + [voice for voice in self._chosen(listed, language_code) if voice.voice_id != configured]

    def default(self, language_code: str = "en") -> str:
        """Returns the voice for a language in which none is known to speak, without a call.

        Every voice reads every language: the configured one, else any of the account, else one of ElevenLabs' own.
        """
        if self._config.default_voice:
            return self._config.default_voice
        found = self._chosen(self.voices.value or (), language_code, any_language=True)
        return found[0].voice_id if found else RACHEL

    async def choose(self, language_code: str) -> str:
        """Returns the voice for a language; the default while the voices cannot be fetched."""
        try:
            await self.voices.get()
        except ProviderError as error:
            _log.warning("voices not listed", provider=NAME, kind=error.kind.value)
        return self.default(language_code)

    def refused(self, voice_id: str) -> None:
        """Notes that the account may not use a voice: it is not chosen again for a while."""
        _log.warning("voice refused", provider=NAME, voice_id=voice_id)
        self._refused[voice_id] = self._clock() + _REFUSED_SECONDS

    def lacking(self) -> str:
        """Returns what the key lacks so that a voice can be chosen; "" for nothing, or where one is configured."""
        error = self.voices.error
        if self._config.default_voice or self.voices.value is not None or not isinstance(error, LackingRightError):
            return ""
        return f"{error.message}, or set ELEVENLABS_VOICE to the id of a voice"

    def _chosen(
        self, voices: Sequence[ListedVoice], language_code: str, *, any_language: bool = False
    ) -> list[ListedVoice]:
        now, model_id = self._clock(), self._config.default_model
        usable = [voice for voice in voices if self._refused.get(voice.voice_id, -math.inf) <= now]
        return speaking(usable, language_code, model_id=model_id, tier=self.tier, any_language=any_language)

    async def knows(self, voice_id: str) -> bool:
        """Returns whether the voice exists, listed or not. Raises ProviderError."""
        if not is_voice_id(voice_id):
            return False
        if voice_id == self._config.default_voice:
            return True
        if any(voice.voice_id == voice_id for voice in await self._listed()):
            return True
        known, until = self._asked_for.get(voice_id, (False, float("-inf")))
        if self._clock() < until:
            return known
        known = await self._exists(voice_id)
        seconds = self._config.list_cache_seconds if known else min(_ABSENT_SECONDS, self._config.list_cache_seconds)
        self._asked_for[voice_id] = (known, self._clock() + seconds)
        return known

    async def aclose(self) -> None:
        """Ends what is under way."""
        await self.voices.aclose()
        await self.models.aclose()

    async def _listed(self) -> Sequence[ListedVoice]:
        try:
            return await self.voices.get()
        except ProviderError:
            return ()  # logged by the list; the voice itself is looked up

    async def _exists(self, voice_id: str) -> bool:
        upstream = await self._opened()
        try:
            with self._key.used() as key:
                await upstream.voice(voice_id, key)
        except ProviderError as error:
            if error.kind in _REFUSALS:
                return False
            raise
        return True

    async def _fetch_models(self) -> dict[str, ModelLimits]:
        upstream = await self._opened()
        with self._key.used() as key:
            return listed_models(await upstream.models(key))

    async def _fetch_voices(self) -> tuple[ListedVoice, ...]:
        upstream = await self._opened()
        with self._key.used() as key:
            voices = [listed_voice(each) for each in await upstream.voices(key)]
        default = self._config.default_voice
        if is_voice_id(default) and all(voice.voice_id != default for voice in voices):
            try:
                with self._key.used() as key:
                    voices.append(listed_voice(await upstream.voice(default, key)))
            except ProviderError as error:
                _log.warning("default voice not looked up", voice_id=default, kind=error.kind.value)
        return tuple(voices)
