"""GenerateStoryRequest -> Assignment."""

from collections.abc import Iterable
from typing import Final

from offline_writer import Gender, Kind, Parent, Protagonist
from story_service.assignment import Assignment, Listener
from story_service.cleaning import clean
from tale.common.v1 import common_pb2
from tale.story.v1 import story_pb2

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
    return Assignment(
        story_id=request.story_id,
        child=_read_child(request.child if request.HasField("child") else spec.child),
        kind=kind,
        hero=None if kind == "child" else _read_hero(request.hero if request.HasField("hero") else spec.hero),
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
        title_so_far=request.title_so_far,
        written_so_far=request.written_so_far,
    )


def _read_child(child: common_pb2.Child) -> Listener:
    return Listener(
        name=clean(child.name),
        age=child.age if child.HasField("age") else None,
        gender=_GENDERS.get(child.gender, ""),
        interests=_cleaned(child.interests),
    )


def _read_hero(hero: common_pb2.Hero) -> Protagonist:
    return Protagonist(
        name=clean(hero.name),
        gender=_GENDERS.get(hero.gender, ""),
        appearance=clean(hero.appearance),
        personality_traits=_cleaned(hero.personality_traits),
        strengths=_cleaned(hero.strengths),
        interests=_cleaned(hero.interests),
    )


def _cleaned(entries: Iterable[str]) -> tuple[str, ...]:
    return tuple(filter(None, map(clean, entries)))


def _read_parent(request: story_pb2.GenerateStoryRequest) -> Parent | None:
    """Returns None as well where the earlier story was deleted."""
    title, text = clean(request.parent_title), "\n".join(map(clean, request.parent_text.splitlines()))
    return Parent(title=title, text=text) if title or text.strip() else None
