"""How long a text may sound: the bounds within which a segment is taken for whole.

A stream of speech that was cut between two frames looks like a shorter one; only its length against its text tells.
The bounds are wide on purpose, because refusing a sound segment costs the caller a paid call:

- At least 0.038 s for each letter, digit and gap between words. espeak-ng at 150 words a minute takes 0.069 to 0.076 s
  over passages of English, Russian and German, 0.062 s at its fastest sentence and 0.052 s in the tightest of twenty
  made-up extremes; 19 characters a second, which is fast for any voice, are 0.053 s. So a cut that leaves half of a
  passage or less is refused, of a fast voice one that leaves less than two thirds; a smaller loss at a frame's edge
  passes.
- At most 0.3 s for each letter of an alphabet with upper and lower case, 1 s for a mark of punctuation and 2 s for
  anything else (digits in long numbers take 0.7 s each, emoji 1 s, Thai spelled out by an English voice 1.2 s). This
  stops a voice that runs away, not one that repeats a sentence.

Of a drawn-out sound ("Zzzzzz", "Ooooh") two letters count towards the minimum, since voices differ over the rest.
Punctuation and emoji alone have no minimum.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Final

_MIN_SECONDS: Final = 0.038
_MIN_SLACK_SECONDS: Final = 0.4
_MAX_SECONDS_LETTER: Final = 0.3
_MAX_SECONDS_PUNCTUATION: Final = 1.0
_MAX_SECONDS_OTHER: Final = 2.0
_MAX_SLACK_SECONDS: Final = 6.0
_UNSPOKEN: Final = re.compile(r"[^\w\s]|_")
_RUN: Final = re.compile(r"(\w)\1{2,}")


@dataclass(frozen=True, slots=True)
class DurationBounds:
    """Seconds between which the sound of a text is plausible."""

    shortest: float
    longest: float

    def admit(self, duration: float) -> bool:
        """Tell whether `duration` seconds are plausible."""
        return self.shortest <= duration <= self.longest


def duration_bounds(text: str, speed: float | None = None) -> DurationBounds:
    """Bound the length of `text` spoken at `speed` times a voice's own pace (None is 1.0).

    A speed above 1.0 lowers the minimum and one below raises the maximum, never the other way round: providers
    clamp or ignore a speed that they do not know.
    """
    factor = 1.0 if speed is None else speed
    if factor <= 0:
        raise ValueError("speed must be positive")
    shortest = _MIN_SECONDS * _spoken_length(text) / max(factor, 1.0) - _MIN_SLACK_SECONDS
    longest = (
        sum(_longest_sound(each) * times for each, times in Counter(text).items()) / min(factor, 1.0)
        + _MAX_SLACK_SECONDS
    )
    return DurationBounds(max(0.0, shortest), longest)


def _spoken_length(text: str) -> int:
    """Count letters, digits and gaps between words; of a letter repeated in a row, two."""
    words = _UNSPOKEN.sub("", text).split()
    return len(_RUN.sub(r"\1\1", " ".join(words)))


def _longest_sound(character: str) -> float:
    if character.isspace():
        return 0.0
    if character.lower() != character.upper():
        return _MAX_SECONDS_LETTER
    if unicodedata.category(character).startswith("P"):
        return _MAX_SECONDS_PUNCTUATION
    return _MAX_SECONDS_OTHER
