"""The voices and models of the account, kept for a while and longer where they cannot be had."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import structlog

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from voice_service.elevenlabs.config import NAME
from voice_service.elevenlabs.models import ModelFacts, facts_of, is_voice_id, listed_models
from voice_service.elevenlabs.voices import ListedVoice, choose_voice, listed_voice, speaking
from voice_service.kept import KeptList

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from voice_service.elevenlabs.config import ElevenLabsConfig
    from voice_service.elevenlabs.key import ApiKey
    from voice_service.elevenlabs.upstream import Upstream

_log: Final = structlog.stdlib.get_logger(__name__)
_ASKED_FOR: Final = 256
"""Voices by id that are remembered."""
_ABSENT_SECONDS: Final = 60.0
_REFUSALS: Final = frozenset({ProviderErrorKind.UNSUPPORTED, ProviderErrorKind.INVALID_INPUT})


class Catalog:
    """Knows voices and models."""

    def __init__(
        self,
        config: ElevenLabsConfig,
        key: ApiKey,
        opened: Callable[[], Awaitable[Upstream]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`opened` returns what calls are made through."""
        self._config = config
        self._key = key
        self._opened = opened
        self._clock = clock
        seconds = config.list_cache_seconds
        self.voices = KeptList(self._fetch_voices, name="voices", provider=NAME, seconds=seconds, clock=clock)
        self.models = KeptList(self._fetch_models, name="models", provider=NAME, seconds=seconds, clock=clock)
        self._asked_for: OrderedDict[str, tuple[bool, float]] = OrderedDict()

    def model(self, model_id: str) -> ModelFacts:
        """Return what is known of a model; calls nobody."""
        return facts_of(model_id, self.models.value)

    async def speaking(self, language_code: str) -> list[ListedVoice]:
        """Return the voices that suit a language, the best first. Raises ProviderError."""
        return speaking(
            await self.voices.get(),
            language_code,
            model_id=self._config.default_model,
            default_voice=self._config.default_voice,
        )

    async def choose(self, language_code: str, model_id: str) -> str:
        """Return the voice for a language; the default where the voices cannot be had."""
        default = self._config.default_voice
        try:
            voices = await self.voices.get()
        except ProviderError as error:
            _log.warning("voices cannot be listed", provider=NAME, kind=error.kind.value)
            return default
        return choose_voice(voices, language_code, model_id=model_id, default_voice=default)

    async def knows(self, voice_id: str) -> bool:
        """Tell whether there is such a voice, in the list or not. Raises ProviderError."""
        if not is_voice_id(voice_id):
            return False
        if voice_id == self._config.default_voice:
            return True
        if any(voice.voice_id == voice_id for voice in await self._listed()):
            return True
        known, until = self._asked_for.get(voice_id, (False, float("-inf")))
        if self._clock() < until:
            self._asked_for.move_to_end(voice_id)
            return known
        known = await self._exists(voice_id)
        seconds = self._config.list_cache_seconds if known else min(_ABSENT_SECONDS, self._config.list_cache_seconds)
        self._asked_for[voice_id] = (known, self._clock() + seconds)
        if len(self._asked_for) > _ASKED_FOR:
            self._asked_for.popitem(last=False)
        return known

    async def aclose(self) -> None:
        """End what is under way."""
        await self.voices.aclose()
        await self.models.aclose()

    async def _listed(self) -> Sequence[ListedVoice]:
        try:
            return await self.voices.get()
        except ProviderError:
            return ()  # logged by the list; the voice itself is asked for

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

    async def _fetch_models(self) -> dict[str, ModelFacts]:
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
                _log.warning("default voice cannot be looked up", voice_id=default, kind=error.kind.value)
        return tuple(voices)
