"""Judges how the neural voice says a word, by the dictionary of Carnegie Mellon University."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

BADLY_OFF: Final = 0.8
"""From here on a listener hears another word: a wrong stress and vowel, another consonant, a syllable too many."""

_SOUNDS: Final = {
    **dict(
        zip(
            ["B", "D", "F", "G", "K", "L", "M", "N", "P", "R", "S", "T", "V", "W", "Y", "Z"],
            "bdfɡklmnpɹstvwjz",
            strict=True,
        )
    ),
    **dict(
        zip(
            ["AA", "AE", "AO", "AW", "AY", "EH", "EY", "IH", "IY", "OW", "OY", "UH", "UW"], "ɑæɔWIɛAɪiOYʊu", strict=True
        )
    ),
    **dict(zip(["CH", "DH", "HH", "JH", "NG", "SH", "TH", "ZH"], "ʧðhʤŋʃθʒ", strict=True)),
}
_VOWELS: Final = frozenset("AIOWYaiuæɑəɛɪʊʌ")
_LIKE: Final = {"T": "t", "ᵊ": "ə", "ᵻ": "ɪ", "ɜ": "ə", "ɔ": "ɑ", "ɐ": "ə", "ˌ": "", " ": ""}
_CLOSE_CONSONANTS: Final = ({"s", "z"}, {"ʃ", "ʒ"}, {"t", "d"}, {"ʃ", "ʧ"}, {"θ", "ð"})
_CLOSE_VOWELS: Final = tuple(map(set, ("æɑ", "ɛA", "iɪ", "ɛæ", "ʌə", "ɑO", "ʊu", "ɪɛ", "ɛi")))


def from_cmudict(phones: Iterable[str]) -> str:
    """Returns a pronunciation of the dictionary in the engine's alphabet."""
    said = ""
    for phone in phones:
        sound, stress = phone.rstrip("012"), phone[-1]
        weak = stress == "0"
        vowel = {"AH": "ə" if weak else "ʌ", "ER": "əɹ" if weak else "ɜɹ"}
        said += {"1": "ˈ", "2": "ˌ"}.get(stress, "") + (vowel.get(sound) or _SOUNDS[sound])
    return said


def distance(one: str, other: str) -> float:
    """Returns how far two pronunciations are apart: the cost of making one from the other, sound by sound."""
    left, right = _sounds(one), _sounds(other)
    costs: dict[tuple[int, int], float] = {(0, 0): 0.0}
    for at, to in product(range(len(left) + 1), range(len(right) + 1)):
        ways = [costs[at - 1, to] + _extra(left[at - 1])] if at else []
        ways += [costs[at, to - 1] + _extra(right[to - 1])] if to else []
        ways += [costs[at - 1, to - 1] + _change(left[at - 1], right[to - 1])] if at and to else []
        costs[at, to] = min(ways, default=0.0)
    return costs[len(left), len(right)]


_Sound = tuple[str, bool | None]


def _sounds(said: str) -> list[_Sound]:
    """Returns consonants with None, vowels with whether they are stressed."""
    for unlike, like in _LIKE.items():
        said = said.replace(unlike, like)
    sounds: list[_Sound] = []
    stressed = False
    for each in said.replace("ʊɹ", "uɹ").replace("ju", "u").replace("jʊ", "u"):
        if each == "ˈ":
            stressed = True
        elif each in _VOWELS:
            sounds.append((each, stressed))
            stressed = False
        else:
            sounds.append((each, None))
    return sounds


def _extra(sound: _Sound) -> float:
    return 0.5 if sound[1] is False or sound[0] in "hj" else 1.0


def _change(one: _Sound, other: _Sound) -> float:
    (left, left_stress), (right, right_stress) = one, other
    if (left_stress is None) != (right_stress is None):
        return 1.0
    if left_stress is None:
        return 0.0 if left == right else 0.5 if {left, right} in _CLOSE_CONSONANTS else 1.0
    stress = 0.5 * (left_stress != right_stress)
    if left == right:
        return stress
    if not left_stress and not right_stress and {left, right} <= set("əɪʌiɛæuOɑ"):
        return 0.15 if {left, right} <= set("əɪʌiɛ") else 0.35
    return stress + (0.5 if {left, right} in _CLOSE_VOWELS else 0.8)
