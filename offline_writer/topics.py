"""Topics of what people wrote: what is not for children, what needs comfort, and what is to be avoided."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache
from itertools import product
from typing import Final

from offline_writer.brief import OfflineBrief, Parent, Protagonist
from offline_writer.stock import Section
from offline_writer.suitable import Vocabulary

UNSAFE: Final = frozenset({"violence", "weapons", "danger", "bodily", "adult"})
"""Topics of which nothing reaches a story."""
HARD: Final = ("despair", "death", "illness", "parting", "bullying", "fear")
"""Topics that a story comforts, the heaviest first."""
_WORD = re.compile(r"[\w$@]+(?:[-\u2019'!]\w+)*")
_ALWAYS: Final = frozenset({"despair", "death"})
"""Topics that are comforted whoever has them."""
_SETS = ("people", "whom", "family", "harm", "body", "stops")
"""Sections of words: ~people in an entry stands for each of them; over a stop no entry reaches."""
_GAP = 4
"""Words within which the next word of an entry follows."""
_SHORTEST = 3
"""Letters of a word that may be misspelled."""
_REMEMBERED = 32_768
"""Words, more than a stock has."""
_READ = 2_000
"""Characters of a text that are read."""
_DIGITS = str.maketrans("013457$@!", "oieastsai")
"""What stands for letters."""
_ALIKE = 0.8
"""How alike a misspelled word is to the one that was meant."""


class TopicReader:
    """Finds topics by lemmas.

    The word lists are sections of the stock, one a topic: entries with commas between them, each one or more lemmas
    that follow one another closely; `x*` stands for every word that begins with x. The section `self` lists the words
    with which people speak of themselves and of their children, `any` the articles, the section `harmless` what has no
    topic whatever its words.
    """

    def __init__(
        self, sections: Iterable[Section], *, lemmas: Callable[[str], Iterable[str]], known: Callable[[str], bool]
    ) -> None:
        """`lemmas` returns the dictionary forms of a word, `known` whether the language has it; in small letters."""
        self._lemmas = lemmas
        # With something to be avoided, all of the stock is read for each story.
        self._forms = lru_cache(_REMEMBERED)(self._all_forms)
        self._known = known
        entries: dict[str, list[tuple[str, ...]]] = {}
        for section in sections:
            listed = (entry for line in section.lines() for entry in _plain(line.text).split(","))
            either = ([part.split("/") for part in entry.split()] for entry in listed if entry.strip())
            entries[section.key] = [one for parts in either for one in product(*parts)]
        self._harmless = entries.pop("harmless", [])
        sets = {key: [word for phrase in entries.pop(key, []) for word in phrase] for key in ("self", "any", *_SETS)}
        self._self, self._stops, self._family, self._any = (
            frozenset(sets[key]) for key in ("self", "stops", "family", "any")
        )
        # By the first word, "x*" by its stem.
        self._by_first: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        for topic, phrases in entries.items():
            for first, *rest in (one for phrase in phrases for one in product(*(_any(word, sets) for word in phrase))):
                self._by_first.setdefault(first, []).append((topic, tuple(rest)))
        self._stems = tuple(first.removesuffix("*") for first in self._by_first if first.endswith("*"))

    def words(self, text: str) -> list[frozenset[str]]:
        """Returns each word of the text as the forms that it can be an instance of."""
        return [self._forms(word.casefold()) for word in _WORD.findall(_plain(text))]

    def _all_forms(self, word: str) -> frozenset[str]:
        parts = {word, *word.split("-")}
        if not word.isalpha() and any(char.isalpha() for char in word):
            parts |= {word.translate(_DIGITS), word.replace("-", "")}
        return frozenset(form for part in parts for form in (part, *self._lemmas(part)))

    def topics(self, text: str, *, misspelled: bool = True) -> frozenset[str]:
        """Returns the topics of the text; a name is read without `misspelled`."""
        words = self._without_harmless(self.words(text[:_READ]))
        if misspelled:
            words = [word | self._meant(word) for word in words]
        return frozenset(
            topic
            for at, word in enumerate(words)
            for first in (*word, *(f"{stem}*" for stem in self._stems if any(form.startswith(stem) for form in word)))
            for topic, rest in self._by_first.get(first, ())
            if self._follows(rest, words[at + 1 :])
        )

    def unsafe(self, text: str, *, misspelled: bool = True) -> bool:
        """Returns whether nothing of the text may reach a story."""
        return not UNSAFE.isdisjoint(self.topics(text, misspelled=misspelled))

    def harmless(self, text: str) -> bool:
        """Returns whether the text has none of the topics."""
        return not self.topics(text)

    def mentions(self, text: str, phrases: Collection[str]) -> bool:
        """Returns whether one of the phrases occurs, in any of its forms."""
        if not phrases:
            return False
        words = self.words(text)
        return any(
            any(all(one & other for one, other in zip(wanted, words[at:], strict=False)) for at in range(len(words)))
            for phrase in phrases
            if (wanted := self.words(phrase)) and len(wanted) <= len(words)
        )

    def of_oneself(self, text: str, name: str) -> bool:
        """Returns whether the text speaks of its writer, of the one with this name, or of the family and its pets.

        After an article a dog is any dog.
        """
        own = self._self | frozenset().union(*self.words(name))
        words = self.words(text)
        return any(
            not own.isdisjoint(word)
            or (
                not self._family.isdisjoint(word)
                and all(self._any.isdisjoint(one) for one in words[max(0, at - 3) : at])
            )
            for at, word in enumerate(words)
        )

    def _follows(self, phrase: tuple[str, ...] | list[str], words: list[frozenset[str]]) -> bool:
        if not phrase:
            return True
        for at, word in enumerate(words[:_GAP]):
            if phrase[0] in word and self._follows(phrase[1:], words[at + 1 :]):
                return True
            if not self._stops.isdisjoint(word):
                return False
        return False

    def _without_harmless(self, words: list[frozenset[str]]) -> list[frozenset[str]]:
        for phrase in self._harmless:
            for at in range(len(words) - len(phrase) + 1):
                if all(word in words[at + place] for place, word in enumerate(phrase)):
                    words[at : at + len(phrase)] = [frozenset()] * len(phrase)
        return words

    def _meant(self, word: frozenset[str]) -> frozenset[str]:
        if any(len(form) < _SHORTEST or self._known(form) for form in word):
            return frozenset()
        near = ((form, [first for first in self._by_first if first[0] == form[0]]) for form in word)
        return frozenset(match for form, firsts in near for match in get_close_matches(form, firsts, 3, _ALIKE))


def _plain(text: str) -> str:
    return text.replace("\u2019", "'")


def _any(word: str, sets: Mapping[str, list[str]]) -> list[str]:
    return sets[word[1:]] if word.startswith("~") else [word]


def hard_topic(brief: OfflineBrief, reader: TopicReader, *, of_character: bool) -> str:
    """Returns the topic that the story has to comfort, "" for none.

    What a wish says of a character that is not of the family is told as that character's, but for the heaviest.
    """
    wished = reader.topics(brief.wish)
    if of_character and not reader.of_oneself(brief.wish, brief.name):
        wished &= _ALWAYS
    found = reader.topics(brief.audience_note) | wished
    return next((topic for topic in HARD if topic in found), "")


def for_children(
    brief: OfflineBrief, reader: TopicReader, vocabulary: Vocabulary, *, known: Collection[str], of_character: bool
) -> OfflineBrief:
    """Returns the brief without what is not known to suit, what the story comforts, and what is to be avoided.

    `known` are morals and themes that the stock has. Names and the title of an earlier story have words of their own:
    of those only what is no topic is told.
    """

    def named(text: str, *, misspelled: bool = False) -> str:
        return "" if reader.topics(text, misspelled=misspelled) or reader.mentions(text, brief.avoid) else text

    def fit(text: str) -> str:
        suited = text.strip().casefold() in known or vocabulary.suits(text, name=brief.name)
        return named(text, misspelled=True) if suited else ""

    def all_fit(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(filter(None, map(fit, texts)))

    hero, sequel = brief.hero, brief.sequel
    parts = (brief.wish, *brief.interests, brief.audience_note)
    # What is unsafe only when read together is of the wish; what is unsafe alone elsewhere says nothing of it.
    unsafe = [reader.unsafe(part) for part in parts]
    together = not any(unsafe) and reader.unsafe(" ".join(parts))
    if (
        hard_topic(replace(brief, audience_note=""), reader, of_character=of_character)
        or unsafe[0]
        or together
        or reader.mentions(brief.wish, brief.avoid)
        or not vocabulary.suits(brief.wish, name=f"{brief.name} {hero.name if hero else ''}")
    ):
        brief = replace(brief, wish="")
    return replace(
        brief,
        name=named(brief.name),
        interests=all_fit(brief.interests),
        moral=fit(brief.moral),
        theme=fit(brief.theme),
        hero=hero and Protagonist(
            name=named(hero.name), gender=hero.gender, appearance=fit(hero.appearance),
            personality_traits=all_fit(hero.personality_traits), strengths=all_fit(hero.strengths),
            interests=all_fit(hero.interests),
        ),
        sequel=sequel and Parent(title=named(sequel.title, misspelled=True), text=sequel.text),
    )  # fmt: skip
