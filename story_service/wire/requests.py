"""GenerateStoryRequest -> Assignment."""

from dataclasses import fields
from datetime import UTC
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from offline_writer import Gender, Kind, Outline, Parent, Protagonist, Scene
from story_service.assignment import Assignment, Listener
from story_service.cleaning import clean
from story_service.ports import ModelCall, Spending
from tale.common.v1 import common_pb2
from tale.story.v1 import story_pb2

ProfileT = TypeVar("ProfileT", Listener, Protagonist)

DEFAULT_LENGTH_MINUTES: Final = 5
DEFAULT_LANGUAGE: Final = "en"

_GENDERS: Final[dict["common_pb2.Gender.ValueType", Gender]] = {
    common_pb2.GENDER_FEMALE: "female",
    common_pb2.GENDER_MALE: "male",
}
_KINDS: Final[dict["common_pb2.StoryKind.ValueType", Kind]] = {
    common_pb2.STORY_KIND_HERO: "hero",
    common_pb2.STORY_KIND_COMBINED: "combined",
}
"""Every other is a story about the child."""


def read_request(request: story_pb2.GenerateStoryRequest) -> Assignment:
    """The assignment in `request`.

    The child is `child`, or else the one given inline in `spec`; the hero likewise, and it is passed over where the
    story is about the child alone.
    """
    spec = request.spec
    kind = _KINDS.get(spec.kind, "child")
    hero = request.hero if request.HasField("hero") else spec.hero
    return Assignment(
        story_id=request.story_id,
        child=_read_profile(Listener, request.child if request.HasField("child") else spec.child),
        kind=kind,
        hero=None if kind == "child" else _read_profile(Protagonist, hero),
        parent=_read_parent(request),
        wish=clean(spec.wish),
        moral=clean(spec.moral),
        theme=clean(spec.theme),
        language_code=spec.language_code or DEFAULT_LANGUAGE,
        length_minutes=spec.length_minutes if spec.HasField("length_minutes") else DEFAULT_LENGTH_MINUTES,
        model=spec.model,
        fallback_models=tuple(spec.fallback_models),
        temperature=spec.temperature if spec.HasField("temperature") else None,
        seed=spec.seed if spec.HasField("seed") else None,
        max_tokens=spec.max_tokens if spec.HasField("max_tokens") else None,
        max_cost_usd=spec.max_cost_usd if spec.HasField("max_cost_usd") else None,
        spent_usd=request.spent_usd,
        provider_wait=request.provider_wait.ToNanoseconds() / 1e9,
        calls_made=request.calls_made,
        calls_without_text={
            name.removeprefix("openrouter:"): calls for name, calls in request.calls_without_text.items()
        },
        title_so_far=request.title_so_far,
        written_so_far=request.written_so_far,
        avoid=tuple(filter(None, map(clean, spec.avoid))),
        audience_note=clean(spec.audience_note),
        heard=tuple(map(_read_outline, request.heard)),
        outline=_read_outline(request.outline) if request.HasField("outline") else None,
    )


def _read_profile(profile: type[ProfileT], message: Message) -> ProfileT:
    """Returns the fields of `profile` from those of the same name: text cleaned, None for a number that is unset."""
    values: dict[str, Any] = {}
    for field in fields(profile):
        value = getattr(message, field.name)
        if isinstance(value, str):
            value = clean(value)
        elif field.name == "gender":
            value = _GENDERS.get(value, "")
        elif isinstance(value, int):
            value = value if message.HasField(field.name) else None
        else:
            value = tuple(filter(None, map(clean, value)))
        values[field.name] = value
    return profile(**values)


def read_call(line: common_pb2.Attempt) -> ModelCall:
    """Returns a call of an earlier attempt whose cost is not known, with the estimate of it that is in `spent_usd`."""
    return ModelCall(
        call_id=line.attempt_id,
        provider=line.provider,
        model=line.model,
        outcome=line.outcome,
        reason=line.reason,
        start_time=line.start_time.ToDatetime(UTC),
        end_time=line.end_time.ToDatetime(UTC) if line.HasField("end_time") else None,
        characters=line.characters,
        spending=Spending(
            prompt_tokens=line.prompt_tokens,
            completion_tokens=line.completion_tokens,
            cost_usd=line.cost_usd,
            cost_known=False,
        ),
        metadata=dict(line.metadata),
        generation_id=line.metadata["generation_id"],
    )


def _read_outline(outline: common_pb2.StoryOutline) -> Outline:
    scenes = (
        Scene(purpose=clean(each.purpose), words=each.words, key=each.key, end=each.end) for each in outline.scenes
    )
    return Outline(
        title=clean(outline.title),
        setting=clean(outline.setting),
        companion=clean(outline.companion),
        plot_shape=outline.plot_shape,
        mood=clean(outline.mood),
        gift=clean(outline.gift),
        scenes=tuple(scenes),
    )


def _read_parent(request: story_pb2.GenerateStoryRequest) -> Parent | None:
    """Returns None as well where the earlier story was deleted."""
    title, text = clean(request.parent_title), "\n".join(map(clean, request.parent_text.splitlines()))
    return Parent(title=title, text=text) if title or text.strip() else None
