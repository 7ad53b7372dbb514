"""Converts SpeechConfig to the request of a narration, and its events to messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from servicekit.errors import FieldViolation, validation_failed
from servicekit.ids import new_id
from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2
from voice_service.narration.messages import NarrationRequest, VoiceChoice
from voice_service.ports import MP3_44100_128, OGG_OPUS_48000, WAV_44100, VoiceSettings
from voice_service.synthesis.budget import CallBudget, Tries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_service.narration.messages import Event


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
    provider_wait = config.provider_wait.ToNanoseconds() / 1e9
    may_wait = provider_wait > 0
    return NarrationRequest(
        audio_id=config.audio_id or (pinned.audio_id if pinned else "") or new_id(),
        # The id that a direct caller gives need not be of a story in storage, which would refuse its paid segments.
        story_id=config.story_id if stored else "",
        voice=voice_choice(voice),
        language_code=(pinned.language_code if pinned else "") or config.language_code,
        story_format=story_format,
        title=config.title if config.title.strip() else "",
        pinned=voice_choice(pinned) if pinned else None,
        spoken=config.spoken_so_far,
        stored=stored,
        word_timings=config.word_timings,
        strict_language=config.strict_language,
        provider_wait=provider_wait,
        budget=CallBudget(
            (
                (made.segment_index, made.provider, Tries(made.calls, made.unbilled, made.useless, may_wait=may_wait))
                for made in config.calls_made
            ),
            may_wait=may_wait,
        ),
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


def voice_choice(voice: common_pb2.VoiceSelection | common_pb2.NarrationHeader) -> VoiceChoice:
    return VoiceChoice(
        provider=voice.provider,
        voice_id=voice.voice_id,
        model_id=voice.model_id,
        settings=_settings(voice.settings),
    )


def _settings(settings: common_pb2.VoiceSettings) -> VoiceSettings:
    given = {descriptor.name: value for descriptor, value in settings.ListFields()}
    return VoiceSettings(**given)


def speech_response(event: Event, parent_attempt_id: str) -> voice_pb2.SynthesizeSpeechResponse:
    """Returns the message for `event`; attempts are of the attempt `parent_attempt_id`."""
    match event:
        case voice_pb2.AudioChunk():
            return voice_pb2.SynthesizeSpeechResponse(chunk=event)
        case common_pb2.Segment():
            return voice_pb2.SynthesizeSpeechResponse(segment=event)
        case common_pb2.Attempt():
            event.parent_attempt_id = parent_attempt_id
            return voice_pb2.SynthesizeSpeechResponse(attempt=event)
        case common_pb2.NarrationHeader():
            return voice_pb2.SynthesizeSpeechResponse(header=event)
        case common_pb2.Problem():
            return voice_pb2.SynthesizeSpeechResponse(warning=event)
        case _:
            return voice_pb2.SynthesizeSpeechResponse(summary=event)
