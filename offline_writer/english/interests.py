"""Interests in any form, made into what can stand after "to love"."""

import re

from offline_writer.cast import Interest, first_few
from offline_writer.cleaning import clean
from offline_writer.english.lexicon import Lexicon
from offline_writer.english.phrases import Person, article, in_person, progressive

_STRANGE = re.compile(r"[!?.:;,\u2026()@$%&/+]")
_LIKES = re.compile(r"^(?:i|she|he|they) (?:really )?(?:likes?|loves?) (?=\w)|^(?:likes|loves) (?=\w)", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:a|an)\s+", re.IGNORECASE)
_INSTRUMENTS = frozenset({"piano", "violin", "guitar"})
_LONGEST = 5


def _lowered(phrase: str, lexicon: Lexicon) -> str:
    """Returns the phrase without a capital that a form or a phone added."""
    first = phrase.split(maxsplit=1)[0]
    if first.casefold() in lexicon.brands:
        return phrase
    known = phrase.casefold() in lexicon.known or first.casefold() in lexicon.known | {"the", "my", "to", "a", "an"}
    return first.casefold() + phrase[len(first) :] if known and not phrase.isupper() else phrase


def interest(text: str, lexicon: Lexicon, person: Person) -> Interest | None:
    """Returns the interest, None where nothing is left after cleaning."""
    phrase = clean(text, limit=60)
    if not any(char.isalnum() for char in phrase):
        return None
    if len(phrase.split()) > _LONGEST or _STRANGE.search(text.strip().rstrip(".,;")):
        return Interest(f"\u201c{phrase}\u201d", "")
    phrase = _lowered(_LIKES.sub("", phrase), lexicon)
    category = lexicon.category(phrase)
    noun = _ARTICLE.sub("", phrase)
    first, *rest = phrase.removeprefix("to ").split()
    if noun in lexicon.animate and noun not in lexicon.definite:
        phrase = lexicon.plural(noun)
    elif phrase in _INSTRUMENTS or (phrase in lexicon.definite and phrase not in {"snow", "night"}):
        phrase = "the " + phrase
    elif first in lexicon.verbs and (phrase.startswith("to ") or rest or first not in lexicon.nounish):
        if phrase.startswith("to ") or not (rest and first in lexicon.nounish):
            phrase = " ".join([progressive(first), *rest])
    elif noun != phrase:
        phrase = f"{article(noun)} {noun}"
    return Interest(in_person(phrase, person), category or lexicon.category(phrase))


def interests(texts: tuple[str, ...], lexicon: Lexicon, person: Person, *, most: int) -> tuple[Interest, ...]:
    """Returns the first interests that are not empty, none twice."""
    return first_few((interest(text, lexicon, person) for text in texts), most)
