"""Briefs for tests of the offline writer: one to change, and strategies for many."""

from collections.abc import Sequence
from typing import Final

from hypothesis import strategies as st

from offline_writer import OfflineBrief, Parent, Protagonist

MORALS: Final = (
    "kindness", "honesty", "bravery", "friendship", "perseverance", "empathy", "respect", "responsibility",
)  # fmt: skip
THEMES: Final = ("forest", "sea", "space", "winter", "pirates", "school", "magic", "garden", "night")
WISHES: Final = (
    "a story about a dragon who cannot sleep", "to find the moon", "two kittens who lost their mittens", "fly to Mars",
    "a bear who has no friends", "an owl scared of heights", "a whale who dreams of flying", "a cloud who is sad",
    "a unicorn who lives in a teapot", "a fish that cannot swim", "how the stars were made, and why!", "Zorro", "",
    "Mia and Robin", "save the city",
)  # fmt: skip
INTERESTS: Final = (
    "dragons", "the sea", "LEGO", "playing football", "drawing", "a piano", "my cat", "sky & stars?!", "space",
)  # fmt: skip
LOOKS: Final = (
    "", "red cape and silver boots", "She is tall and has green eyes.", "a small blue robot with one wheel",
    "tall with red hair", "eyes like stars!! and (maybe) a hat", "always in a hurry",
)  # fmt: skip
TRAITS: Final = ("brave", "Kind", "never gives up", "a bit clumsy", "bravery", "funny?!")
STRENGTHS: Final = (
    "flying", "can climb anything", "super strength", "Talks to animals", "magic sword", "ALWAYS WINS!!", "very fast",
    "invisibility", "x-ray vision", "fixing things", "kindness", "singing", "swim",
)  # fmt: skip

HERO: Final = Protagonist(
    name="Robin",
    gender="male",
    appearance="red cape and silver boots",
    personality_traits=("brave", "kind"),
    strengths=("flying", "talking to animals"),
    interests=("pancakes", "music"),
)
SEQUEL: Final = Parent(
    title="Mia and the Owl Who Could Not Sleep",
    text=(
        "One night Mia set out with Pip, a mouse in a waistcoat the colour of moss. At the last gate Mia gave her own "
        "scarf to a shivering stranger. It all ended well, and Mia came home with the ball of wool and fell asleep."
    ),
)


def brief(**changes: object) -> OfflineBrief:
    """Mia's brief of three minutes, changed."""
    fields: dict[str, object] = {
        "name": "Mia",
        "age": 6,
        "gender": "female",
        "interests": ("dragons", "the sea", "playing football"),
        "wish": "a story about a dragon who cannot sleep",
        "moral": "kindness",
        "theme": "forest",
        "language_code": "en",
        "length_minutes": 3,
        "seed": 1,
    }
    return OfflineBrief(**(fields | changes))  # type: ignore[arg-type] # the tests change fields by name


def _some(entries: Sequence[str], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(entries), max_size=most).map(tuple)


heroes: Final = st.builds(
    Protagonist,
    name=st.sampled_from(["Robin", "mia", "Captain Zara", "the Brave Little Toaster"]),
    gender=st.sampled_from(["female", "male", ""]),
    appearance=st.sampled_from(LOOKS),
    personality_traits=_some(TRAITS, 4),
    strengths=_some(STRENGTHS, 4),
    interests=_some(INTERESTS, 4),
)
briefs: Final = st.builds(
    OfflineBrief,
    name=st.sampled_from(["Mia", "Thomas", "robin", "Anna Maria", "Jean-Luc"]),
    age=st.none() | st.integers(0, 14),
    gender=st.sampled_from(["female", "male", ""]),
    interests=_some(INTERESTS, 5),
    wish=st.sampled_from(WISHES),
    moral=st.sampled_from([*MORALS, "", "sharing is fun", "Brush your teeth!"]),
    theme=st.sampled_from([*THEMES, "", "underwater kingdoms"]),
    language_code=st.sampled_from(["en", "en-GB", "EN_us"]),
    length_minutes=st.integers(1, 30),
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["child", "hero", "combined"]),
    hero=heroes,
    sequel=st.none() | st.just(SEQUEL),
)
"""Ordinary ones, of every kind."""

any_heroes: Final = st.builds(
    Protagonist,
    name=st.text(max_size=60),
    gender=st.sampled_from(["female", "male", ""]),
    appearance=st.text(max_size=300),
    personality_traits=st.lists(st.text(max_size=80), max_size=5).map(tuple),
    strengths=st.lists(st.text(max_size=80), max_size=5).map(tuple),
    interests=st.lists(st.text(max_size=80), max_size=5).map(tuple),
)
any_briefs: Final = st.builds(
    OfflineBrief,
    name=st.text(max_size=60),
    age=st.none() | st.integers(-3, 200),
    gender=st.sampled_from(["female", "male", ""]),
    interests=st.lists(st.text(max_size=80), max_size=8).map(tuple),
    wish=st.text(max_size=300),
    moral=st.text(max_size=200),
    theme=st.text(max_size=200),
    language_code=st.just("en"),
    length_minutes=st.integers(1, 6),
    seed=st.integers(-(2**63), 2**63),
    kind=st.sampled_from(["child", "hero", "combined"]),
    hero=any_heroes,
    sequel=st.none() | st.builds(Parent, title=st.text(max_size=80), text=st.text(max_size=400)),
)
"""With whatever a field may hold."""
