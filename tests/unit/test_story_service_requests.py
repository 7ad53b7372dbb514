"""GenerateStoryRequest -> Assignment."""

import math
from collections.abc import Callable

import pytest
from google.protobuf.duration_pb2 import Duration

from offline_writer import Parent, Protagonist
from servicekit.ids import new_id
from servicekit.validation import violations
from story_service.assignment import Assignment, Listener
from story_service.wire.requests import read_request
from tale.common.v1 import common_pb2
from tale.story.v1 import story_pb2

Request = story_pb2.GenerateStoryRequest


def _request() -> Request:
    mia = common_pb2.Child(name="Mia")
    return Request(story_id=new_id(), child=mia, spec=common_pb2.StorySpec(child=mia))


def _violations(request: Request) -> dict[str, str]:
    return {violation.field: violation.description for violation in violations(request)}


def test_bare_request_gets_the_defaults() -> None:
    """A child's name is enough: five minutes of English."""
    request = _request()

    assert Assignment(story_id=request.story_id, child=Listener(name="Mia")) == read_request(request)


def test_full_request_is_read_in_full() -> None:
    """Every field that the writer can use arrives, cleaned where it is free text."""
    request = Request(
        story_id=new_id(),
        child=common_pb2.Child(
            name=" Mia\n", age=6, gender=common_pb2.GENDER_FEMALE, interests=["dragons", "the\tsea"]
        ),
        spec=common_pb2.StorySpec(
            child=common_pb2.Child(name="Mia"),
            wish="a dragon\x01-free night",
            kind=common_pb2.STORY_KIND_CHILD,
            language_code="en-GB",
            moral="kindness",
            theme="the\u2028sea",
            length_minutes=30,
            model="openai/gpt-4o",
            fallback_models=["offline"],
            temperature=0.0,
            seed=0,
            max_tokens=500,
            max_cost_usd=0.0,
            avoid=["spiders\n", "a\tstorm"],
            audience_note=" her dog\x01died",
        ),
        title_so_far="Mia",
        written_so_far="Once.\n\nUpon",
        spent_usd=0.5,
        provider_wait=Duration(seconds=600, nanos=500_000_000),
    )

    assert Assignment(
        story_id=request.story_id,
        child=Listener(name="Mia", age=6, gender="female", interests=("dragons", "the sea")),
        wish="a dragon -free night",
        moral="kindness",
        theme="the sea",
        language_code="en-GB",
        length_minutes=30,
        model="openai/gpt-4o",
        fallback_models=("offline",),
        temperature=0.0,
        seed=0,
        max_tokens=500,
        max_cost_usd=0.0,
        avoid=("spiders", "a storm"),
        audience_note="her dog died",
        spent_usd=0.5,
        provider_wait=600.5,
        title_so_far="Mia",
        written_so_far="Once.\n\nUpon",
    ) == read_request(request)


def test_child_of_the_spec_serves_where_no_other_is_given() -> None:
    """An inline child in the spec is enough; `child` beside it wins."""
    request = Request(story_id=new_id(), spec=common_pb2.StorySpec(child=common_pb2.Child(name="Tom")))
    assert read_request(request).child.name == "Tom"

    request.child.name = "Mia"
    assert read_request(request).child.name == "Mia"


def test_all_violations_are_told_at_once() -> None:
    """One answer names every field that is wrong, by its path in the request."""
    request = Request(
        story_id="../x",
        child=common_pb2.Child(name="x" * 101, age=0, gender=7, interests=["y" * 101, ""]),  # type: ignore[arg-type]
        spec=common_pb2.StorySpec(
            wish="w" * 2001,
            kind=9,  # type: ignore[arg-type]
            language_code="english, please",
            moral="m" * 201,
            theme="t" * 201,
            length_minutes=31,
            model="m" * 201,
            fallback_models=["offline", " "],
            temperature=math.nan,
            max_cost_usd=-1,
            avoid=["ok", ""],
            audience_note="n" * 1001,
        ),
        title_so_far="t" * 201,
        written_so_far="w" * 65_537,
        spent_usd=-0.1,
    )

    assert {
        "story_id",
        "child.name",
        "child.age",
        "child.gender",
        "child.interests[0]",
        "child.interests[1]",
        "spec.wish",
        "spec.kind",
        "spec.language_code",
        "spec.moral",
        "spec.theme",
        "spec.length_minutes",
        "spec.model",
        "spec.fallback_models[1]",
        "spec.temperature",
        "spec.max_cost_usd",
        "spec.avoid[1]",
        "spec.audience_note",
        "title_so_far",
        "written_so_far",
        "spent_usd",
    } == set(_violations(request))


def test_empty_request_lacks_an_id_and_a_child() -> None:
    """What is needed is asked for by name."""
    assert {
        "story_id": "must be given",
        "child": "must be given, or spec.child in its place",
    } == _violations(Request())


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda r: setattr(r.child, "name", "\u200b"), "child.name"),
        (lambda r: setattr(r.child, "age", 19), "child.age"),
        (lambda r: r.child.interests.extend(["x"] * 21), "child.interests"),
        (lambda r: setattr(r.spec, "length_minutes", 0), "spec.length_minutes"),
        (lambda r: r.spec.fallback_models.extend(["offline"] * 11), "spec.fallback_models"),
        (lambda r: r.spec.avoid.extend(["x"] * 21), "spec.avoid"),
        (lambda r: setattr(r.spec, "max_tokens", 0), "spec.max_tokens"),
        (lambda r: setattr(r.spec, "max_cost_usd", math.inf), "spec.max_cost_usd"),
        (lambda r: setattr(r.spec, "language_code", "en-" + "a1-" * 12 + "a"), "spec.language_code"),
        (lambda r: setattr(r, "written_so_far", "Once."), "title_so_far"),
        (lambda r: setattr(r.spec.child, "name", ""), "spec.child.name"),
    ],
)
def test_each_bound_is_held(change: Callable[[Request], None], path: str) -> None:
    """A value just beyond its bound is refused under its own path."""
    request = _request()
    change(request)

    assert [path] == list(_violations(request))


@pytest.mark.parametrize("kind", [common_pb2.STORY_KIND_HERO, common_pb2.STORY_KIND_COMBINED])
@pytest.mark.parametrize("inline", [True, False])
def test_hero_is_read_in_full(kind: "common_pb2.StoryKind.ValueType", *, inline: bool) -> None:
    """Beside the spec or inline in it, cleaned where it is free text."""
    hero = common_pb2.Hero(
        name=" Robin\n",
        gender=common_pb2.GENDER_MALE,
        appearance="red\tcape",
        personality_traits=["brave"],
        strengths=["flying"],
        interests=["pancakes"],
    )
    request = _request()
    request.spec.kind = kind
    (request.spec if inline else request).hero.CopyFrom(hero)

    read = read_request(request)

    assert ("hero" if kind == common_pb2.STORY_KIND_HERO else "combined") == read.kind
    assert (
        Protagonist(
            name="Robin",
            gender="male",
            appearance="red cape",
            personality_traits=("brave",),
            strengths=("flying",),
            interests=("pancakes",),
        )
        == read.hero
    )


def test_child_and_hero_beside_the_spec_need_none_in_it() -> None:
    """The gateway sends what it has looked up, and a direct caller may do the same."""
    child, hero = common_pb2.Child(name="Mia"), common_pb2.Hero(name="Robin")
    spec = common_pb2.StorySpec(wish="an owl")
    assert {} == _violations(Request(story_id=new_id(), child=child, spec=spec))
    spec.kind, spec.child_id = common_pb2.STORY_KIND_HERO, new_id()
    assert {} == _violations(Request(story_id=new_id(), child=child, hero=hero, spec=spec))
    assert {"hero"} == set(_violations(Request(story_id=new_id(), child=child, spec=spec)))


def test_hero_beside_the_spec_wins() -> None:
    """It is the newer of the two."""
    request = _request()
    request.spec.kind = common_pb2.STORY_KIND_HERO
    request.spec.hero.name = "Old Robin"
    request.hero.name = "Robin"

    assert Protagonist(name="Robin") == read_request(request).hero


@pytest.mark.parametrize("kind", [common_pb2.STORY_KIND_UNSPECIFIED, common_pb2.STORY_KIND_CHILD])
def test_story_about_the_child_passes_over_a_hero(kind: "common_pb2.StoryKind.ValueType") -> None:
    """A hero that was given all the same is checked and left out."""
    request = _request()
    request.spec.kind = kind
    request.hero.name = "Robin"

    assert ("child", None) == (read_request(request).kind, read_request(request).hero)

    request.hero.name = ""
    assert {"hero.name": "must be given"} == _violations(request)


@pytest.mark.parametrize("kind", [common_pb2.STORY_KIND_HERO, common_pb2.STORY_KIND_COMBINED])
def test_story_about_a_hero_needs_one(kind: "common_pb2.StoryKind.ValueType") -> None:
    """An id alone is not enough: nothing is looked up here; what else is wrong is told beside it."""
    request = _request()
    request.spec.kind = kind
    request.spec.hero_id = new_id()
    request.spec.length_minutes = 31

    assert {"hero", "spec.length_minutes"} == set(_violations(request))


def test_all_that_is_wrong_with_a_hero_is_told_at_once() -> None:
    """Each field by its path."""
    request = _request()
    request.spec.kind = common_pb2.STORY_KIND_COMBINED
    request.spec.hero.CopyFrom(
        common_pb2.Hero(
            name="\u200b",
            gender=7,  # type: ignore[arg-type]
            appearance="a" * 1001,
            personality_traits=["x"] * 21,
            strengths=["s" * 101],
            interests=[""],
        )
    )

    assert {
        "spec.hero.name",
        "spec.hero.gender",
        "spec.hero.appearance",
        "spec.hero.personality_traits",
        "spec.hero.strengths[0]",
        "spec.hero.interests[0]",
    } == set(_violations(request))


def test_sequel_knows_its_parent() -> None:
    """Title and text arrive, cleaned; a parent of which nothing is left makes no sequel."""
    request = _request()
    request.spec.parent_story_id = new_id()
    assert read_request(request).parent is None

    request.parent_title = "The\tOwl"
    request.parent_text = "It\n\n\u200bslept. "
    assert Parent(title="The Owl", text="It\n\nslept.") == read_request(request).parent


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda r: setattr(r, "parent_title", "t" * 201), "parent_title"),
        (lambda r: setattr(r, "parent_text", "s" * 65_537), "parent_text"),
        (lambda r: setattr(r.spec, "parent_story_id", "x"), "spec.parent_story_id"),
    ],
)
def test_what_is_told_of_a_parent_is_bounded(change: Callable[[Request], None], path: str) -> None:
    """As every text is."""
    request = _request()
    change(request)

    assert [path] == list(_violations(request))
