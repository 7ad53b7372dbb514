"""Events of a narration, providers and voices as messages of the wire."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.reasons import explained
from tale.common.v1 import common_pb2, status_pb2
from tale.voice.v1 import voice_pb2
from voice_service.narration.messages import CallMade, Chunk, Header, SpokenSegment, Summary, Warned
from voice_service.ports import Codec
from voice_service.providers.registry import EMBEDDED
from voice_service.synthesis.call import CallOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voice_service.narration.messages import Event
    from voice_service.synthesis.store import Words
    from voice_service.wire.catalogue import ProviderFacts, VoicePage


_OUTCOMES: Final = {
    CallOutcome.SUCCEEDED: common_pb2.ATTEMPT_OUTCOME_SUCCEEDED,
    CallOutcome.FAILED: common_pb2.ATTEMPT_OUTCOME_FAILED,
    CallOutcome.CANCELLED: common_pb2.ATTEMPT_OUTCOME_CANCELLED,
}
_FORMATS: Final = {
    Codec.MP3: common_pb2.AUDIO_FORMAT_MP3,
    Codec.WAV: common_pb2.AUDIO_FORMAT_WAV,
    Codec.OPUS: common_pb2.AUDIO_FORMAT_OGG_OPUS,
}


def speech_response(event: Event, parent_attempt_id: str) -> voice_pb2.SynthesizeSpeechResponse:
    """Returns the message for `event`; attempts are of the attempt `parent_attempt_id`."""
    match event:
        case Chunk():
            chunk = voice_pb2.AudioChunk(offset=event.offset, data=event.data)
            return voice_pb2.SynthesizeSpeechResponse(chunk=chunk)
        case SpokenSegment():
            return _segment(event)
        case CallMade():
            return voice_pb2.SynthesizeSpeechResponse(attempt=_attempt(event, parent_attempt_id))
        case Header():
            return voice_pb2.SynthesizeSpeechResponse(header=_header(event))
        case Warned():
            return voice_pb2.SynthesizeSpeechResponse(warning=_problem(event))
        case Summary():
            return voice_pb2.SynthesizeSpeechResponse(summary=_summary(event))


def _header(event: Header) -> common_pb2.NarrationHeader:
    settings = {name: value for name, value in asdict(event.settings).items() if value is not None}
    return common_pb2.NarrationHeader(
        audio_id=event.audio_id,
        provider=event.provider,
        voice_id=event.voice_id,
        model_id=event.model_id,
        settings=common_pb2.VoiceSettings(**settings),
        audio_format=_FORMATS[event.story_format.codec],
        content_type=event.story_format.content_type,
        sample_rate=event.story_format.sample_rate,
        bit_rate=event.story_format.bit_rate,
        language_code=event.language_code,
        embedded=event.embedded,
    )


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
            duration=_of_samples(event.samples, event.sample_rate),
            start=_of_samples(event.start, event.sample_rate),
            cached=event.cached,
            key=event.key,
            embedded=event.provider == EMBEDDED,
        )
    )
    _write_words(event.words, response.segment)
    return response


def _attempt(event: CallMade, parent_attempt_id: str) -> common_pb2.Attempt:
    record = event.record
    return common_pb2.Attempt(
        attempt_id=record.attempt_id,
        parent_attempt_id=parent_attempt_id,
        kind=common_pb2.ATTEMPT_KIND_SPEECH_CALL,
        provider=record.provider,
        model=record.model_id,
        outcome=_OUTCOMES[record.outcome],
        reason=record.reason.upper(),
        start_time=_timestamp(record.started_ns),
        end_time=_timestamp(record.ended_ns),
        cost_known=record.cost_known,
        characters=record.characters,
        segment_index=event.segment_index,
        metadata={"voice_id": record.voice_id, **({"request_id": record.request_id} if record.request_id else {})},
    )


def _problem(event: Warned) -> common_pb2.Problem:
    now = Timestamp()
    now.GetCurrentTime()
    return explained(common_pb2.Problem(reason=event.reason, message=event.message, time=now, metadata=event.facts))


def _summary(event: Summary) -> voice_pb2.SpeechSummary:
    metadata = Struct()
    metadata.update({"segments_by_provider": dict(sorted(event.providers.items()))})
    return voice_pb2.SpeechSummary(
        audio_id=event.audio_id,
        size_bytes=event.size,
        duration=_of_samples(event.samples, event.sample_rate),
        segment_count=event.segments,
        cached_segment_count=event.cached_segments,
        characters=event.characters,
        metadata=metadata,
        embedded=event.embedded,
    )


def _write_words(words: Words, segment: common_pb2.Segment) -> None:
    # Written in place: a story has some thousand words, and messages that are made to be copied take twice the time.
    add = segment.words.add
    for text_start, text_end, start, end in zip(
        words.text_starts, words.text_ends, words.starts_us, words.ends_us, strict=True
    ):
        word = add()
        word.text.start, word.text.end = text_start, text_end
        _write_microseconds(start, word.start)
        _write_microseconds(end, word.end)


def _of_samples(samples: int, sample_rate: int) -> Duration:
    seconds, rest = divmod(samples, sample_rate)
    return Duration(seconds=seconds, nanos=rest * 1_000_000_000 // sample_rate)


def _write_microseconds(microseconds: int, duration: Duration) -> None:
    seconds, rest = divmod(microseconds, 1_000_000)
    duration.seconds, duration.nanos = seconds, rest * 1_000


def _timestamp(nanoseconds: int) -> Timestamp:
    return Timestamp(seconds=nanoseconds // 1_000_000_000, nanos=nanoseconds % 1_000_000_000)


_GENDERS: Final = {"female": common_pb2.GENDER_FEMALE, "male": common_pb2.GENDER_MALE}


def providers_response(facts: Iterable[ProviderFacts]) -> voice_pb2.ListProvidersResponse:
    """Returns the answer to ListProviders."""
    return voice_pb2.ListProvidersResponse(providers=map(_provider, facts))


def provider_status(facts: ProviderFacts) -> status_pb2.ProviderStatus:
    """Returns the entry of a provider in GetStatus."""
    return status_pb2.ProviderStatus(
        name=facts.name,
        configured=facts.configured,
        available=not facts.unavailable_reason,
        unavailable_reason=facts.unavailable_reason,
        is_default=facts.is_default,
    )


def voices_response(page: VoicePage) -> voice_pb2.ListVoicesResponse:
    """Returns the answer to ListVoices."""
    return voice_pb2.ListVoicesResponse(
        voices=[
            voice_pb2.Voice(
                provider=provider,
                voice_id=voice.voice_id,
                display_name=voice.display_name,
                language_codes=voice.language_codes,
                gender=_GENDERS.get(voice.gender, common_pb2.GENDER_UNSPECIFIED),
            )
            for provider, voice in page.voices
        ],
        next_page_token=page.next_page_token,
        stale=page.stale,
    )


def _provider(facts: ProviderFacts) -> voice_pb2.Provider:
    available = not facts.unavailable_reason
    provider = voice_pb2.Provider(
        provider_name=facts.name,
        display_name=facts.display_name,
        configured=facts.configured,
        available=available,
        unavailable_reason=facts.unavailable_reason,
        is_default=facts.is_default,
        fallback_position=facts.fallback_position,
        circuit_state=facts.circuit_state,
        embedded=facts.embedded,
    )
    metadata = facts.metadata
    if metadata is not None:
        provider.supports_streaming = metadata.supports_streaming
        provider.max_text_length = metadata.max_text_length
        provider.supported_formats.extend(metadata.formats or (metadata.native_format.value,))
        provider.language_codes.extend(metadata.languages)
    return provider
