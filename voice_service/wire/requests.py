"""SpeechConfig from the wire: checked, all that is wrong at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from servicekit.ids import new_id
from servicekit.validation import Violations
from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2
from voice_service.narration.messages import NarrationRequest, SpokenSegment, VoiceChoice
from voice_service.ports import MP3_44100_128, OGG_OPUS_48000, WAV_44100, VoiceSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.duration_pb2 import Duration

_MAX_TITLE: Final = 200
_MAX_NAME: Final = 200
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,5}")
_FORMATS: Final = {
    common_pb2.AUDIO_FORMAT_UNSPECIFIED: MP3_44100_128,
    common_pb2.AUDIO_FORMAT_MP3: MP3_44100_128,
    common_pb2.AUDIO_FORMAT_WAV: WAV_44100,
    common_pb2.AUDIO_FORMAT_OGG_OPUS: OGG_OPUS_48000,
}
_DELIVERIES: Final = frozenset(voice_pb2.Delivery.values())
_SHA256_BYTES: Final = 32
_UNIT_SETTINGS: Final = ("stability", "similarity_boost", "style")


def narration_request(config: voice_pb2.SpeechConfig) -> NarrationRequest:
    """Return what the caller asks. Raises INVALID_ARGUMENT / VALIDATION_FAILED with all violations."""
    violations = Violations()
    violations.check_uuid7("config.story_id", config.story_id, required=False)
    violations.check_token("config.audio_id", config.audio_id)
    violations.check_token("config.parent_attempt_id", config.parent_attempt_id)
    violations.text_bounds("config.title", config.title, most=_MAX_TITLE)
    check_language(violations, "config.language_code", config.language_code)
    voice = config.voice
    _check_voice(violations, "config.voice", voice)
    pinned = config.pinned if config.HasField("pinned") else None
    if pinned is not None:
        _check_voice(violations, "config.pinned", pinned)
        violations.check(pinned.provider, "config.pinned.provider", "must be given")
        check_language(violations, "config.pinned.language_code", pinned.language_code)
    violations.check(
        pinned is not None or not config.spoken_so_far, "config.pinned", "must be given with spoken_so_far"
    )
    _check_spoken(violations, config.spoken_so_far)
    violations.check(config.delivery in _DELIVERIES, "config.delivery", "must be DELIVERY_AUDIO or DELIVERY_STORED")
    violations.raise_if_any()
    story_format = _FORMATS[(voice if pinned is None else pinned).audio_format]
    stored = config.delivery == voice_pb2.DELIVERY_STORED
    return NarrationRequest(
        audio_id=config.audio_id or (pinned.audio_id if pinned else "") or new_id(),
        # The id that a direct caller gives need not be of a story in storage, which would refuse its paid segments.
        story_id=config.story_id if stored else "",
        voice=_choice(voice),
        language_code=(pinned.language_code if pinned else "") or config.language_code,
        story_format=story_format,
        title=config.title if config.title.strip() else "",
        pinned=_choice(pinned) if pinned else None,
        spoken=_spoken(config.spoken_so_far, story_format.sample_rate),
        stored=stored,
        word_timings=config.word_timings,
        strict_language=config.strict_language,
    )


def check_language(violations: Violations, field: str, code: str) -> None:
    """Asks for a BCP-47 code; "" is fine."""
    violations.check(not code or _LANGUAGE.fullmatch(code), field, "must be a BCP-47 code, such as en or pt-BR")


def _check_voice(
    violations: Violations, field: str, voice: common_pb2.VoiceSelection | common_pb2.NarrationHeader
) -> None:
    violations.check_token(f"{field}.provider", voice.provider)
    violations.text_bounds(f"{field}.voice_id", voice.voice_id, most=_MAX_NAME)
    violations.text_bounds(f"{field}.model_id", voice.model_id, most=_MAX_NAME)
    violations.check(
        voice.audio_format in _FORMATS,
        f"{field}.audio_format",
        "must be AUDIO_FORMAT_MP3, AUDIO_FORMAT_WAV or AUDIO_FORMAT_OGG_OPUS",
    )
    for name in _UNIT_SETTINGS:
        if voice.settings.HasField(name):
            violations.in_range(f"{field}.settings.{name}", getattr(voice.settings, name), 0, 1)
    if voice.settings.HasField("speed"):
        violations.in_range(f"{field}.settings.speed", voice.settings.speed, 0.5, 2)


def _check_spoken(violations: Violations, spoken: Sequence[common_pb2.Segment]) -> None:
    text = audio = 0
    for index, segment in enumerate(spoken):
        field = f"config.spoken_so_far[{index}]"
        violations.check(segment.index == index, f"{field}.index", "must count up from 0")
        violations.check(
            segment.text.start == text <= segment.text.end, f"{field}.text", "must begin where the one before ends"
        )
        violations.check(
            segment.audio.start == audio < segment.audio.end, f"{field}.audio", "must begin where the one before ends"
        )
        violations.check(segment.provider, f"{field}.provider", "must be given")
        violations.check(len(segment.sha256) == _SHA256_BYTES, f"{field}.sha256", "must have 32 bytes")
        text, audio = segment.text.end, segment.audio.end


def _choice(voice: common_pb2.VoiceSelection | common_pb2.NarrationHeader) -> VoiceChoice:
    return VoiceChoice(
        provider=voice.provider,
        voice_id=voice.voice_id,
        model_id=voice.model_id,
        settings=_settings(voice.settings),
    )


def _settings(settings: common_pb2.VoiceSettings) -> VoiceSettings:
    given = {descriptor.name: value for descriptor, value in settings.ListFields()}
    return VoiceSettings(**given)


def _spoken(segments: Sequence[common_pb2.Segment], sample_rate: int) -> tuple[SpokenSegment, ...]:
    spoken: list[SpokenSegment] = []
    start = 0
    for segment in segments:
        samples = _samples(segment.duration, sample_rate)
        spoken.append(
            SpokenSegment(
                index=segment.index,
                text_start=segment.text.start,
                text_end=segment.text.end,
                audio_start=segment.audio.start,
                audio_end=segment.audio.end,
                key=segment.key,
                provider=segment.provider,
                voice_id=segment.voice_id,
                model_id=segment.model_id,
                sha256=segment.sha256,
                start=start,
                samples=samples,
                sample_rate=sample_rate,
            )
        )
        start += samples
    return tuple(spoken)


def _samples(duration: Duration, sample_rate: int) -> int:
    return round(duration.ToNanoseconds() * sample_rate / 1_000_000_000)
