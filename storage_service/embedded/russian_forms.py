"""Forms of a Russian word, to look for all of them: the index of SQLite takes words as they stand."""

from typing import Final

_LEAST_STEM: Final = 3
_MOST_LETTERS: Final = 40
_YE, _YO = "\N{CYRILLIC SMALL LETTER IE}", "\N{CYRILLIC SMALL LETTER IO}"
_REFLEXIVE: Final = ("ся", "сь")

# Of nouns; of adjectives and participles; of verbs.
_ENDINGS: Final = tuple(
    """
    а я о е ё ы и у ю ь ой ей ом ем ём ам ям ах ях ами ями ов ев ёв ия ие ии ию ий ием иям иях иями ье ьи ья ью ьями
    ый ая ое яя ее ого его ому ему ым им ых их ыми ими ую юю ою ею
    л ла ло ли ал ала ало али ял яла яло яли ил ила ило или ел ела ело ели ть ать ять ить еть ти
    ет ёт ит ат ят ут ют ают яют ает яет ешь ёшь ишь аешь ете ите йте й
    """.split()  # noqa: RUF001, SIM905 - Russian
)
_LONGEST_FIRST: Final = sorted(_ENDINGS, key=len, reverse=True)


def is_cyrillic(word: str) -> bool:
    """True for a word that is all Cyrillic letters."""
    return bool(word) and all("\u0400" <= letter <= "\u04ff" for letter in word)


def forms(word: str) -> list[str]:
    """The word as it stands first, then its stem with every ending it may have; IE and IO are one letter in it.

    The stem is the word less its longest known ending; it keeps at least three letters.
    """
    word = word.lower()
    if len(word) > _MOST_LETTERS:
        return [word]
    bare = _without_particle(word)
    stem = _stem(bare)
    found = [spelling + ending for spelling in _spellings(stem) for ending in ("", *_ENDINGS)]
    if bare != word:
        found += [form + particle for form in found for particle in _REFLEXIVE]
    return list(dict.fromkeys([word, *found]))


def _without_particle(word: str) -> str:
    particle = next((one for one in _REFLEXIVE if word.endswith(one)), "")
    return word.removesuffix(particle) if len(word) > _LEAST_STEM + len(particle) else word


def _stem(word: str) -> str:
    fitting = (ending for ending in _LONGEST_FIRST if word.endswith(ending))
    return next((word.removesuffix(ending) for ending in fitting if len(word) >= _LEAST_STEM + len(ending)), word)


def _spellings(stem: str) -> list[str]:
    plain = stem.replace(_YO, _YE)
    return [plain, *(plain[:at] + _YO + plain[at + 1 :] for at, letter in enumerate(plain) if letter == _YE)]
