"""The providers that the settings name, and those that others bring, not yet opened.

Others bring them as entry points of the group `tale.voice_providers`. An entry point names a factory:
`factory(environment) -> VoiceProvider`, `environment` being the process's variables. It is quick and opens nothing;
where a variable is missing it raises ValueError with the remedy ("set ACME_KEY").
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

import structlog

from servicekit.addresses import check_base_url
from servicekit.ids import is_provider
from servicekit.secrets import SecretSource
from servicekit.settings import ConfigurationError
from voice_service.providers.elevenlabs.api import NAME as ELEVENLABS
from voice_service.providers.elevenlabs.api import ElevenLabsConfig
from voice_service.providers.elevenlabs.provider import ElevenLabsProvider
from voice_service.providers.mock.provider import NAME as MOCK
from voice_service.providers.mock.provider import MockVoiceProvider
from voice_service.providers.offline.provider import OfflineVoiceProvider
from voice_service.providers.registry import EMBEDDED, Announced
from voice_service.providers.speech.config import DISPLAY_NAME, SpeechConfig, read_speech_providers
from voice_service.providers.speech.config import NAME as SPEECH
from voice_service.providers.speech.provider import SpeechProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from importlib.metadata import EntryPoint

    from voice_service.metrics import VoiceMetrics
    from voice_service.ports import VoiceProvider
    from voice_service.settings import Tuning, VoiceServiceSettings


_MAX_WORKERS: Final = 8


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A provider of this package. `make` returns None where nothing is set for it.

    `variable` is the setting that brings it and `value` what it is set to; both are empty for one that needs nothing.
    """

    name: str
    make: Callable[[VoiceServiceSettings, Tuning, VoiceMetrics], VoiceProvider | None]
    display_name: str = ""
    variable: str = ""
    value: str = ""

    @property
    def announced(self) -> Announced:
        """The provider while nothing is set for it."""
        return Announced(self.name, self.display_name, f"set {self.variable} to {self.value}")


def make_providers(
    settings: VoiceServiceSettings, tuning: Tuning, metrics: VoiceMetrics, environment: Mapping[str, str]
) -> list[VoiceProvider | Announced]:
    """Makes every provider that is configured or comes from an installed package. Opens nothing.

    Raises ConfigurationError.
    """
    built_in = [made for each in BUILT_IN if (made := each.make(settings, tuning, metrics))]
    # SPEECH_PROVIDERS may declare `speech` with its voices while SPEECH_BASE_URL is unset.
    reserved = {each.name for each in BUILT_IN if each.name != SPEECH} | {made.metadata.name for made in built_in}
    declared = read_speech_providers(
        settings.speech_providers,
        environment,
        reserved=reserved,
        allow_plain_http=settings.upstream_allow_plain_http,
    )
    providers: list[VoiceProvider | Announced] = [*built_in, *map(SpeechProvider, declared)]
    names = {each.name for each in BUILT_IN} | {config.name for config in declared}
    for brought in load_plugins(environment):
        name = brought.name if isinstance(brought, Announced) else brought.metadata.name
        if name in names:
            raise ConfigurationError(
                f"the voice provider {name} of an installed package has a name that is taken; uninstall or rename one"
            )
        names.add(name)
        providers.append(brought)
    return providers


def offline_workers(tuning: Tuning) -> int:
    """Returns the number of processes of the embedded voice."""
    return tuning.offline_workers or min(_MAX_WORKERS, os.cpu_count() or 1)


def _elevenlabs(settings: VoiceServiceSettings, tuning: Tuning, metrics: VoiceMetrics) -> ElevenLabsProvider | None:
    if settings.elevenlabs_api_key is None and settings.elevenlabs_api_key_file is None:
        return None
    config = ElevenLabsConfig(
        key=SecretSource(settings.elevenlabs_api_key, settings.elevenlabs_api_key_file, name="ELEVENLABS_API_KEY"),
        base_url=_address(settings),
        default_model=settings.elevenlabs_model,
        default_voice=settings.elevenlabs_voice,
        read_seconds=max(settings.first_byte_seconds or 0.0, tuning.idle),
        connections=max(settings.paid_concurrency, 1) + 4,  # lists and probes have room beside the speech
        zero_retention=settings.elevenlabs_zero_retention,
    )

    def observe(endpoint: str, status: str, seconds: float) -> None:
        metrics.audit(ELEVENLABS).record(ELEVENLABS, endpoint, status, seconds)

    return ElevenLabsProvider(config, observe=observe)


def _speech(settings: VoiceServiceSettings, _: Tuning, __: VoiceMetrics) -> SpeechProvider | None:
    if not settings.speech_base_url:
        return None
    return SpeechProvider(
        SpeechConfig(
            base_url=settings.speech_base_url,
            key=SecretSource(settings.speech_api_key, settings.speech_api_key_file, name="SPEECH_API_KEY"),
            model=settings.speech_model,
            voice=settings.speech_voice,
            max_text_length=settings.speech_max_text_length,
            concurrency=settings.speech_concurrency or 0,
            paid=settings.speech_api_key is not None or settings.speech_api_key_file is not None,
        )
    )


def _offline(settings: VoiceServiceSettings, tuning: Tuning, _: VoiceMetrics) -> OfflineVoiceProvider:
    return OfflineVoiceProvider(
        workers=offline_workers(tuning),
        piper=settings.piper_dir,
        speak_timeout=settings.segment_seconds or tuning.speak,
    )


def _mock(settings: VoiceServiceSettings, _: Tuning, __: VoiceMetrics) -> MockVoiceProvider:
    return MockVoiceProvider(settings.mock_script)


def _address(settings: VoiceServiceSettings) -> str:
    try:
        return check_base_url(settings.elevenlabs_base_url, allow_plain_http=settings.upstream_allow_plain_http)
    except ValueError as error:
        raise ConfigurationError(f"ELEVENLABS_BASE_URL {error}") from None


BUILT_IN: Final = (
    BuiltIn(ELEVENLABS, _elevenlabs, "ElevenLabs", "ELEVENLABS_API_KEY", "a key of ElevenLabs"),
    BuiltIn(SPEECH, _speech, DISPLAY_NAME, "SPEECH_BASE_URL", "a server with OpenAI's /audio/speech"),
    BuiltIn(EMBEDDED, _offline),
    BuiltIn(MOCK, _mock),
)
"""The providers of this package, in the order in which they are tried where nothing else is chosen."""
ANNOUNCED: Final = tuple(each.announced for each in BUILT_IN if each.variable)
"""Providers that are known by name whether they are set up or not."""
BY_NAME: Final = frozenset(each.name for each in BUILT_IN if not each.variable)
"""Providers that speak only where they are named, or, the embedded voice, where no other is set up."""
BRING_REAL_VOICE: Final = tuple(each.variable for each in BUILT_IN if each.variable)
"""Variables that bring a provider other than the embedded one, by provider."""

GROUP: Final = "tale.voice_providers"

_NAME_REMEDY: Final = (
    "rename its entry point: a name has 1 to 64 characters of A-Z a-z 0-9 . _ -, the first a letter or digit"
)

_log: Final = structlog.stdlib.get_logger(__name__)


def load_plugins(
    environment: Mapping[str, str], found: Iterable[EntryPoint] | None = None
) -> list[VoiceProvider | Announced]:
    """Makes every provider that an installed package brings; one that cannot be made is announced with the reason.

    The entry point's name is the provider's: one with another name in its metadata is announced as wrong.
    """
    made: list[VoiceProvider | Announced] = []
    for entry in sorted(entry_points(group=GROUP) if found is None else found, key=lambda entry: entry.name):
        provider = _make(entry, environment)
        if isinstance(provider, Announced):
            _log.warning("voice provider not used", provider=entry.name, why=provider.reason)
        made.append(provider)
    return made


def _make(entry: EntryPoint, environment: Mapping[str, str]) -> VoiceProvider | Announced:
    if not is_provider(entry.name):
        # Storage would refuse its segments, which are paid by then.
        return Announced(entry.name, entry.name, _NAME_REMEDY, is_set=True)
    try:
        factory = entry.load()
    except Exception as error:  # noqa: BLE001 - whatever an added module does, the service runs without it
        return Announced(
            entry.name, entry.name, f"{entry.value} cannot be loaded ({type(error).__name__})", is_set=True
        )
    try:
        provider: VoiceProvider = factory(environment)
        name = provider.metadata.name
    except ValueError as error:
        return Announced(entry.name, entry.name, str(error))
    except Exception as error:  # noqa: BLE001 - likewise
        return Announced(entry.name, entry.name, f"{entry.value} failed ({type(error).__name__})", is_set=True)
    if name != entry.name:
        return Announced(entry.name, entry.name, f"its metadata say {name}, its entry point {entry.name}", is_set=True)
    return provider
