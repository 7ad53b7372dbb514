"""The words that the grammar needs, read from the stock."""

from collections.abc import Iterable

from offline_writer.english.phrases import progressive
from offline_writer.stock import Section

_IRREGULAR_PLURALS = {
    "mouse": "mice", "goose": "geese", "wolf": "wolves", "elf": "elves", "dwarf": "dwarfs", "fish": "fish",
    "sheep": "sheep", "deer": "deer", "moose": "moose", "reindeer": "reindeer", "child": "children",
    "policeman": "policemen", "fireman": "firemen", "snowman": "snowmen", "leaf": "leaves", "octopus": "octopuses",
    "calf": "calves", "shelf": "shelves", "loaf": "loaves",
}  # fmt: skip


class Lexicon:
    """Nouns, verbs and adjectives by their grammatical use."""

    def __init__(self, sections: Iterable[Section]) -> None:
        words = {section.key: self._words(section) for section in sections}
        self.definite = frozenset(words.pop("definite"))
        self.animate = frozenset(words.pop("animate"))
        self.female = frozenset(words.pop("female"))
        self.male = frozenset(words.pop("male"))
        self.negative = frozenset(words.pop("negative"))
        self.verbs = frozenset(words.pop("verbs"))
        self.seeing = frozenset(words.pop("seeing"))
        self.brands = frozenset(words.pop("brands"))
        self.kin = frozenset(words.pop("kin"))
        self.nounish = frozenset(words.pop("nounish"))
        self.adjectives = frozenset(words.pop("adjectives"))
        self.things = frozenset(words.pop("things"))
        self.masses = frozenset(words.pop("masses"))
        self.thing_plurals = frozenset(map(self.plural, self.things))
        pairs = (entry.partition("=") for entry in words.pop("traits"))
        self.adjective_of = {noun: adjective for noun, _, adjective in pairs}
        self.categories = {name: frozenset(entries) for name, entries in words.items()}
        self.plurals = {self.plural(noun): noun for noun in self.animate}
        self.base_of = {progressive(verb): verb for verb in self.verbs}
        self.base_of |= {self.present(verb): verb for verb in self.verbs}
        self.known = (
            self.definite | self.animate | self.verbs | set(self.plurals) | set(self.base_of)
            | {word for entries in self.categories.values() for word in entries}
        )  # fmt: skip

    @staticmethod
    def _words(section: Section) -> set[str]:
        return {word.strip() for line in section.lines() for word in line.text.split(",") if word.strip()}

    @staticmethod
    def plural(noun: str) -> str:
        """Dragons, puppies, foxes."""
        if noun in _IRREGULAR_PLURALS:
            return _IRREGULAR_PLURALS[noun]
        if noun.endswith("y") and noun[-2:-1] not in "aeiou":
            return noun[:-1] + "ies"
        return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")

    @staticmethod
    def present(verb: str) -> str:
        """Finds, flies, goes."""
        if verb == "have":
            return "has"
        if verb == "be":
            return "is"
        if verb.endswith("y") and verb[-2:-1] not in "aeiou":
            return verb[:-1] + "ies"
        return verb + ("es" if verb.endswith(("s", "x", "ch", "sh", "o")) else "s")

    def category(self, phrase: str) -> str:
        """Returns the topic of an interest, as a key of the scenes; "" where it is unknown."""
        text = phrase.casefold()
        for tail in (text, text.removeprefix("the "), text.rsplit(" ", 1)[-1]):
            for name, entries in self.categories.items():
                if tail in entries:
                    return name
        return ""
