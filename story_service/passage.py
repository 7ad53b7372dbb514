"""What one call writes: which part of the story, how many words of it, and whether they end the story."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from offline_writer import WORDS_PER_MINUTE, Scene
from story_service.answer.sentences import count_words

NEARLY_WHOLE: Final = 0.85
"""Share of the requested words from which on a text can be the whole of it, and is continued by its ending alone."""
MOST: Final = 1.2
"""Share of the requested words that a story never exceeds."""
_ENDING_WORDS: Final = 60
_LEAST_WORDS: Final = 15
"""A text that has its length needs some words more to end."""
_FEWEST_MINUTES: Final = 6
"""Shorter stories are written by one call."""
_SCENE_WORDS: Final = 550
"""Models with a limit of their own, of 300 words too, reach it with two calls."""
_LEAST_SHARE: Final = 0.5
_MOST_SHARE: Final = 1.5
"""How far the words of a scene depart from the plan where earlier scenes have fewer or more than planned."""


def words_of(length_minutes: int) -> int:
    """Returns the words of a story of that length."""
    return length_minutes * WORDS_PER_MINUTE


def scenes_of(length_minutes: int) -> int:
    """Returns the scenes of a story of that length; 0 where one call writes it."""
    return round(words_of(length_minutes) / _SCENE_WORDS) if length_minutes >= _FEWEST_MINUTES else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A scene, or a story without scenes: the next call writes the rest of it.

    `scene` is its index in the outline, None without one; the `last` ends the story. It starts at the code point
    `start` of the content. `words` are requested, `written` are there. With `plans` the next call writes no text, but
    the plan of the scenes that have these words.
    """

    scene: int | None
    last: bool
    start: int
    words: int
    written: int
    plans: bool = False

    @property
    def least(self) -> float:
        """Words from which on it is long enough."""
        return self.words * NEARLY_WHOLE

    @property
    def most(self) -> float:
        """Words that it never has more of."""
        return self.words * MOST

    @property
    def lacks_only_ending(self) -> bool:
        """True where the story has about its length, and is continued by its ending alone."""
        return self.last and self.written >= self.least

    @property
    def left(self) -> int:
        """Words that are still to be written: some in any case, with room for twice as many."""
        return max(self.words - self.written, min(_ENDING_WORDS, int(self.most - self.written) // 2), _LEAST_WORDS)


def passage_of(written: str, scenes: Sequence[Scene], length_minutes: int) -> Passage:
    """Returns what is to be written behind `written`: the first scene that has not ended, or the whole story.

    Behind a first scene that stands alone, it is the plan of the others. A scene has ended where the outline says so,
    and where it has nearly all its words: an attempt may be killed between its text and its end. The words of a scene
    are its share of those that the scenes before it have left.
    """
    words = words_of(length_minutes)
    ends = [scene.end for scene in scenes]
    index = max((at + 1 for at, end in enumerate(ends[: len(ends) - 1 or 1]) if 0 < end <= len(written)), default=0)
    passage = _part(written, scenes, index, ends[index - 1] if index else 0, words)
    if not passage.last and passage.written >= passage.least:
        passage = _part(written, scenes, index + 1, len(written), words)
    return passage


def _part(written: str, scenes: Sequence[Scene], index: int, start: int, words: int) -> Passage:
    if not scenes:
        return Passage(scene=None, last=True, start=0, words=words, written=count_words(written))
    left = words - count_words(written[:start])
    if index == len(scenes):
        return Passage(scene=index, last=False, start=start, words=left, written=0, plans=True)
    planned, later = scenes[index].words, sum(scene.words for scene in scenes[index:]) if len(scenes) > 1 else words
    share = left * planned / later
    return Passage(
        scene=index,
        last=0 < index == len(scenes) - 1,
        start=start,
        words=round(min(max(share, planned * _LEAST_SHARE), planned * _MOST_SHARE)),
        written=count_words(written[start:]),
    )
