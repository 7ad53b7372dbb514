"""Which length is plausible for a text, by its scripts and language, and by the usual pace of the voice.

A stream of speech that was cut between two frames looks like a shorter one; only its length against its text shows it.
What was spoken cannot be heard here. Refusing a sound segment costs the caller a paid call, so bounds are wide:

- The least time is that of people who read aloud as fast as they speak, without their pauses (Coupe et al. 2019,
  Science Advances 5: 5.9 syllables a second in Mandarin, 7.1 to 8.0 in Finnish, Spanish or Japanese, 6.3 in English),
  for each letter, digit and gap between words. espeak-ng at 150 words a minute, the embedded voice and the voices of
  paid services take 1.6 to 2.4 times as long, so a passage of which half is missing is refused, of a slow voice where
  a bit more is missing. Of a drawn-out sound ("Zzzzzz", "Ooooh") two letters count, since voices differ over the rest.
- The most is 0.3 s for each letter of an alphabet with upper and lower case, 1 s for a mark of punctuation and 2 s for
  anything else (digits in long numbers take 0.7 s each, emoji 1 s). This stops a voice that runs away, not one that
  repeats a sentence.
- Once a voice has spoken for some seconds, its own pace is known: an answer far from it is refused, unless the same
  text was refused for that and comes again as long as before. Then it is a fast passage, and not paid for again; an
  answer that is farther still is never one. Pauses at marks and numbers differ between voices and take more of a rhyme
  or a list than of a long sentence (of one voice, the pace by letters alone differs by a factor of four), so the pace
  is taken with them and without, and the shorter of both counts.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, deque
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from cachetools import LRUCache

if TYPE_CHECKING:
    from collections.abc import Hashable

    from voice_service.ports import SegmentRequest


_LEAST: Final = {
    "CJK": 0.14, "YI": 0.14, "HANGUL": 0.09, "HIRAGANA": 0.085, "KATAKANA": 0.085, "ETHIOPIC": 0.08, "CHEROKEE": 0.08,
    "THAI": 0.065, "LAO": 0.065, "KHMER": 0.065, "MYANMAR": 0.065, "TIBETAN": 0.065, "DEVANAGARI": 0.06,
    "BENGALI": 0.06, "GURMUKHI": 0.055, "GUJARATI": 0.055, "ORIYA": 0.06, "TAMIL": 0.055, "TELUGU": 0.065,
    "KANNADA": 0.065, "MALAYALAM": 0.065, "SINHALA": 0.06, "ARABIC": 0.05, "HEBREW": 0.043, "SYRIAC": 0.045,
    "ARMENIAN": 0.044, "GEORGIAN": 0.044, "DIGIT": 0.04,
}  # fmt: skip
"""Least seconds of a letter by its script, as the names of Unicode begin. Marks on letters have no time of their own:
the vowels of the scripts of India and Thailand are such marks, those of Arabic and Hebrew are not written."""
_LEAST_ALPHABET: Final = 0.038
_LEAST_OF_LANGUAGE: Final = {
    "da": 0.035, "de": 0.036, "en": 0.037, "fr": 0.034, "ga": 0.032, "nl": 0.036, "no": 0.036, "sv": 0.036,
    "cs": 0.04, "fi": 0.042, "hu": 0.044, "id": 0.042, "it": 0.04, "la": 0.042, "pl": 0.042, "sw": 0.044, "tr": 0.043,
    "uk": 0.042,
}  # fmt: skip
"""Of alphabets: less where a language writes more letters than it speaks, more where it speaks each."""
_LEAST_KANJI: Final = 0.12
_LEAST_SPOKEN: Final = 0.08
"""Seconds of the shortest word."""
_MAX_SECONDS_LETTER: Final = 0.3
_MAX_SECONDS_PUNCTUATION: Final = 1.0
_MAX_SECONDS_OTHER: Final = 2.0
_MAX_SLACK_SECONDS: Final = 6.0
_ACTED: Final = re.compile(
    r"\[[^\[\]]{1,40}\]|\((?:(?:soft|quiet|gent|loud)ly )?(?:(?:sigh|laugh|giggle|chuckle|whisper|yawn|gasp|sob|sniff|"
    r"snore|cough|hum|sing|pause)s?|clears? (?:(?:his|her|their) )?throat|"
    r"(?:sigh|laugh|giggl|chuckl|whisper|yawn|gasp|sobb|sniff|snor|cough|humm|sing|paus)ing)(?: \w+ly)?\)",
    re.IGNORECASE,
)
"""What a model acts in place of reading it: any direction in square brackets, and those known in round ones."""
_UNSPOKEN: Final = re.compile(r"[^\w\s]|_")
_RUN: Final = re.compile(r"(\w)\1{2,}")


@dataclass(frozen=True, slots=True)
class DurationBounds:
    """Seconds between which the sound of a text is plausible."""

    shortest: float
    longest: float

    def admit(self, duration: float) -> bool:
        """Returns whether `duration` seconds are plausible."""
        return self.shortest <= duration <= self.longest


def duration_bounds(text: str, speed: float | None = None, language_code: str = "") -> DurationBounds:
    """Bounds the length of `text` spoken at `speed` times a voice's own pace (None is 1.0).

    A speed above 1.0 lowers the minimum and one below raises the maximum, never the other way round: providers
    clamp or ignore a speed that they do not know.
    """
    factor = 1.0 if speed is None else speed
    if factor <= 0:
        raise ValueError("speed must be positive")
    shortest = _least_seconds(text, language_code)
    longest = sum(_longest_sound(each) * times for each, times in Counter(text).items())
    # One word may be all consonants; many are not.
    shortest *= shortest / (shortest + 0.08)
    shortest = max(shortest, _LEAST_SPOKEN) if shortest else 0.0
    return DurationBounds(shortest / max(factor, 1.0), longest / min(factor, 1.0) + _MAX_SLACK_SECONDS)


def _least_seconds(text: str, language_code: str) -> float:
    """Adds up letters, digits and gaps between words; of a letter repeated in a row, two."""
    words = _UNSPOKEN.sub("", _ACTED.sub(" ", unicodedata.normalize("NFC", text))).split()
    spoken = Counter(_RUN.sub(r"\1\1", " ".join(words)))
    language = language_code.partition("-")[0].lower()
    return sum(_least_sound(each, language) * times for each, times in spoken.items())


def _least_sound(character: str, language: str) -> float:
    script = unicodedata.name(character, "").partition(" ")[0]
    if script == "CJK" and language == "ja":
        return _LEAST_KANJI
    if character.isdigit():
        return _LEAST["DIGIT"]
    return _LEAST.get(script) or _LEAST_OF_LANGUAGE.get(language, _LEAST_ALPHABET)


def _longest_sound(character: str) -> float:
    if character.isspace():
        return 0.0
    if character.lower() != character.upper():
        return _MAX_SECONDS_LETTER
    if unicodedata.category(character).startswith("P"):
        return _MAX_SECONDS_PUNCTUATION
    return _MAX_SECONDS_OTHER


_MOST_VOICES: Final = 256
_ANSWERS: Final = 24
"""Answers of which the usual pace is the median."""
_KNOWN_AFTER: Final = (3, 10.0)
"""Answers and seconds of speech after which it is known."""
_LONG_ENOUGH: Final = 1.5
"""Least seconds of a text that has a pace: in shorter ones silence and single sounds count too much."""
_FAR, _CUT = 0.75, 0.68
"""Shares of the usual pace, below which a text is spoken twice to see, and refused; 1 of 200 passages and 1 of 500 of
the embedded voices are there."""
_LONGEST_PAUSE: Final = 0.7
"""Seconds at each mark."""
_MARKS: Final = re.compile(r"[^\w\s'’-]+|\d|\n")
_ALIKE: Final = 0.07
"""Share by which two readings of one text may differ."""


class _Answer(NamedTuple):
    """Seconds of an answer, and its text by the least that it can take, and by its marks."""

    seconds: float
    least: float
    marks: int


@dataclass(slots=True)
class _Pace:
    """The last answers of a voice, and what was refused for its length."""

    answers: deque[_Answer] = field(default_factory=lambda: deque(maxlen=_ANSWERS))
    refused: LRUCache[int, float] = field(default_factory=lambda: LRUCache(_ANSWERS))

    def usual(self, least: float, marks: int) -> float:
        """Returns the seconds that the voice may be expected to take; 0 while that is not known."""
        if len(self.answers) < _KNOWN_AFTER[0] or sum(each.seconds for each in self.answers) < _KNOWN_AFTER[1]:
            return 0.0
        return min(
            least * median((each.seconds - pause * each.marks) / each.least for each in self.answers) + pause * marks
            for pause in (0.0, _LONGEST_PAUSE)
        )


class Lengths:
    """Judges the length of answers, and learns the pace of each voice."""

    def __init__(self) -> None:
        self._paces: LRUCache[Hashable, _Pace] = LRUCache(_MOST_VOICES)

    def trouble(self, duration: float, request: SegmentRequest, provider: str) -> str:
        """Returns why `duration` seconds are no plausible length for the text that was asked for; "" if they are."""
        text, settings, language = request.text, request.settings, request.language_code
        bounds = duration_bounds(text, settings.speed, language)
        said = f"the audio lasts {duration:.2f} s where {len(text)} characters take"
        if not bounds.admit(duration):
            return f"{said} {bounds.shortest:.2f} to {bounds.longest:.2f} s"
        if bounds.shortest * max(settings.speed or 1.0, 1.0) < _LONG_ENOUGH:
            return ""
        voice = (provider, request.voice_id, request.model_id, settings.speed, language)
        pace = self._paces.setdefault(voice, _Pace())
        # Vowels that are marks on letters are no marks of punctuation.
        marks = len(_MARKS.findall("".join(each for each in text if not unicodedata.category(each).startswith("M"))))
        usual, before = pace.usual(bounds.shortest, marks), pace.refused.pop(hash(text), 0.0)
        if duration < _FAR * usual and (duration < _CUT * usual or abs(duration - before) > _ALIKE * duration):
            pace.refused[hash(text)] = duration
            return f"{said} this voice {usual:.2f} s or so"
        pace.answers.append(_Answer(duration, bounds.shortest, marks))
        return ""
