"""What the models of ElevenLabs take, languages as it names them, and the call that is made of a request for a segment.

Limits and languages come from their list of models; the tables here are used while it cannot be fetched
(https://elevenlabs.io/docs/models).
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from voice_service.providers.elevenlabs.api import Endpoint

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from elevenlabs.types import Model

    from voice_service.ports import SegmentRequest, VoiceSettings
    from voice_service.providers.elevenlabs.api import ElevenLabsConfig


# fmt: off
MULTILINGUAL_V2: Final = (
    "en", "ja", "zh", "de", "hi", "fr", "ko", "pt", "it", "es", "id", "nl", "tr", "fil", "pl", "sv", "bg", "ro", "ar",
    "cs", "el", "fi", "hr", "ms", "sk", "da", "ta", "uk", "ru",
)
FLASH_V2_5: Final = (*MULTILINGUAL_V2, "hu", "no", "vi")
V3: Final = (
    *FLASH_V2_5,
    "af", "hy", "as", "az", "be", "bn", "bs", "ca", "ceb", "ny", "et", "gl", "ka", "gu", "ha", "he", "is", "ga", "jv",
    "kn", "kk", "ky", "lv", "ln", "lt", "lb", "mk", "ml", "mr", "ne", "ps", "fa", "pa", "sr", "sd", "sl", "so", "sw",
    "te", "th", "ur", "cy",
)
# fmt: on
ENGLISH: Final = ("en",)

_ALIASES: Final = {"nb": "no", "nn": "no", "tl": "fil", "iw": "he", "in": "id", "cmn": "zh"}
_NAMES: Final = {
    "ar": ("Arabic", "العربية"),
    "bg": ("Bulgarian", "Български"),
    "cs": ("Czech", "Čeština"),
    "da": ("Danish", "Dansk"),
    "de": ("German", "Deutsch"),
    "el": ("Greek", "Ελληνικά"),
    "en": ("English",),
    "es": ("Spanish", "Español"),
    "fi": ("Finnish", "Suomi"),
    "fil": ("Filipino",),
    "fr": ("French", "Français"),
    "he": ("Hebrew", "עברית"),
    "hi": ("Hindi", "हिन्दी"),
    "hr": ("Croatian", "Hrvatski"),
    "hu": ("Hungarian", "Magyar"),
    "id": ("Indonesian",),
    "it": ("Italian", "Italiano"),
    "ja": ("Japanese", "日本語"),
    "ko": ("Korean", "한국어"),
    "ms": ("Malay",),
    "nl": ("Dutch", "Nederlands"),
    "no": ("Norwegian", "Norsk"),
    "pl": ("Polish", "Polski"),
    "pt": ("Portuguese", "Português"),
    "ro": ("Romanian", "Română"),
    "ru": ("Russian", "Русский"),
    "sk": ("Slovak", "Slovenčina"),
    "sv": ("Swedish", "Svenska"),
    "ta": ("Tamil",),
    "th": ("Thai",),
    "tr": ("Turkish", "Türkçe"),
    "uk": ("Ukrainian", "Українська"),
    "vi": ("Vietnamese",),
    "zh": ("Chinese", "Mandarin", "中文"),
}
_CODES: Final = {name.casefold(): code for code, names in _NAMES.items() for name in names}
_WORD: Final = re.compile(r"[^\W\d_]+")


def bare(language_code: str) -> str:
    """Returns the language of a BCP-47 code as ElevenLabs writes it: "pt" of "pt-BR", "no" of "nb-NO"."""
    first = language_code.replace("_", "-").partition("-")[0].lower()
    return _ALIASES.get(first, first)


def with_aliases(languages: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the languages with the other codes that callers may call them by: "nb" and "nn" beside "no"."""
    return (*languages, *(alias for alias, code in _ALIASES.items() if code in languages))


def tag(code: str) -> str:
    """Returns a code as BCP-47 has it: "pt-BR" of "pt_br"; one without a region as it is, "" of ""."""
    first, _, rest = code.replace("_", "-").partition("-")
    region = rest.partition("-")[0]
    return f"{bare(first)}-{region.upper() if len(region) == 2 else region.title()}" if region else bare(first)


def named(value: str) -> str | None:
    """Returns the code of a language that is written as a code or as a name, whole: "de" of "German" or of "de"."""
    known = _CODES.get(value.strip().casefold())
    if known is not None:
        return known
    code = bare(value.strip())
    return code if code in V3 else None


def names_in(text: str) -> tuple[str, ...]:
    """Returns the codes of the languages whose names are words of `text`."""
    found = (_CODES.get(word.casefold()) for word in _WORD.findall(text))
    return tuple(dict.fromkeys(code for code in found if code is not None))


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """A model: `max_characters` of one request, and its languages (ISO 639)."""

    max_characters: int
    languages: tuple[str, ...]


BUILT_IN: Final[Mapping[str, ModelLimits]] = {
    "eleven_multilingual_v2": ModelLimits(10_000, MULTILINGUAL_V2),
    "eleven_flash_v2_5": ModelLimits(40_000, FLASH_V2_5),
    "eleven_turbo_v2_5": ModelLimits(40_000, FLASH_V2_5),
    "eleven_flash_v2": ModelLimits(30_000, ENGLISH),
    "eleven_turbo_v2": ModelLimits(30_000, ENGLISH),
    "eleven_v3": ModelLimits(5_000, V3),
    "eleven_multilingual_v1": ModelLimits(10_000, ("en", "de", "pl", "es", "it", "fr", "pt", "hi")),
    "eleven_monolingual_v1": ModelLimits(10_000, ENGLISH),
}
_UNKNOWN: Final = ModelLimits(5_000, MULTILINGUAL_V2)
"""The lowest of all limits, for an unknown model."""

_BEFORE_V3: Final = re.compile(r"eleven_[a-z]+_v[12](_|$)")
_NO_LANGUAGE_CODE: Final = re.compile(r"eleven_[a-z]+_v[12]$")


def takes_previous_text(model_id: str) -> bool:
    """Returns whether the model may be given the text before; v3 answers it with 400 (`unsupported_model`)."""
    return _BEFORE_V3.match(model_id) is not None


def takes_language_code(model_id: str) -> bool:
    """Returns whether the model accepts a language code; those up to v2 answer 400 or ignore it."""
    return _NO_LANGUAGE_CODE.match(model_id) is None


def stability_of(model_id: str, stability: float | None) -> float | None:
    """Returns a stability that the model takes: v3 knows 0 (creative), 0.5 (natural) and 1 (robust) alone."""
    if stability is None or takes_previous_text(model_id) or not model_id.startswith("eleven_v3"):
        return stability
    return round(stability * 2) / 2


def facts_of(model_id: str, listed: Mapping[str, ModelLimits] | None) -> ModelLimits:
    """Returns what is known of a model: from ElevenLabs' list, else built in, else a careful guess."""
    if listed is not None and model_id in listed:
        return listed[model_id]
    return BUILT_IN.get(model_id, _UNKNOWN)


def listed_models(models: Sequence[Model]) -> dict[str, ModelLimits]:
    """Returns the models of a list that speak; what the list leaves open is as it is built in."""
    return {model.model_id: _facts(model) for model in models if model.can_do_text_to_speech is not False}


def _facts(model: Model) -> ModelLimits:
    """Reads a model, of which the SDK has checked nothing but that it has an id."""
    known = BUILT_IN.get(model.model_id, _UNKNOWN)
    longest = model.maximum_text_length_per_request
    listed: Sequence[object] = model.languages if isinstance(model.languages, list) else ()
    codes = (getattr(each, "language_id", None) for each in listed)
    languages = tuple(dict.fromkeys(bare(code) for code in codes if isinstance(code, str) and code))
    return ModelLimits(
        longest if isinstance(longest, int) and longest > 0 else known.max_characters, languages or known.languages
    )


_VOICE_ID: Final = re.compile(r"[A-Za-z0-9]{16,40}")
_SPEEDS: Final = (0.7, 1.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechCall:
    """One call for speech; what is None is not sent."""

    endpoint: Endpoint
    voice_id: str
    model_id: str
    text: str
    settings: VoiceSettings
    language_code: str | None
    previous_text: str | None
    output_format: str
    enable_logging: bool | None


def is_voice_id(voice_id: str) -> bool:
    """Whether it has the form of an id: 20 letters and digits. It becomes part of an address, so nothing else may."""
    return _VOICE_ID.fullmatch(voice_id) is not None


def speech_call(
    request: SegmentRequest, config: ElevenLabsConfig, *, voice_id: str, languages: Collection[str]
) -> SpeechCall:
    """Returns the call for `request`, with what its model takes; `languages` are those of the model."""
    model_id = request.model_id or config.default_model
    language = bare(request.language_code)
    previous = request.previous_text if takes_previous_text(model_id) else ""
    endpoint = config.endpoint
    if endpoint is Endpoint.TIMESTAMPS and not request.with_timings:
        endpoint = Endpoint.STREAM
    return SpeechCall(
        endpoint=endpoint,
        voice_id=voice_id,
        model_id=model_id,
        text=request.text,
        settings=_settings(request.settings, config.settings, model_id),
        language_code=language if takes_language_code(model_id) and language in languages else None,
        previous_text=previous or None,
        output_format=config.output_format,
        enable_logging=False if config.zero_retention else None,
    )


def _settings(asked: VoiceSettings, default: VoiceSettings, model_id: str) -> VoiceSettings:
    both = replace(default, **{name: value for name, value in asdict(asked).items() if value is not None})
    speed = None if both.speed is None else min(max(both.speed, _SPEEDS[0]), _SPEEDS[1])
    return replace(both, stability=stability_of(model_id, both.stability), speed=speed)
