"""The embedded writer as its callers see it."""

import re
from collections import Counter
from importlib import resources

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.offline_briefs import MORALS, THEMES, any_briefs, brief, briefs

from offline_writer import LanguageUnsupported, OfflineBrief, OfflineWriter, Outline, Piece
from offline_writer.fitting import sentence_keys
from offline_writer.stock import load

WRITER = OfflineWriter()
JOURNEY = Outline(plot_shape="journey")
_STOCK = load(resources.files("offline_writer.english") / "stock")
REFRAINS = {shape.fields["refrain"].casefold() for shape in _STOCK["shapes"] if "refrain" in shape.fields}
OWN_SEAMS = ("{", "}", "[", "]", "  ", " ,", " .", "..", "\u201c\u201d", ",,", "\t", "|", "@")
LENIENT = [HealthCheck.too_slow]

# The same examples in every run, so that a run says something about the change and not about its luck; the long
# tests look further, each time elsewhere.
quick = settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=LENIENT)
thorough = settings(max_examples=400, deadline=None, suppress_health_check=LENIENT)


def text(asked: OfflineBrief, written_so_far: str = "") -> str:
    """Everything that the writer adds."""
    pieces = WRITER.write(asked, title_so_far="A title", written_so_far=written_so_far)
    return "".join(piece.text for piece in pieces)


def assert_well_formed(story: str) -> None:
    """No trace of a template, no broken spacing, and every paragraph begins as one does."""
    assert [] == [seam for seam in OWN_SEAMS if seam in story]
    assert story == story.strip()
    for paragraph in story.split("\n\n"):
        assert "\n" not in paragraph
        first = paragraph.lstrip("“")[0]
        assert first == first.upper(), paragraph


def assert_sound(asked: OfflineBrief, *, slack: float = 0.15) -> None:
    """Of the asked length, no sentence twice, nothing of the machinery showing, articles that fit."""
    story = text(asked)
    ratio = len(story.split()) / (150 * asked.length_minutes)
    counts = Counter(sentence_keys(story))

    assert 1 - slack <= ratio <= 1 + slack
    for refrain in REFRAINS:
        counts.pop(refrain, None)

    assert {} == {sentence: count for sentence, count in counts.items() if count > 1}
    assert_well_formed(story)
    assert_articles_fit(story)


def assert_articles_fit(story: str) -> None:
    """No "a owl" and no "an dragon", wherever the noun comes from."""
    assert [] == re.findall(
        r"\b[Aa] (?!and\b)(?:[aeio]\w+|un(?!i)\w+|hour\w*|honest\w*)", re.sub(r"\b[Aa] on\w+", "", story)
    )
    assert [] == re.findall(r"\b[Aa]n (?![aeiouAEIOUhH8x])\w+", story)


@quick
@given(briefs)
def test_story_is_sound(asked: OfflineBrief) -> None:
    """Whatever is asked for, of any kind and length."""
    assert_sound(asked)


@pytest.mark.long
@thorough
@given(briefs)
def test_many_stories_are_sound(asked: OfflineBrief) -> None:
    """The same, of as many as one has patience for; of hundreds one or two are longer by a sixth."""
    assert_sound(asked, slack=0.2)


@pytest.mark.parametrize("minutes", range(1, 31))
def test_length_is_right(minutes: int) -> None:
    """Each minute from 1 to 30, with one moral and theme after the other."""
    moral, theme = MORALS[minutes % len(MORALS)], THEMES[minutes % len(THEMES)]

    assert_sound(brief(length_minutes=minutes, moral=moral, theme=theme, seed=minutes))


@pytest.mark.long
@pytest.mark.parametrize("minutes", range(1, 31))
def test_length_is_right_for_every_moral(minutes: int) -> None:
    """Each minute from 1 to 30 with each moral."""
    for seed, moral in enumerate(MORALS):
        assert_sound(brief(length_minutes=minutes, moral=moral, theme=THEMES[seed], seed=seed))


@settings(quick, max_examples=6)
@given(briefs)
def test_going_on_from_any_sentence_changes_nothing(asked: OfflineBrief) -> None:
    """Every prefix that ends with a piece gives the rest of the same story, byte for byte."""
    pieces = [piece.text for piece in WRITER.write(asked, title_so_far="T")]
    whole = "".join(pieces)
    for count in range(0, len(pieces) + 1, max(1, len(pieces) // 6)):
        written = "".join(pieces[:count])

        assert whole == written + text(asked, written)


@quick
@given(briefs.filter(lambda asked: asked.length_minutes < 8), st.floats(0, 1))
def test_going_on_from_the_middle_of_a_word_changes_nothing(asked: OfflineBrief, where: float) -> None:
    """A prefix need not end anywhere in particular."""
    whole = text(asked)
    written = whole[: int(len(whole) * where)]

    assert whole == written + text(asked, written)


def test_trailing_space_in_what_was_written_is_not_doubled() -> None:
    """Somebody who stored the text with a space at its end gets no second one."""
    pieces = [piece.text for piece in WRITER.write(brief(), title_so_far="T")]
    written = "".join(pieces[:6]) + "   "

    assert "".join(pieces[6:]).lstrip() == text(brief(), written)


def test_same_brief_gives_the_same_story() -> None:
    """On another writer too."""
    again = OfflineWriter()

    assert list(WRITER.write(brief())) == list(again.write(brief()))


def test_story_is_the_one_that_other_machines_write() -> None:
    """The seed goes through a digest, so the first words do not depend on the process's hash seed."""
    assert "Mia and the Dragon Who Could Not Sleep" == next(WRITER.write(brief())).text


def test_seeds_give_different_stories() -> None:
    """Six stories of one brief do not begin alike and share few sentences."""
    stories = [text(brief(length_minutes=5, seed=seed)) for seed in range(6)]
    shared = [
        len(set(sentence_keys(one)) & set(sentence_keys(other))) / len(sentence_keys(one))
        for at, one in enumerate(stories)
        for other in stories[at + 1 :]
    ]

    assert 6 == len(set(stories))
    assert sum(shared) / len(shared) < 0.6


def test_title_comes_first_and_only_where_there_is_none() -> None:
    """One title piece, then text."""
    kinds = [piece.kind for piece in WRITER.write(brief())]

    assert ["title", *["text"] * (len(kinds) - 1)] == kinds
    assert {"text"} == {piece.kind for piece in WRITER.write(brief(), title_so_far="The Owl")}


def test_pieces_are_whole_sentences() -> None:
    """Each ends where a sentence does, and carries its separator in front."""
    pieces = [piece.text for piece in WRITER.write(brief(length_minutes=8), title_so_far="T")]

    assert [] == [piece for piece in pieces if not piece.endswith((".", "!", "?", "…", "”"))]
    assert not pieces[0][0].isspace()
    assert all(piece.startswith((" ", "\n\n")) for piece in pieces[1:])


@pytest.mark.parametrize(
    ("moral", "scene"),
    [
        ("kindness", "scarf|the whole of it"),
        ("honesty", "blamed the wind|have been the wind|the crow"),
        ("bravery", "darker than dark|darker in there|three ropes"),
        ("friendship", "quarrelled|one person only"),
        ("perseverance", "knot|of glass"),
        ("empathy", "stone in|acorns"),
        ("respect", "Please excuse us|flower"),
        ("responsibility", "flame|an egg"),
        ("telling the truth", "blamed the wind|have been the wind|the crow"),
        ("Sharing is fun!", "Sharing is fun!"),
    ],
)
@pytest.mark.parametrize("minutes", [1, 4])
def test_moral_shapes_the_obstacle(moral: str, scene: str, minutes: int) -> None:
    """Each has scenes of its own, by whatever name it goes; a moral in free words is found by the child."""
    assert re.search(scene, text(brief(moral=moral, length_minutes=minutes, outline=JOURNEY)))


@pytest.mark.parametrize("theme", THEMES)
def test_theme_gives_the_place(theme: str) -> None:
    """Two themes never share one."""
    places = {section.key: section.fields["place"] for section in _STOCK["themes"]}

    assert places[theme] in text(brief(theme=theme))
    assert len(THEMES) == len({*places.values()})


@pytest.mark.parametrize("minutes", [1, 2, 3, 5, 10])
def test_child_interests_and_wish_are_in_the_story(minutes: int) -> None:
    """Name, age, each interest and the wish's subject."""
    story = text(brief(length_minutes=minutes))

    for part in ("Mia", "six years old", "dragons", "the sea", "playing football"):
        assert part in story
    assert re.search("a dragon who (?:cannot|could not) sleep", story)


def test_free_theme_is_told_in_its_own_words() -> None:
    """A theme that is no known one still shows."""
    assert "underwater kingdoms" in text(brief(theme="underwater kingdoms"))


@pytest.mark.parametrize("minutes", [1, 5])
def test_nothing_of_a_wish_that_is_not_understood_is_told(minutes: int) -> None:
    """Another story is, with the child and its interests."""
    asked = brief(wish="how the zorkles were blorped", length_minutes=minutes)
    title, *pieces = WRITER.write(asked)
    story = "".join(piece.text for piece in pieces)

    assert not WRITER.plan(asked).understood
    assert not re.search("zorkle|blorp", title.text + story)
    assert "dragons, the sea and playing football" in story


@pytest.mark.parametrize("seed", range(8))
def test_age_that_nobody_said_is_not_told(seed: int) -> None:
    """Not as a number, and no gap is left where it would have stood."""
    story = text(brief(age=None, length_minutes=1 + seed % 4, seed=seed))

    assert not re.search(r"years? old|None", story)
    assert_well_formed(story)


@pytest.mark.parametrize(("gender", "pronouns"), [("female", {"she"}), ("male", {"he"}), ("", {"they"})])
def test_pronouns_follow_the_gender(gender: str, pronouns: set[str]) -> None:
    """In the sentence that is told right after the bed is reached, only the child is there."""
    story = text(brief(gender=gender, length_minutes=4, seed=5))

    assert pronouns <= set(re.findall(r"\b\w+\b", story.casefold()))
    assert not re.search(r"\bthey was\b|\bthey has\b|\b(?:he|she) were\b", story.casefold())


def test_youngest_get_shorter_sentences() -> None:
    """The same brief at three and at nine."""

    def mean(age: int) -> float:
        lengths = [
            len(sentence.split())
            for seed in range(4)
            for sentence in sentence_keys(text(brief(age=age, length_minutes=8, seed=seed)))
        ]
        return sum(lengths) / len(lengths)

    assert mean(3) < 0.95 * mean(9)


@quick
@given(any_briefs)
def test_any_text_is_taken(asked: OfflineBrief) -> None:
    """Whatever stands in the fields, a story of about the right length comes of it."""
    assert_takes(asked)


@pytest.mark.long
@thorough
@given(any_briefs)
def test_any_text_is_taken_any_number_of_times(asked: OfflineBrief) -> None:
    """The same, of as many as one has patience for."""
    assert_takes(asked)


def assert_takes(asked: OfflineBrief) -> None:
    """A title of one line, no trace of a template, and a length that is near enough."""
    title, *pieces = WRITER.write(asked)
    story = "".join(piece.text for piece in pieces)

    assert title.text
    assert title.text == " ".join(title.text.split())
    assert [] == [seam for seam in ("{", "}", "  ", "..", "\t", "<", "*", "#") if seam in story + title.text]
    assert 0.8 <= len(story.split()) / (150 * asked.length_minutes) <= 1.25


def test_other_language_is_refused_before_anything_is_written() -> None:
    """The error says what can be written."""
    with pytest.raises(LanguageUnsupported, match="can write in: en, ru") as refused:
        WRITER.write(brief(language_code="de-DE"))

    assert ("en", "ru") == refused.value.supported == WRITER.languages


def test_piece_is_a_value() -> None:
    """Pieces compare by what they hold."""
    assert Piece("text", "Once.") == Piece("text", "Once.")
