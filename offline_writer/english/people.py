"""The people of a story as slots of the stock, and what a sequel remembers of its parent."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from offline_writer.brief import Gender, OfflineBrief, Parent, Protagonist, clean, clean_name
from offline_writer.english.grammar import Lexicon, Person, article, in_person, possessive, progressive, years
from offline_writer.english.nouns import noun_phrase
from offline_writer.stock import Section, capitalised

PERSONS: Mapping[Gender, Person] = {"female": "her", "male": "him", "": "them"}
_PRONOUNS: Mapping[Person, tuple[str, str, str, str]] = {
    "her": ("she", "her", "her", "herself"),
    "him": ("he", "him", "his", "himself"),
    "them": ("they", "them", "their", "themself"),
}
_NOUNS: Mapping[Person, str] = {"her": "girl", "him": "boy", "them": "child"}
OBJECTS = {"he": ("him", "his"), "she": ("her", "her"), "it": ("it", "its"), "they": ("them", "their")}
_BYNAME = re.compile(r"\s+(?:of|from|the|with|and)\s+", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:the|an?)\s+(?=\w)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Room:
    """Room for the caller's own words: a story of one minute has 150 words in all."""

    name: int
    name_words: int
    hero_words: int
    phrase: int
    wish: int
    interests: int
    look: int
    strengths: int
    title: int
    detail: int
    asides: bool
    """Room for the age, the calendar and the listener beside everything else."""
    tight: bool
    """A hero or an earlier story has to fit into one minute."""

    @classmethod
    def of(cls, brief: OfflineBrief) -> Self:
        """Returns the room for the requested length; characters, except for words and counts."""
        if brief.length_minutes > 1:
            return cls(40, 3, 4, 120, 110, 5, 160, 3, 90, 200, asides=True, tight=False)
        told_of = len(brief.features)
        rooms = ((2, 40, 60, 3, 40, 1, 40, 45), (2, 32, 40, 2, 32, 1, 40, 45), (1, 24, 40, 1, 24, 1, 40, 28))
        return cls(24, 1, *rooms[told_of], asides=told_of < 2, tight=told_of > 0)


@dataclass(frozen=True, slots=True)
class People:
    """Names and genders of the people."""

    lead: str
    """The one that the story is about: the child, or in a hero story the hero."""
    person: Person
    hero: str
    """"" where there is none."""
    hero_person: Person
    listener: str
    """In a hero story the child; "" where the hero has the same name."""

    @classmethod
    def of(cls, brief: OfflineBrief, room: Room) -> Self:
        """Returns cleaned names, cut to their room, and distinct."""
        child = " ".join(clean_name(brief.name, limit=room.name).split()[: room.name_words]) or "Little One"
        person = PERSONS[brief.gender]
        if brief.kind == "child" or brief.hero is None:
            return cls(child, person, "", "them", "")
        given = clean_name(_ARTICLE.sub("", clean_name(brief.hero.name, limit=60)), limit=60)
        hero = _cut(given, room.hero_words) or "Captain Wonder"
        hero_person = PERSONS[brief.hero.gender]
        same = hero.casefold() == child.casefold()
        if brief.kind == "hero":
            return cls(hero, hero_person, hero, hero_person, child if room.asides and not same else "")
        return cls(child, person, f"Captain {hero}" if same else hero, hero_person, "")


def _cut(name: str, most: int) -> str:
    """Robin of the Seven Woods is Robin, and the Brave Little Toaster the Little Toaster, where room is scarce."""
    if len(name.split()) <= most:
        return name
    core = _BYNAME.split(name, maxsplit=1)[0]
    words = [word for word in core.split() if not word[:1].isdigit()] or core.split()
    return " ".join(words[-most:])


def lead_slots(name: str, person: Person, age: int | None, *, solo: bool) -> dict[str, str]:
    """Returns the slots of the main character; `solo` is a hero without age and childhood."""
    they, them, their, themself = _PRONOUNS[person]
    return {
        "c": name, "cs": possessive(name), "they": they, "They": they.capitalize(), "them": them, "their": their,
        "Their": their.capitalize(), "themself": themself, "was": "were" if person == "them" else "was",
        "childnoun": "child" if solo else _NOUNS[person], "aged": "" if age is None or solo else years(age),
    }  # fmt: skip


def companion_slots(companion: Section, *, known: bool) -> dict[str, str]:
    """Returns the slots of the companion; `known` from an earlier story."""
    he = companion.fields["he"]
    him, his = OBJECTS[he]
    name, kind = companion.fields["name"], companion.fields["kind"]
    slots = {
        "p": name, "ps": possessive(name), "pala": companion.fields["a"], "hello": companion.fields["hello"],
        "palk": f"{article(kind)} {kind}" if companion.key != "hero" else kind, "grip": companion.fields["grip"],
        "he": he, "him": him, "his": his, "He": he.capitalize(),
    }  # fmt: skip
    if known and companion.key == "hero":
        slots["hello"] = "Here I am again, and I came as fast as I could"
    elif known:
        slots |= {
            "pala": f"{name}, as large as life", "palk": f"the {kind} from the other time",
            "hello": f"It is I again, {name}, and I have missed you",
        }  # fmt: skip
    return slots


def hero_companion(people: People, pattern: Section) -> Section:
    """Returns the hero in the companion's part; `pattern` has the remarks on the way."""
    he = _PRONOUNS[people.hero_person][0]
    fields = {**pattern.fields, "name": people.hero, "he": he}
    fields |= {field: text.replace("{h}", people.hero) for field, text in fields.items()}
    return Section("hero", MappingProxyType(fields), pattern.bodies)


def hero_slots(people: People, other: str) -> dict[str, str]:
    """Returns the slots of the hero, of `other` beside the hero, and of the listener."""
    they, them, their, _ = _PRONOUNS[people.hero_person]
    return {
        "h": people.hero, "hs": possessive(people.hero) if people.hero else "", "l": people.listener,
        "ls": possessive(people.listener) if people.listener else "", "s": people.hero,
        "ss": possessive(people.hero) if people.hero else "", "sthey": they, "Sthey": they.capitalize(),
        "sthem": them, "stheir": their, "o": other, "os": possessive(other),
    }  # fmt: skip


_SENTENCE = re.compile(r"(?<=[.!?\u2026])[\"\u201d\u2019']*\s+")
_MARKS = frozenset("!?\u2026")


@dataclass(frozen=True, slots=True)
class Memory:
    """What a sequel remembers of the story before it, as quotations; "" for nothing."""

    title: str = ""
    detail: str = ""
    other_detail: str = ""
    source: str = ""
    """Title and text, folded: what the new story need not have again."""

    @classmethod
    def of(cls, sequel: Parent | None, room: Room, *, allowed: Callable[[str], bool] = lambda _: True) -> Self:
        """Returns the title and the first two `allowed` sentences that are not empty; a long one is cut."""
        if sequel is None:
            return cls()
        sentences = _SENTENCE.split(sequel.text[:2000])[:8]
        kept = (_quoted(part, room.detail) for part in sentences if allowed(part))
        details = [*dict.fromkeys(part for part in kept if part), "", ""]
        title = clean(sequel.title, limit=room.title)
        if room.tight and title and details[0].endswith("\u2026"):
            # A few words that trail off tell nothing that the title does not, and the story needs their room.
            details[0] = ""
        return cls(
            title=title,
            detail=details[0],
            other_detail=details[1],
            source=f"{sequel.title} {sequel.text}".casefold(),
        )

    def has(self, text: str) -> bool:
        """Returns whether that story mentions it."""
        return bool(text) and re.search(rf"\b{re.escape(text.casefold())}\b", self.source) is not None

    @property
    def slots(self) -> dict[str, str]:
        """The slots of the stock."""
        return {"ptitle": self.title, "pdetail": self.detail, "pdetail2": self.other_detail}


def _quoted(text: str, limit: int) -> str:
    whole = clean(text, limit=4000)
    body = clean(text, limit=limit)
    if not any(char.isalnum() for char in body):
        return ""
    if body != whole:
        return body + "\u2026"
    last = text.rstrip().rstrip("\"\u201d\u2019'")[-1:]
    return capitalised(body) + (last if last in _MARKS else ".")


@dataclass(frozen=True, slots=True)
class Portrait:
    """What of a hero can be told; what has unknown words is left out."""

    had: str = ""
    """"a red cape and silver boots"."""
    was: str = ""
    """"tall", "a small robot with one wheel"."""
    traits: tuple[str, ...] = ()
    """Each can stand after "was"."""
    strengths: tuple[str, ...] = ()
    """Each can stand after "known for"."""

    @classmethod
    def of(cls, hero: Protagonist, lexicon: Lexicon, person: Person, room: Room) -> Self:
        """Reads appearance, traits and strengths."""
        had, was = "", ""
        looks = re.split(r"[.!?;:(]", clean(hero.appearance, limit=160))[0]
        for part in re.split(r",? and |, ", _SAID.sub("", looks)):
            read = noun_phrase(part.split(), lexicon, person)
            if read is not None and read[1] == len(part.split()) and len(had + was + part) <= room.look:
                phrase = read[0].first.removeprefix("some ")
                if read[0].animate and not had and not was:
                    was = phrase
                elif not read[0].animate:
                    had = f"{had} and {phrase}" if had else phrase
            elif lexicon.is_adjective(part.casefold()) and not had:
                was = f"{was} and {part.casefold()}" if was else part.casefold()
        given = (clean(text, limit=60).casefold() for text in hero.personality_traits)
        traits = (lexicon.adjective_of.get(text, text) for text in given)
        strengths = (_known_for(clean(text, limit=60), lexicon, person) for text in hero.strengths)
        return cls(
            had=had.replace(" and ", ", ", had.count(" and ") - 1) if had else "",
            was=was,
            traits=tuple(dict.fromkeys(filter(lexicon.is_adjective, traits)))[: room.strengths],
            strengths=tuple(dict.fromkeys(filter(None, strengths)))[: room.strengths],
        )


_SAID = re.compile(
    r"^(?:(?:he|she|they|it)(?:\u2019s|\u2019re)? )?"
    r"(?:(?:is|are|was|has|have|had|having|with|wears?|wore|wearing|dressed in|in) )?",
    re.IGNORECASE,
)
_ABLE = re.compile(
    r"^(?:(?:he|she|they|it|i) )?(?:(?:always|never|often) )?(?:can |could |(?:is |are |be |being )?able to "
    r"|knows? how to |(?:the |a )?(?:power|ability|gift|talent|skill) (?:to|of|for) |to )?",
    re.IGNORECASE,
)


def _known_for(text: str, lexicon: Lexicon, person: Person) -> str:
    words = _ABLE.sub("", text).casefold().split()
    if not 0 < len(words) <= 6:
        return ""
    phrase = " ".join(words)
    verb = lexicon.verb(words[0])
    if verb and (words[0] not in lexicon.nounish or len(words) > 1 or text.casefold() != phrase):
        return in_person(" ".join([progressive(verb), *words[1:]]), person)
    if lexicon.is_adjective(phrase):
        return f"being {phrase}"
    read = noun_phrase(words, lexicon, person)
    mass = read is not None and read[0].head in lexicon.masses
    return "" if read is None else phrase if mass else read[0].first.removeprefix("some ")
