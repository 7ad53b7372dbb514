"""Hero stories, stories about child and hero, and sequels of the embedded writer."""

import re
from collections.abc import Iterator
from importlib import resources

import pytest
from support.offline_briefs import HERO, SEQUEL, brief

from offline_writer import OfflineBrief, OfflineWriter, Parent, Protagonist, StoryUnsupported
from offline_writer.brief import Feature
from offline_writer.english.grammar import Lexicon
from offline_writer.english.people import Memory, People, Portrait, Room
from offline_writer.fitting import Arc, Block, Unit
from offline_writer.stock import load

WRITER = OfflineWriter()
STOCK = load(resources.files("offline_writer.english") / "stock")
LEXICON = Lexicon(STOCK["lexicon"])


def told(asked: OfflineBrief) -> tuple[str, str]:
    """Title and text."""
    title, *pieces = WRITER.write(asked)
    return title.text, "".join(piece.text for piece in pieces)


def portrait(**given: object) -> Portrait:
    """Robin's, in a story with room."""
    hero = Protagonist(name="Robin", **given)  # type: ignore[arg-type] # the tests change fields by name
    return Portrait.of(hero, LEXICON, "him", Room.of(brief()))


@pytest.mark.parametrize(
    ("given", "had", "was"),
    [
        ("red cape and silver boots", "a red cape and silver boots", ""),
        ("Green skin, three eyes", "green skin and three eyes", ""),
        ("He wears a mask. He is old.", "a mask", ""),
        ("He's very tall", "", "very tall"),
        ("a small blue robot with one wheel", "", "a small blue robot with one wheel"),
        ("a zorkle with blorps", "", ""),
        ("\N{UNICORN FACE}", "", ""),
    ],
)
def test_appearance_is_read(given: str, had: str, was: str) -> None:
    """What has unknown words is left out."""
    look = portrait(appearance=given)

    assert had == look.had
    assert was == look.was


@pytest.mark.parametrize(
    ("given", "known_for"),
    [
        ("can fly", "flying"),
        ("flying", "flying"),
        ("Talks to animals", "talking to animals"),
        ("he can see in the dark", "seeing in the dark"),
        ("the power of friendship", "friendship"),
        ("super strength", "super strength"),
        ("magic sword", "a magic sword"),
        ("very fast", "being very fast"),
        ("ALWAYS WINS!!", "winning"),
    ],
)
def test_strength_can_stand_after_known_for(given: str, known_for: str) -> None:
    """A noun or an -ing form."""
    assert (known_for,) == portrait(strengths=(given,)).strengths


def test_strength_with_unknown_words_is_left_out() -> None:
    """It is not quoted either."""
    hero = Protagonist(name="Robin", strengths=("zoggle", "GO GO ZOGGLE!!"))
    assert "zoggle" not in told(brief(kind="hero", hero=hero))[1].casefold()


def test_traits_are_adjectives() -> None:
    """None twice, and nothing else."""
    assert ("brave", "a bit clumsy") == portrait(
        personality_traits=("Brave", "bravery", "zoggly", "a bit clumsy")
    ).traits


@pytest.mark.parametrize(
    ("kind", "child", "hero", "minutes", "names"),
    [
        ("hero", "Mia", "Robin", 3, ("Robin", "Robin", "Mia")),
        ("hero", "Mia", "mia", 3, ("Mia", "Mia", "")),
        ("combined", "Mia", "mia", 3, ("Mia", "Captain Mia", "")),
        ("combined", "Mia", "the Brave Little Toaster", 3, ("Mia", "Brave Little Toaster", "")),
        ("combined", "Mia", "the Brave Little Toaster", 1, ("Mia", "Little Toaster", "")),
        ("combined", "Mia", "Robin of the Seven Woods", 1, ("Mia", "Robin", "")),
        ("combined", "Mia", "Great Super-Max 3000", 1, ("Mia", "Great Super-Max", "")),
        ("hero", "Mia", "\N{UNICORN FACE}", 3, ("Captain Wonder", "Captain Wonder", "Mia")),
    ],
)
def test_names_can_be_told_apart(kind: str, child: str, hero: str, minutes: int, names: tuple[str, str, str]) -> None:
    """Who leads, who is the hero, and who listens."""
    asked = brief(kind=kind, name=child, hero=Protagonist(name=hero), length_minutes=minutes)
    people = People.of(asked, Room.of(asked))

    assert names == (people.lead, people.hero, people.listener)


@pytest.mark.parametrize("minutes", [1, 2, 3, 5, 10])
def test_hero_story_is_about_the_hero_alone(minutes: int) -> None:
    """The child is named in the frame and nowhere else; look and strength are told."""
    title, text = told(brief(kind="hero", hero=HERO, length_minutes=minutes))
    first, *_, last = text.split("\n\n")
    middle = text[len(first) : -len(last)]

    assert "Robin and the Dragon Who Could Not Sleep" == title
    assert "Mia" in first or "Mia" in last
    assert "Mia" not in middle
    for part in ("a red cape and silver boots", "flying", "dragon"):
        assert part in text


@pytest.mark.parametrize("minutes", [3, 5, 10])
def test_hero_is_described_in_full_where_there_is_room(minutes: int) -> None:
    """Traits, every strength and every interest."""
    _, text = told(brief(kind="hero", hero=HERO, length_minutes=minutes))

    for part in ("brave and kind", "flying and talking to animals", "pancakes and music"):
        assert part in text


@pytest.mark.parametrize("kind", ["hero", "combined"])
@pytest.mark.parametrize("minutes", [3, 4, 6, 12])
def test_strength_is_seen_at_work(kind: str, minutes: int) -> None:
    """In a scene of its own, and somebody else has a part in it."""
    _, text = told(brief(kind=kind, hero=HERO, length_minutes=minutes))

    assert "You lean on the air as you would lean on a friend,\u201d said Robin" in text
    assert re.search(r"(?:[;,] and|\. And) \w+(?: \w+)? stood below with both arms out", text)


@pytest.mark.parametrize("minutes", [1, 3, 5, 10])
def test_child_and_hero_meet_and_both_act(minutes: int) -> None:
    """Each is named often, and the child's interests are there beside the hero's look."""
    title, text = told(brief(kind="combined", hero=HERO, length_minutes=minutes))

    assert "Mia, Robin and the Dragon Who Could Not Sleep" == title
    assert text.count("Mia") >= 3
    assert text.count("Robin") >= 2
    assert "a red cape and silver boots" in text
    if minutes > 1:
        assert "dragons, the sea and playing football" in text


@pytest.mark.parametrize("kind", ["child", "hero", "combined"])
@pytest.mark.parametrize("minutes", [1, 3, 10])
def test_sequel_remembers_its_parent(kind: str, minutes: int) -> None:
    """By its title and, where more than its first words have room, by a detail, in quotation marks."""
    _, text = told(brief(kind=kind, hero=HERO, sequel=SEQUEL, length_minutes=minutes))

    assert "\u201cMia and the Owl Who Could Not Sleep" in text
    assert (minutes > 1) is ("\u201cOne night Mia set out" in text)


_PLACES = (
    "Whispering Wood", "Sleeping Sea", "Great Soft Dark", "Land of First Snow", "Seven Moonlit Bays", "Night School",
    "Castle of a Thousand Stairs", "Garden Behind the Garden", "town on the other side of evening",
)  # fmt: skip
_PALS = (
    "Pip", "Mrs Plume", "Tumble", "Old Moss", "Nell", "Barnaby", "Zib", "Lumi", "Inkle", "Fenn", "Oskar", "Greta",
)  # fmt: skip


def test_sequel_is_an_adventure_of_its_own() -> None:
    """What the writer chooses by itself, it chooses again; a companion comes back."""
    parent = brief(wish="", theme="", moral="")
    title, first = told(parent)
    again = brief(wish="", theme="", moral="", sequel=Parent(title=title, text=first))
    places = [place for place in _PLACES if place in first]
    pals = [pal for pal in _PALS if pal in first]

    assert len(pals) == 1
    assert title != told(again)[0]
    assert not any(place in re.sub("“[^”]*”", "", told(again)[1]) for place in places)
    assert pals[0] in told(again)[1]


@pytest.mark.parametrize(
    ("title", "text", "title_told", "detail", "other"),
    [
        ("The Owl", "It slept. It woke! And now?", "The Owl", "It slept.", "It woke!"),
        ("The \u201cOwl\u201d", "<b>it</b> slept", "The Owl", "It slept.", ""),
        ("", "\u2026 ?? !", "", "", ""),
        ("", "Same. Same.", "", "Same.", ""),
    ],
)
def test_memory_can_be_quoted(title: str, text: str, title_told: str, detail: str, other: str) -> None:
    """Sentences of the text, cleaned and closed; none twice."""
    memory = Memory.of(Parent(title=title, text=text), Room.of(brief()))

    assert (title_told, detail, other) == (memory.title, memory.detail, memory.other_detail)


def test_long_memory_trails_off() -> None:
    """Cut at a word."""
    memory = Memory.of(Parent(title="", text="word " * 300), Room.of(brief()))

    assert memory.detail.endswith("word\u2026")
    assert len(memory.detail) <= 201


def test_parent_of_which_nothing_is_known_is_not_mentioned() -> None:
    """Such a sequel is told as a story of its own."""
    _, text = told(brief(sequel=Parent(title="\u2026", text=" ")))

    assert not re.search("last story|other night|\u201c\u201d", text)


@pytest.mark.parametrize("kind", ["hero", "combined"])
def test_brief_about_a_hero_needs_one(kind: str) -> None:
    """A caller's mistake is found before anything is written."""
    with pytest.raises(ValueError, match=f"{kind} needs a hero"):
        brief(kind=kind)


class _Plain:
    """A language that has said nothing of heroes and sequels."""

    code = "xx"
    features: frozenset[Feature] = frozenset()

    def title(self, brief: OfflineBrief) -> str:
        return brief.name

    def story(self, brief: OfflineBrief) -> Arc:
        return Arc((Block(key="all", paragraphs=((Unit(f"{brief.name} slept."),),)),))

    def continuation(self, brief: OfflineBrief, *, told: str, budget: int) -> Arc:
        del told, budget
        return self.story(brief)

    def bridges(self, brief: OfflineBrief) -> Iterator[str]:
        yield brief.name


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"kind": "hero", "hero": HERO}, {"hero"}),
        ({"kind": "combined", "hero": HERO, "sequel": SEQUEL}, {"combined", "sequel"}),
        ({"sequel": SEQUEL}, {"sequel"}),
    ],
)
def test_language_is_only_asked_for_what_it_tells(changes: dict[str, object], missing: set[Feature]) -> None:
    """Anything else is refused before a word is written, with what was missing."""
    writer = OfflineWriter([_Plain()])
    asked = brief(language_code="xx", **changes)

    with pytest.raises(StoryUnsupported, match="only stories about the child alone") as refused:
        writer.write(asked)
    assert "xx" == refused.value.language
    assert missing == refused.value.missing
    assert not refused.value.supported
    assert "Mia slept." == "".join(
        piece.text for piece in writer.write(brief(language_code="xx")) if piece.kind == "text"
    )


@pytest.mark.parametrize("kind", ["hero", "combined"])
def test_a_hero_is_met_and_not_listed(kind: str) -> None:
    """Look, strengths and character are told at three places of the beginning."""
    for seed in range(6):
        text = told(brief(kind=kind, hero=HERO, length_minutes=8, seed=seed))[1]
        listed = re.findall(r"(?:silver boots|talking to animals)\.\s+(?:Robin was brave|Whoever knew)", text)

        assert "red cape" in text
        assert "brave and kind" in text
        assert [] == listed
