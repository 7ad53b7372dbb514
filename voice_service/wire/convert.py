"""Converts SpeechConfig to the request of a narration, and its events to messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from servicekit.errors import FieldViolation, validation_failed
from servicekit.ids import new_id
from tale.common.v1 import common_pb2
from tale.voice.v1 import voice_pb2
from voice_service.narration.messages import NarrationRequest, SpokenSegment, VoiceChoice, duration_of
from voice_service.ports import MP3_44100_128, OGG_OPUS_48000, WAV_44100, VoiceSettings
from voice_service.providers.registry import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.duration_pb2 import Duration

    from tale.storage.v1.segment_pb2 import SegmentWords
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
        provider_wait=config.provider_wait.ToNanoseconds() / 1e9,
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


def speech_response(event: Event, parent_attempt_id: str) -> voice_pb2.SynthesizeSpeechResponse:
    """Returns the message for `event`; attempts are of the attempt `parent_attempt_id`."""
    match event:
        case voice_pb2.AudioChunk():
            return voice_pb2.SynthesizeSpeechResponse(chunk=event)
        case SpokenSegment():
            return _segment(event)
        case common_pb2.Attempt():
            event.parent_attempt_id = parent_attempt_id
            return voice_pb2.SynthesizeSpeechResponse(attempt=event)
        case common_pb2.NarrationHeader():
            return voice_pb2.SynthesizeSpeechResponse(header=event)
        case common_pb2.Problem():
            return voice_pb2.SynthesizeSpeechResponse(warning=event)
        case _:
            return voice_pb2.SynthesizeSpeechResponse(summary=event)


def _segment(event: SpokenSegment) -> voice_pb2.SynthesizeSpeechResponse:
    response = voice_pb2.SynthesizeSpeechResponse(
        segment=common_pb2.Segment(
            index=event.index,
            text=common_pb2.Span(start=event.text_start, end=event.text_end),
            audio=common_pb2.Span(start=event.audio_start, end=event.audio_end),
            provider=event.provider,
            voice_id=event.voice_id,
            model_id=event.model_id,
            sha256=event.sha256,
            duration=duration_of(event.samples, event.sample_rate),
            start=duration_of(event.start, event.sample_rate),
            cached=event.cached,
            key=event.key,
            embedded=event.provider == EMBEDDED,
        )
    )
    _write_words(event.words, response.segment)
    return response


def _write_words(words: SegmentWords, segment: common_pb2.Segment) -> None:
    # Written in place: a story has some thousand words, and messages that are made to be copied take twice the time.
    add = segment.words.add
    for text_start, text_end, start, end in zip(
        words.text_starts, words.text_ends, words.start_us, words.end_us, strict=True
    ):
        word = add()
        word.text.start, word.text.end = text_start, text_end
        _write_microseconds(start, word.start)
        _write_microseconds(end, word.end)


def _write_microseconds(microseconds: int, duration: Duration) -> None:
    seconds, rest = divmod(microseconds, 1_000_000)
    duration.seconds, duration.nanos = seconds, rest * 1_000
