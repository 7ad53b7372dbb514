"""From the request for a segment to what ElevenLabs is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voice_service.elevenlabs.config import Endpoint
from voice_service.elevenlabs.languages import bare
from voice_service.elevenlabs.models import stability_of, takes_language_code, takes_previous_text
from voice_service.ports import VoiceSettings

if TYPE_CHECKING:
    from collections.abc import Collection

    from voice_service.elevenlabs.config import ElevenLabsConfig
    from voice_service.ports import SegmentRequest

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
    """Return the call for `request`, with what its model takes; `languages` are those of the model."""
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
    boost = default.use_speaker_boost if asked.use_speaker_boost is None else asked.use_speaker_boost
    speed = _first(asked.speed, default.speed)
    return VoiceSettings(
        stability=stability_of(model_id, _first(asked.stability, default.stability)),
        similarity_boost=_first(asked.similarity_boost, default.similarity_boost),
        style=_first(asked.style, default.style),
        use_speaker_boost=boost,
        speed=None if speed is None else min(max(speed, _SPEEDS[0]), _SPEEDS[1]),
    )


def _first(asked: float | None, default: float | None) -> float | None:
    return default if asked is None else asked
