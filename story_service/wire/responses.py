"""Converts the service's types to messages."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from offline_writer import Outline
from servicekit.reasons import explained
from story_service.generation.content import Delta, Title
from story_service.generation.generation import Completed, StoryItem
from story_service.models.catalogue import ListedModel, Page
from story_service.ports import AttemptStarted, ModelCall, Notice, Spending
from tale.common.v1 import common_pb2
from tale.story.v1 import story_pb2


def story_response(item: StoryItem, now: Callable[[], datetime]) -> story_pb2.GenerateStoryResponse:
    """Returns `item` as a message; `now` dates notices, in UTC."""
    response = story_pb2.GenerateStoryResponse()
    match item:
        case Delta():
            response.delta.offset, response.delta.text = item.offset, item.text
        case Title():
            response.title.title = item.title
        case AttemptStarted():
            started = response.started
            started.model, started.provider, started.embedded = item.model, item.provider, item.embedded
        case ModelCall():
            response.attempt.CopyFrom(_attempt(item))
        case Notice():
            response.warning.CopyFrom(_problem(item, now()))
        case Outline():
            response.outline.CopyFrom(_outline(item))
        case Completed():
            response.complete.CopyFrom(_complete(item))
    return response


def models_response(page: Page) -> story_pb2.ListModelsResponse:
    """Returns a page of the catalogue as a message."""
    return story_pb2.ListModelsResponse(
        models=map(_model, page.models), next_page_token=page.next_token, stale=page.stale
    )


def _attempt(call: ModelCall) -> common_pb2.Attempt:
    return common_pb2.Attempt(
        attempt_id=call.call_id,
        kind=common_pb2.ATTEMPT_KIND_MODEL_CALL,
        provider=call.provider,
        model=call.model,
        outcome=call.outcome,
        reason=call.reason,
        start_time=_timestamp(call.start_time),
        end_time=None if call.end_time is None else _timestamp(call.end_time),
        cost_usd=call.spending.cost_usd,
        cost_known=call.spending.cost_known,
        prompt_tokens=call.spending.prompt_tokens,
        completion_tokens=call.spending.completion_tokens,
        characters=call.characters,
        segment_index=-1,
        metadata=dict(call.metadata),
        response=_struct(call.completion) if call.completion else None,
        generation_info=_struct(call.generation_info) if call.generation_info else None,
    )


def _outline(outline: Outline) -> common_pb2.StoryOutline:
    scenes = [
        common_pb2.OutlineScene(purpose=each.purpose, words=each.words, key=each.key, end=each.end)
        for each in outline.scenes
    ]
    return common_pb2.StoryOutline(
        title=outline.title,
        setting=outline.setting,
        companion=outline.companion,
        plot_shape=outline.plot_shape,
        mood=outline.mood,
        gift=outline.gift,
        scenes=scenes,
    )


def _complete(completed: Completed) -> story_pb2.GenerationComplete:
    return story_pb2.GenerationComplete(
        model=completed.model,
        provider=completed.provider,
        content_length=completed.content_length,
        content_sha256=completed.content_sha256,
        usage=_usage(completed.spending),
        embedded=completed.embedded,
    )


def _usage(spending: Spending) -> common_pb2.Usage:
    return common_pb2.Usage(
        prompt_tokens=spending.prompt_tokens,
        completion_tokens=spending.completion_tokens,
        cost_usd=spending.cost_usd,
        cost_known=spending.cost_known,
    )


def _problem(notice: Notice, time: datetime) -> common_pb2.Problem:
    return explained(
        common_pb2.Problem(
            reason=notice.reason, message=notice.message, time=_timestamp(time), metadata=notice.metadata
        )
    )


def _model(listed: ListedModel) -> story_pb2.Model:
    model, facts = listed.info, listed.facts
    return story_pb2.Model(
        id=model.id,
        aliases=model.aliases,
        display_name=model.display_name,
        provider=model.provider,
        description=model.description,
        prompt_usd_per_million_tokens=model.prompt_usd_per_million_tokens,
        completion_usd_per_million_tokens=model.completion_usd_per_million_tokens,
        context_length=model.context_length,
        language_codes=model.language_codes,
        available=facts.available,
        unavailable_reason=facts.unavailable_reason,
        is_default=model.is_default,
        fallback_position=model.fallback_position,
        circuit_state=facts.circuit_state,
        embedded=model.embedded,
        typical_duration=None if facts.typical_seconds is None else _duration(facts.typical_seconds),
    )


def _struct(content: Mapping[str, Any]) -> Struct:
    struct = Struct()
    struct.update(content)
    return struct


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration


def _timestamp(time: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp
