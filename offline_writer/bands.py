"""Age bands: what a story for listeners of an age is like, in figures."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Readers: TypeAlias = Literal["youngest", "middle", "oldest"]
"""Groups that the stock has lines of their own for: to three, four to eight, nine and over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One band of ages. Words are counted by white space; in a script without it, two characters count as one."""

    name: Literal["toddler", "preschool", "school", "preteen", "teen"]
    oldest: int
    """Years of the oldest listener of the band."""
    readers: Readers
    least_words: int
    """Fewest words of a sentence, on average."""
    most_words: int
    """Most words of a sentence, on average."""
    new_words: int
    """Most words of a story that its listener may not know yet, each explained by the story itself."""
    events: int
    """Things that happen one after another between the beginning and the way home."""
    refrain: bool = False
    """Whether a short line comes back again and again."""
    choice: bool = False
    """Whether the main character makes one choice that could have been made otherwise."""


BANDS: Final = (
    Band(
        name="toddler", oldest=3, readers="youngest", least_words=5, most_words=8, new_words=0, events=1, refrain=True
    ),
    Band(
        name="preschool", oldest=6, readers="middle", least_words=8, most_words=11, new_words=1, events=2, refrain=True
    ),
    Band(name="school", oldest=8, readers="middle", least_words=10, most_words=13, new_words=2, events=2),
    Band(
        name="preteen", oldest=12, readers="oldest", least_words=13, most_words=17, new_words=4, events=3, choice=True
    ),
    Band(name="teen", oldest=18, readers="oldest", least_words=14, most_words=20, new_words=6, events=3, choice=True),
)
"""In the order of their ages."""
_UNKNOWN: Final = 6
"""Years of a listener whose age is not given."""


def band_of(age: int | None) -> Band:
    """Returns the band of an age in years; that of a six-year-old for None."""
    years = _UNKNOWN if age is None else age
    return next((band for band in BANDS if years <= band.oldest), BANDS[-1])
