"""SpeechConfig -> NarrationRequest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from servicekit.errors import FieldViolation, validation_failed
from servicekit.ids import new_id
from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2
from voice_service.narration.messages import NarrationRequest, SpokenSegment, VoiceChoice
from voice_service.ports import MP3_44100_128, OGG_OPUS_48000, WAV_44100, VoiceSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.duration_pb2 import Duration

_FORMATS: Final = {
    common_pb2.AUDIO_FORMAT_UNSPECIFIED: MP3_44100_128,
    common_pb2.AUDIO_FORMAT_MP3: MP3_44100_128,
    common_pb2.AUDIO_FORMAT_WAV: WAV_44100,
    common_pb2.AUDIO_FORMAT_OGG_OPUS: OGG_OPUS_48000,
}


def narration_request(config: voice_pb2.SpeechConfig) -> NarrationRequest:
    """Returns the request of a config. Raises VALIDATION_FAILED where `spoken_so_far` has gaps."""
    _check_spoken(config.spoken_so_far)
    voice = config.voice
    pinned = config.pinned if config.HasField("pinned") else None
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


def _check_spoken(spoken: Sequence[common_pb2.Segment]) -> None:
    """Raises VALIDATION_FAILED unless the segments follow one another."""
    found: list[FieldViolation] = []
    text = audio = 0
    for index, segment in enumerate(spoken):
        field = f"config.spoken_so_far[{index}]"
        if segment.index != index:
            found.append(FieldViolation(f"{field}.index", "must count up from 0"))
        if segment.text.start != text:
            found.append(FieldViolation(f"{field}.text", "must begin where the one before ends"))
        if segment.audio.start != audio:
            found.append(FieldViolation(f"{field}.audio", "must begin where the one before ends"))
        text, audio = segment.text.end, segment.audio.end
    if found:
        raise validation_failed(found)


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
