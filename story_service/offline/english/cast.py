"""Who and what a story is made of: the child, the companion, the place, the moral, and the slots they fill."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from story_service.offline.brief import OfflineBrief
from story_service.offline.cleaning import clean, clean_name, closed
from story_service.offline.english.interests import Interest, interests
from story_service.offline.english.lexicon import Lexicon
from story_service.offline.english.phrases import (
    Person,
    article,
    as_said_by_its_owner,
    in_person,
    joined,
    number,
    possessive,
    years,
)
from story_service.offline.english.wish import Helping, Quest, Wish, WishReader
from story_service.offline.realising import AgeBand, Realiser, age_band
from story_service.offline.seeding import random_for
from story_service.offline.stock import Section

Stock = Mapping[str, tuple[Section, ...]]

_PERSONS: Mapping[str, Person] = {"female": "her", "male": "him", "": "them"}
_PRONOUNS: Mapping[Person, tuple[str, str, str, str]] = {
    "her": ("she", "her", "her", "herself"),
    "him": ("he", "him", "his", "himself"),
    "them": ("they", "them", "their", "themself"),
}
_NOUNS: Mapping[Person, str] = {"her": "girl", "him": "boy", "them": "child"}
_OBJECTS = {"he": ("him", "his"), "she": ("her", "her"), "it": ("it", "its")}


@dataclass(frozen=True, slots=True)
class _Room:
    """How much of the caller's own words fits in: a story of one minute has 150 for everything."""

    name: int
    name_words: int
    phrase: int
    wish: int
    interests: int

    @classmethod
    def of(cls, brief: OfflineBrief) -> Self:
        """By the length asked for; characters, except where it says words or counts."""
        if brief.length_minutes <= 1:
            return cls(name=24, name_words=1, phrase=40, wish=60, interests=3)
        return cls(name=40, name_words=3, phrase=120, wish=110, interests=5)


@dataclass(frozen=True, slots=True)
class Cast:
    """What the brief decides, before a line of the story is chosen."""

    name: str
    band: AgeBand
    wish: Wish
    moral: Section
    moral_quoted: str
    """Free text given as a moral, closed as a sentence; "" for a well-known one."""
    realm: Section
    theme_quoted: str
    """Likewise for the theme."""
    companion: Section
    interests: tuple[Interest, ...]
    slots: Mapping[str, str]


def _named(sections: tuple[Section, ...], text: str) -> Section | None:
    """The section that goes by this name, or whose names occur in it."""
    wanted = f" {clean(text, limit=120).casefold()} "
    for section in sections:
        if wanted.strip() in {section.key, *section.listed("names")}:
            return section
    for section in sections:
        if any(f" {name} " in wanted for name in section.listed("names")):
            return section
    return None


class Casting:
    """Casts stories from one stock."""

    def __init__(self, stock: Stock, lexicon: Lexicon) -> None:
        self._stock = stock
        self._lexicon = lexicon
        self._wishes = WishReader(lexicon)
        self._phrases = {section.key: section.lines() for section in stock["phrases"]}
        simpler = (line.text.partition("=") for line in self._phrases["simple"])
        self._simpler = {word.strip(): simple.strip() for word, _, simple in simpler}

    def realiser(self, cast: Cast, rng: random.Random) -> Realiser:
        """For the lines of one story."""
        return Realiser(cast.slots, rng, cast.band, simpler=self._simpler)

    def cast(self, brief: OfflineBrief, *, told: str = "") -> Cast:
        """The same for the same brief. A companion whose name is in `told` is somebody else there."""
        rng = random_for(brief, "cast")
        person = _PERSONS[brief.gender]
        room = _Room.of(brief)
        name = " ".join(clean_name(brief.name, limit=room.name).split()[: room.name_words]) or "Little One"
        band = age_band(brief.age)
        wish = self._wishes.read(
            brief.wish if clean(brief.wish, limit=240) else rng.choice(self._phrases["wishes"]).text,
            name=name, person=person, default_problem=rng.choice(self._phrases["problems"]).text, room=room.wish,
        )  # fmt: skip
        moral, moral_quoted = self._moral(brief, rng, room)
        realm, theme_quoted = self._realm(brief, rng, room)
        companion = self._companion(realm, rng, avoiding=f"{name} {brief.wish} {told}".casefold())
        found = interests(brief.interests, self._lexicon, person, most=room.interests)
        slots = {
            **_child(name, person, brief.age),
            **_setting(realm),
            **_companion(companion),
            **_wish(wish, person, self._lexicon),
            "moraltext": moral_quoted,
            "themetext": theme_quoted,
            "telling": found[0].phrase if found else "home",
            **moral.fields,
        }
        bare = slots["boon"].removeprefix("the ")
        slots["boonas"] = f"{article(bare)} {bare}"
        slots["Boon"] = slots["boon"][:1].upper() + slots["boon"][1:]
        slots["recap"] = f"of the window and {slots['p']}, of {slots['place']}, and of {slots['boon']}"
        realiser = Realiser(slots, rng, band, simpler=self._simpler)
        for field in ("glow", "echo", "gist"):
            slots[field] = realiser.text(moral.fields[field])
        slots |= self._written(found, realiser, rng, theme_quoted=theme_quoted)
        return Cast(name, band, wish, moral, moral_quoted, realm, theme_quoted, companion, found, slots)

    def _moral(self, brief: OfflineBrief, rng: random.Random, room: _Room) -> tuple[Section, str]:
        morals: dict[str, list[Section]] = {}
        for section in self._stock["morals"]:
            morals.setdefault(section.key.partition(".")[0], []).append(section)
        others = morals.pop("other")
        text = clean(brief.moral, limit=120).casefold()
        known = next((key for key, scenes in morals.items() if text in {key, *scenes[0].listed("names")}), "")
        if known or not text:
            return rng.choice(morals[known or rng.choice(sorted(morals))]), ""
        return others[0], closed(brief.moral, limit=room.phrase)

    def _realm(self, brief: OfflineBrief, rng: random.Random, room: _Room) -> tuple[Section, str]:
        realms = self._stock["themes"]
        text = clean(brief.theme, limit=80)
        if not text:
            return rng.choice(realms), ""
        if text.casefold() in {realm.key for realm in realms}:
            return next(realm for realm in realms if realm.key == text.casefold()), ""
        indoors = tuple(realm for realm in realms if realm.key not in {"school", "pirates"})
        return _named(realms, text) or rng.choice(indoors), closed(brief.theme, limit=room.phrase)

    def _companion(self, realm: Section, rng: random.Random, *, avoiding: str) -> Section:
        known = {section.key: section for section in self._stock["companions"]}
        near = [known[key] for key in realm.listed("pals")]
        everybody = near + [section for key, section in known.items() if key not in realm.listed("pals")]
        free = [
            section for section in everybody
            if section.fields["kind"] not in avoiding and section.fields["name"].casefold() not in avoiding
        ]  # fmt: skip
        close = [section for section in free if section in near]
        return rng.choice(close or free or near)

    def _written(
        self, found: tuple[Interest, ...], realiser: Realiser, rng: random.Random, *, theme_quoted: str
    ) -> dict[str, str]:
        """The sentences about interests and theme; empty where there is nothing to say."""
        loved = {"loved": joined([one.phrase for one in found]), "count": number(len(found))} if found else {}
        many = "loves_many" if len(found) > 1 else "loves_one"
        return {
            "loves": realiser.text(rng.choice(self._phrases[many]).text, loved) if found else "",
            "loves_tiny": realiser.text(self._phrases["loves_tiny"][0].text, loved) if found else "",
            "calendar": realiser.text(self._phrases["calendar"][0].text) if theme_quoted else "",
            "calendar_tiny": realiser.text(self._phrases["calendar_tiny"][0].text) if theme_quoted else "",
        }


def _child(name: str, person: Person, age: int | None) -> dict[str, str]:
    they, them, their, themself = _PRONOUNS[person]
    return {
        "c": name, "cs": possessive(name), "they": they, "They": they.capitalize(), "them": them, "their": their,
        "Their": their.capitalize(), "themself": themself, "was": "were" if person == "them" else "was",
        "childnoun": _NOUNS[person], "aged": "" if age is None else years(age),
    }  # fmt: skip


def _setting(realm: Section) -> dict[str, str]:
    khe = realm.fields["khe"]
    khim, khis = _OBJECTS[khe]
    keeper = realm.fields["keeper"]
    names = ("place", "light", "gatea", "gate", "keepera", "smalla", "small", "end")
    kept = {name: realm.fields[name] for name in names}
    capitals = {"Keeper": keeper[:1].upper() + keeper[1:], "Small": kept["small"][:1].upper() + kept["small"][1:]}
    return {**kept, **capitals, "keeper": keeper, "khe": khe, "khim": khim, "khis": khis}


def _companion(companion: Section) -> dict[str, str]:
    he = companion.fields["he"]
    him, his = _OBJECTS[he]
    name, kind = companion.fields["name"], companion.fields["kind"]
    return {
        "p": name, "ps": possessive(name), "pala": companion.fields["a"], "hello": companion.fields["hello"],
        "palk": f"{article(kind)} {kind}", "grip": companion.fields["grip"],
        "he": he, "him": him, "his": his, "He": he.capitalize(),
    }  # fmt: skip


def _wish(wish: Wish, person: Person, lexicon: Lexicon) -> dict[str, str]:
    if isinstance(wish, Helping):
        return _helping(wish, lexicon)
    if isinstance(wish, Quest):
        slots = {"q": in_person(wish.verb_phrase, person), "qd": in_person(wish.verb_phrase, "you"),
                 "qme": wish.verb_phrase, "far": "the wish"}  # fmt: skip
        if wish.seen is not None:
            slots |= {
                "np": wish.seen.first, "npwas": "were" if wish.seen.plural else "was",
                "Npit": "They" if wish.seen.plural else "It", "npobj": "them" if wish.seen.plural else "it",
                "far": wish.seen.later,
            }  # fmt: skip
        return slots
    return {"wishtext": wish.text, "far": "the wish"}


def _helping(wish: Helping, lexicon: Lexicon) -> dict[str, str]:
    who, trouble = wish.who, wish.trouble
    it, _, its = who.pronoun(lexicon)
    comma = "," if who.proper else ""
    own = {"I": "we", "my": "our", "me": "us", "myself": "ourselves", "am": "are"} if who.plural else {
        "I": "I", "my": "my", "me": "me", "myself": "myself", "am": "am"}  # fmt: skip
    return {
        "w": who.later, "W": who.later[:1].upper() + who.later[1:], "wit": it, "wits": its,
        "wwas": "were" if who.plural else "was", "wbare": who.later, "far": who.later,
        "wfull": f"{who.first}{comma} who {trouble.past}", "wfullnow": f"{who.later}{comma} who {trouble.now}",
        "vp": trouble.detail, "vpme": as_said_by_its_owner(trouble.detail, plural=who.plural),
        "lost": trouble.detail, "fear": trouble.detail, "adj": trouble.detail, **own,
    }  # fmt: skip
