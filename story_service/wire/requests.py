"""GenerateStoryRequest -> Assignment, with every violation at once."""

import re
from collections.abc import Sequence
from typing import Final

from servicekit.validation import Violations
from story_service.answer.titles import MAX_TITLE_LENGTH
from story_service.assignment import MAX_CONTENT_LENGTH, Assignment, Gender, Kind, Listener, Parent, Protagonist
from story_service.cleaning import clean
from story_service.models.catalogue import MAX_MODEL_ID_LENGTH
from tale.common.v1 import common_pb2
from tale.story.v1 import story_pb2

MAX_FALLBACK_MODELS: Final = 10
MAX_TOKENS: Final = 131_072
DEFAULT_LENGTH_MINUTES: Final = 5
DEFAULT_LANGUAGE: Final = "en"

_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")
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

    Raises INVALID_ARGUMENT with all violations. The child is `child`, or else the one given inline in `spec`; the hero
    likewise, and it is passed over where the story is about the child alone.
    """
    violations = Violations()
    spec = request.spec
    violations.check_uuid7("story_id", request.story_id)
    inline = spec.WhichOneof("listener") == "child" and not request.HasField("child")
    child = _read_child(spec.child if inline else request.child, "spec.child" if inline else "child", violations)
    kind = _KINDS.get(spec.kind, "child")
    hero = _read_hero(request, kind, violations)
    _check_spec(spec, violations)
    _check_progress(request, violations)
    violations.raise_if_any()
    return Assignment(
        story_id=request.story_id,
        child=child,
        kind=kind,
        hero=hero,
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


def _read_child(child: common_pb2.Child, path: str, violations: Violations) -> Listener:
    name = clean(child.name)
    if violations.text_bounds(f"{path}.name", child.name, least=1, most=100):
        violations.check(name, f"{path}.name", "must have a character that can be seen")
    if child.HasField("age"):
        violations.in_range(f"{path}.age", child.age, 1, 18)
    _check_enum(f"{path}.gender", child.gender, common_pb2.Gender.values(), violations)
    _check_list(f"{path}.interests", child.interests, violations)
    return Listener(
        name=name,
        age=child.age if child.HasField("age") else None,
        gender=_GENDERS.get(child.gender, ""),
        interests=tuple(filter(None, map(clean, child.interests))),
    )


def _read_hero(request: story_pb2.GenerateStoryRequest, kind: Kind, violations: Violations) -> Protagonist | None:
    inline = request.spec.WhichOneof("protagonist") == "hero" and not request.HasField("hero")
    if kind == "child" and not inline and not request.HasField("hero"):
        return None
    hero, path = (request.spec.hero, "spec.hero") if inline else (request.hero, "hero")
    name = clean(hero.name)
    if violations.text_bounds(f"{path}.name", hero.name, least=1, most=100):
        violations.check(name, f"{path}.name", "must have a character that can be seen")
    _check_enum(f"{path}.gender", hero.gender, common_pb2.Gender.values(), violations)
    violations.text_bounds(f"{path}.appearance", hero.appearance, most=1_000)
    _check_list(f"{path}.personality_traits", hero.personality_traits, violations)
    _check_list(f"{path}.strengths", hero.strengths, violations)
    _check_list(f"{path}.interests", hero.interests, violations)
    if kind == "child":
        return None
    return Protagonist(
        name=name,
        gender=_GENDERS.get(hero.gender, ""),
        appearance=clean(hero.appearance),
        personality_traits=tuple(filter(None, map(clean, hero.personality_traits))),
        strengths=tuple(filter(None, map(clean, hero.strengths))),
        interests=tuple(filter(None, map(clean, hero.interests))),
    )


def _read_parent(request: story_pb2.GenerateStoryRequest) -> Parent | None:
    """None as well where the earlier story is gone and nothing is known of it any more."""
    title, summary = clean(request.parent_title), clean(request.parent_summary)
    return Parent(title=title, summary=summary) if title or summary else None


def _check_spec(spec: common_pb2.StorySpec, violations: Violations) -> None:
    violations.text_bounds("spec.wish", spec.wish, most=2_000)
    violations.check_uuid7("spec.parent_story_id", spec.parent_story_id, required=False)
    _check_enum("spec.kind", spec.kind, common_pb2.StoryKind.values(), violations)
    if spec.language_code:
        violations.check(
            len(spec.language_code) <= 35 and _LANGUAGE.fullmatch(spec.language_code),
            "spec.language_code",
            'must be a BCP-47 code, such as "en" or "pt-BR"',
        )
    violations.text_bounds("spec.moral", spec.moral, most=200)
    violations.text_bounds("spec.theme", spec.theme, most=200)
    if spec.HasField("length_minutes"):
        violations.in_range("spec.length_minutes", spec.length_minutes, 1, 30)
    violations.text_bounds("spec.model", spec.model, most=MAX_MODEL_ID_LENGTH)
    violations.check(
        len(spec.fallback_models) <= MAX_FALLBACK_MODELS,
        "spec.fallback_models",
        f"must have at most {MAX_FALLBACK_MODELS} entries",
    )
    for index, model in enumerate(spec.fallback_models[:MAX_FALLBACK_MODELS]):
        violations.text_bounds(f"spec.fallback_models[{index}]", model, least=1, most=MAX_MODEL_ID_LENGTH)
    if spec.HasField("temperature"):
        violations.in_range("spec.temperature", spec.temperature, 0, 2)
    if spec.HasField("max_tokens"):
        violations.in_range("spec.max_tokens", spec.max_tokens, 1, MAX_TOKENS)
    if spec.HasField("max_cost_usd"):
        violations.check(0 <= spec.max_cost_usd < float("inf"), "spec.max_cost_usd", "must be 0 or more")


def _check_progress(request: story_pb2.GenerateStoryRequest, violations: Violations) -> None:
    violations.text_bounds("title_so_far", request.title_so_far, most=MAX_TITLE_LENGTH)
    violations.check(
        request.title_so_far or not request.written_so_far, "title_so_far", "must be given with written_so_far"
    )
    violations.text_bounds("written_so_far", request.written_so_far, most=MAX_CONTENT_LENGTH)
    violations.text_bounds("parent_title", request.parent_title, most=MAX_TITLE_LENGTH)
    violations.text_bounds("parent_summary", request.parent_summary, most=MAX_CONTENT_LENGTH)
    violations.check(0 <= request.spent_usd < float("inf"), "spent_usd", "must be 0 or more")


def _check_enum(path: str, value: int, known: Sequence[int], violations: Violations) -> None:
    violations.check(value in known, path, "must be a value that this version knows")


def _check_list(path: str, entries: Sequence[str], violations: Violations) -> None:
    if violations.check(len(entries) <= 20, path, "must have at most 20 entries"):
        for index, entry in enumerate(entries):
            violations.text_bounds(f"{path}[{index}]", entry, least=1, most=100)
