"""The cast of a story: the child, the companion, the place, the moral, and the slots that they fill."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import simplemma

from offline_writer.bands import band_of
from offline_writer.brief import OfflineBrief, clean, clean_name, closed, random_for
from offline_writer.cast import PLOTS, Cast, CastBuilder, Helping, Interest, Stock, called
from offline_writer.english.grammar import (
    Lexicon,
    Person,
    all_lemmas,
    article,
    as_said_by_its_owner,
    in_person,
    is_verb,
    joined,
    lemma,
    number,
)
from offline_writer.english.nouns import Subject, interests, noun_phrase
from offline_writer.english.people import (
    OBJECTS,
    PERSONS,
    Memory,
    People,
    Portrait,
    Room,
    companion_slots,
    hero_companion,
    hero_slots,
    lead_slots,
)
from offline_writer.english.wish import Trouble, Wish, WishReader
from offline_writer.picking import Picker
from offline_writer.stock import Line, Realiser, Section, by_key, capitalised, suits
from offline_writer.suitable import Vocabulary
from offline_writer.topics import TopicReader


@dataclass(frozen=True, slots=True, kw_only=True)
class EnglishCast(Cast):
    """The people, places and things of an English story."""

    name: str
    """The child's, or in a hero story the hero's."""
    minutes: int
    wish: Wish
    portrait: Portrait | None
    """The hero, where there is one."""
    remembers: bool
    """Whether there is anything to say of an earlier story."""


_LINKS = frozenset(
    {"who", ",", "has", "have", "had", "is", "are", "was", "were", "been", "being", "just", "very", "sadly", "suddenly"}
    | {"now", "also", "recently", "in", "the", "a", "an", "on", "at"}
)
"""What may stand between someone and what is said of them."""
_NEGATED = frozenset({"isn't", "isn\u2019t", "went", "gone"})
_TO_COME = frozenset({"die", "dies", "dying", "will", "might", "may", "could", "would", "going", "if", "If"})


def _lemmas(word: str) -> tuple[str, ...]:
    # Of what is misspelled the library knows no form.
    return (lemma(word), re.sub(r"(?<=\w{4})(?:ed|ing|s)$", "", word))


def _place(realm: Section) -> str:
    return realm.fields["place"]


def _named(sections: tuple[Section, ...], text: str) -> Section | None:
    """Returns the section with this name, or whose names occur in it."""
    wanted = f" {clean(text, limit=120).casefold()} "
    for section in sections:
        if wanted.strip() in {section.key, *section.listed("names")}:
            return section
    for section in sections:
        if any(f" {name} " in wanted for name in section.listed("names")):
            return section
    return None


class EnglishCastBuilder(CastBuilder[EnglishCast]):
    """Builds casts from one stock."""

    def __init__(self, stock: Stock, lexicon: Lexicon) -> None:
        super().__init__(
            stock,
            TopicReader(stock["topics"], lemmas=_lemmas, known=lambda word: simplemma.is_known(word, "en")),
            Vocabulary(stock["suitable"], lemmas=all_lemmas, is_name=lexicon.is_name, is_verb=is_verb),
        )
        self._lexicon = lexicon
        self._wishes = WishReader(lexicon)

    def _cast(self, brief: OfflineBrief, *, hard: str, told: str) -> EnglishCast:
        picker = self._picker(brief)
        rng = random_for(brief, "cast")
        room = Room.of(brief)
        people = People.of(brief, room)
        solo = brief.kind == "hero"
        memory = Memory.of(brief.sequel, room, allowed=self._topics.harmless)
        band = band_of(brief.age)
        wish, understood = self._wish(brief, people, memory, rng, room, hard=bool(hard))
        lesson, moral_quoted = self._moral(brief, picker, room=room.phrase, known_before=memory.has)
        realm, theme_quoted = self._realm(brief, memory, picker, room)
        shape = self._shape(brief, picker, plot=PLOTS[type(wish)], hard=hard, realm=realm.key)
        companion = self._companion(realm, picker, memory, avoiding=f"{people.lead} {brief.wish} {told}".casefold())
        if brief.kind == "combined":
            companion = hero_companion(people, by_key(self._stock["heroes"])["companion"])
        lead_likes = brief.hero.interests if solo and brief.hero is not None else brief.interests
        found = interests(lead_likes, self._lexicon, people.person, most=room.interests)
        slots = {
            **lead_slots(people.lead, people.person, brief.age if room.asides else None, solo=solo),
            **setting_slots(shape if "place" in shape.fields else realm),
            **companion_slots(companion, known=_met(companion, memory) and not room.tight),
            **hero_slots(people, people.lead if brief.kind == "combined" else companion.fields["name"]),
            **memory.slots,
            **wish_slots(wish, people.person),
            "solo": people.hero if solo else "", "duo": people.hero if brief.kind == "combined" else "",
            "moraltext": moral_quoted,
            "themetext": theme_quoted,
            "who": "", "whofirst": "", "Whofirst": "",
            "telling": found[0].phrase if found else "home",
            **lesson.fields,
        }  # fmt: skip
        bare = slots["boon"].removeprefix("the ")
        slots["boonas"] = f"{article(bare)} {bare}"
        slots["Boon"] = capitalised(slots["boon"])
        slots["recap"] = f"of the evening and {slots['p']}, of {slots['place']}, and of {slots['boon']}"
        realiser = self._realiser(slots, rng, band, picker)
        for field in ("glow", "echo"):
            slots[field] = realiser.text(lesson.fields[field])
        slots |= self._written(found, realiser, rng, theme_quoted=theme_quoted)
        if brief.theme and "place" in shape.fields:
            drawn = slots["calendar"] or f"All week long {people.lead} had been drawing {realm.fields['place']}."
            slots["loves"] = f"{slots['loves']} {drawn}".strip()
            slots["loves_little"] = f"{slots['loves_little']} {people.lead} dreams of {realm.fields['place']}.".strip()
        if not room.asides:
            slots["calendar_tiny"] = ""
        if room.tight and (theme_quoted or not room.asides or brief.kind == "combined"):
            slots["loves_tiny"] = ""
        portrait = None
        if brief.kind != "child" and brief.hero is not None:
            portrait = Portrait.of(brief.hero, self._lexicon, people.hero_person, room)
            slots["loves_more"] = slots["loves_tiny"] if brief.length_minutes > 1 else ""
            written = {section.key: section.lines() for section in self._stock["heroes"]}
            slots |= introduced(portrait, written, realiser, rng, tiny=brief.length_minutes == 1)
        if brief.kind == "combined" and brief.hero is not None:
            liked = interests(brief.hero.interests, self._lexicon, people.hero_person, most=3)
            slots["hloved"] = joined([one.phrase for one in liked]) if liked else ""
        return EnglishCast(
            kind=brief.kind, band=band, wish=wish, moral=lesson, realm=realm, companion=companion, interests=found,
            slots=slots, name=people.lead, minutes=brief.length_minutes, portrait=portrait,
            remembers=bool(memory.title or memory.detail), picker=picker, understood=understood,
            shape=shape, own_scenes=brief.length_minutes // 4 if brief.theme and band.readers != "youngest" else 99,
        )  # fmt: skip

    def _of_character(self, brief: OfflineBrief) -> bool:
        wish = self._wishes.read(brief.wish, names=(brief.name,), person=PERSONS[brief.gender], default="who slept")
        return isinstance(wish, Helping)

    def _sorrow(self, text: str, brief: OfflineBrief, hard: str) -> Mapping[str, str]:
        words = clean(text, limit=400).replace(",", " , ").split()
        beings = {
            at for at, word in enumerate(words)
            if self._lexicon.singular(re.sub(r"['\u2019]s$", "", word.casefold()))
            in self._lexicon.kin | self._lexicon.animate
        }  # fmt: skip
        own = {word.casefold() for word in brief.name.split()} | {"son", "daughter", "child", "kid", "boy", "girl"}
        person = PERSONS[brief.gender]
        # Of two it is not certain which one is meant, nor of one that may die only in time.
        if len(beings) != 1 or not _TO_COME.isdisjoint(words):
            return {}
        for at, word in enumerate(words):
            starts = word.casefold() in self._lexicon.kin | {"my", "our", "her", "his", "their", "the"}
            behind = next((place for place in range(at + 1, len(words)) if words[place].casefold() in _LINKS), at + 4)
            read = noun_phrase(words[at : min(at + 4, behind)], self._lexicon, person) if starts else None
            if read is None or not read[0].animate or beings.isdisjoint(range(at, at + read[1])):
                continue
            of_another = at > 0 and words[at - 1].casefold().endswith(("'s", "\u2019s"))
            of_child = own.intersection(read[0].first.casefold().split())
            if of_child or of_another or not self._is_of(words, at, at + read[1], hard):
                break
            first = re.sub(r"^(?:an?|the) ", f"{in_person('my', person)} ", read[0].first)
            return {"who": read[0].later, "whofirst": first, "Whofirst": capitalised(first)}
        return {}

    def _is_of(self, words: list[str], at: int, end: int, hard: str) -> bool:
        """Returns whether the topic is said of the one whose words go from `at` to `end`."""

        def holds(some: list[str]) -> bool:
            return hard in self._topics.topics(" ".join(some))

        begins = max((place for place in range(len(words)) if holds(words[place:])), default=-1)
        if begins >= end:
            return all(word.casefold() in _LINKS for word in words[end:begins])
        if begins >= at:
            return all(word.casefold() in _LINKS | _NEGATED for word in words[end : end + 1])
        stops = next(place for place in range(len(words) + 1) if holds(words[:place]))
        return stops > at or [word.casefold() for word in words[stops:at]] == ["of"]

    def _wish(
        self, brief: OfflineBrief, people: People, memory: Memory, rng: random.Random, room: Room, *, hard: bool
    ) -> tuple[Wish, bool]:
        """Returns the wish and whether it is the brief's; else it is one of the stock."""
        told_to = " ".join(clean_name(brief.name).split())
        names = tuple(dict.fromkeys(name for name in (people.lead, people.hero, told_to) if name))
        problems = [line.text for line in self._phrases["problems"]]
        default = rng.choice(problems[:1] if room.tight else problems)
        blank = not clean(brief.wish, limit=240) or self._wishes.names_only(brief.wish, names)
        wish = self._wishes.read(brief.wish, names=names, person=people.person, default=default, room=room.wish)
        if wish is not None and not blank:
            return wish, True
        lines = [line.text for line in self._phrases["wishes"] if suits(line.readers, band_of(brief.age).readers)]
        lines = [line for line in lines if not self._topics.mentions(line, brief.avoid)] or lines
        # A title names its wish: that of the plan is told again, and that of a story heard lately is not.
        titles = [story.title for story in ([brief.outline] if brief.outline else brief.heard) if not hard]
        titled = {line for line in lines if self._topics.mentions(". ".join(titles), [line.partition(" ")[2]])}
        fresh = [line for line in lines if line not in titled and not memory.has(line)]
        picked = rng.choice([line for line in lines if brief.outline and line in titled] or fresh or lines)
        stock = self._wishes.read(picked, names=names, person=people.person, default=default)
        if stock is None:
            msg = f"the stock's own wish is not understood: {picked}"
            raise ValueError(msg)
        return stock, blank

    def _realm(self, brief: OfflineBrief, memory: Memory, picker: Picker, room: Room) -> tuple[Section, str]:
        realms = self._stock["themes"]
        text = clean(brief.theme, limit=80)
        named = _named(realms, text)
        if not text:
            fresh = [realm for realm in realms if not memory.has(realm.fields["place"])]
            return picker.one(fresh or realms, _place), ""
        if text.casefold() in {realm.key for realm in realms}:
            return next(realm for realm in realms if realm.key == text.casefold()), ""
        indoors = tuple(realm for realm in realms if realm.key not in {"school", "pirates"})
        return named or picker.one(indoors, _place), closed(brief.theme, limit=room.phrase)

    def _companion(self, realm: Section, picker: Picker, memory: Memory, *, avoiding: str) -> Section:
        known = by_key(self._stock["companions"])
        friend = next((section for section in known.values() if _met(section, memory)), None)
        if friend is not None and friend.fields["name"].casefold() not in avoiding:
            return friend
        near = [known[key] for key in realm.listed("pals")]
        everybody = near + [section for key, section in known.items() if key not in realm.listed("pals")]
        free = [
            section for section in everybody
            if section.fields["kind"] not in avoiding and section.fields["name"].casefold() not in avoiding
        ]  # fmt: skip
        close = [section for section in free if section in near]
        return picker.one(close or free or near, called)

    def _written(
        self, found: tuple[Interest, ...], realiser: Realiser, rng: random.Random, *, theme_quoted: str
    ) -> dict[str, str]:
        """Returns the sentences about interests and theme; empty where there are none."""
        loved = {"loved": joined([one.phrase for one in found]), "count": number(len(found))} if found else {}
        many = "loves_many" if len(found) > 1 else "loves_one"
        return {
            "loves": realiser.text(rng.choice(self._phrases[many]).text, loved) if found else "",
            "loves_tiny": realiser.text(self._phrases["loves_tiny"][0].text, loved) if found else "",
            "loves_little": realiser.text(self._phrases["loves_little"][0].text, loved) if found else "",
            "calendar": realiser.text(self._phrases["calendar"][0].text) if theme_quoted else "",
            "calendar_tiny": realiser.text(self._phrases["calendar_tiny"][0].text) if theme_quoted else "",
        }


def _met(companion: Section, memory: Memory) -> bool:
    return memory.has(companion.fields["name"]) and (companion.key == "hero" or memory.has(companion.fields["kind"]))


def setting_slots(realm: Section) -> dict[str, str]:
    """The realm, its gate, its keeper and its small one."""
    khe = realm.fields["khe"]
    khim, khis = OBJECTS[khe]
    keeper = realm.fields["keeper"]
    names = ("place", "light", "gatea", "gate", "keepera", "smalla", "small", "end")
    kept = {name: realm.fields[name] for name in names}
    capitals = {"Gate": capitalised(kept["gate"]), "Keeper": capitalised(keeper), "Small": capitalised(kept["small"])}
    bare = kept["small"].removeprefix("the ")
    return {
        **kept, **capitals, "smallas": f"{article(bare)} {bare}", "keeper": keeper,
        "khe": khe, "khim": khim, "khis": khis, "refrain": realm.fields.get("refrain", ""),
    }  # fmt: skip


def wish_slots(wish: Wish, person: Person) -> dict[str, str]:
    """What is wished, in the persons and tenses that the stories need."""
    if isinstance(wish, Helping):
        return _helping(wish)
    slots = {"q": in_person(wish.deed, person), "qd": in_person(wish.deed, "you"), "qme": wish.deed, "far": "the wish"}
    slots |= {"aim": slots["q"], "aimd": slots["qd"], "aimme": slots["qme"]}
    if wish.seen is not None:
        slots |= {
            "np": wish.seen.first, "npwas": "were" if wish.seen.plural else "was",
            "npis": "are" if wish.seen.plural else "is",
            "Npit": "They" if wish.seen.plural else "It", "npobj": "them" if wish.seen.plural else "it",
            "far": wish.seen.later,
        }  # fmt: skip
    return slots


def _helping(wish: Helping[Subject, Trouble]) -> dict[str, str]:
    who, trouble = wish.who, wish.trouble
    it, its = who.pronoun
    comma = "," if who.proper else ""
    own = {"I": "we", "my": "our", "me": "us", "myself": "ourselves", "am": "are"} if who.plural else {
        "I": "I", "my": "my", "me": "me", "myself": "myself", "am": "am"}  # fmt: skip
    return {
        "w": who.later, "W": capitalised(who.later), "wit": it, "wits": its,
        "wwas": "were" if who.plural else "was",
        "ws": "" if who.plural else "s", "wis": "are" if who.plural else "is", "whas": "have" if who.plural else "has",
        "wpast": f"{who.later}{comma} who {trouble.past}",
        "wfullis": f"{who.first}{comma} who {trouble.now}",
        "wbare": who.later, "far": who.later,
        **dict.fromkeys(("aim", "aimd", "aimme"), f"help {who.first}{comma} who {trouble.now}"),
        "wfull": f"{who.first}{comma} who {trouble.past}", "wfullnow": f"{who.later}{comma} who {trouble.now}",
        "vp": trouble.detail, "vpme": as_said_by_its_owner(trouble.detail, plural=who.plural),
        "lost": trouble.detail, "fear": trouble.detail, "adj": trouble.detail, **own,
    }  # fmt: skip


def introduced(
    portrait: Portrait, stock: Mapping[str, Sequence[Line]], realiser: Realiser, rng: random.Random, *, tiny: bool
) -> dict[str, str]:
    """Returns slots, empty without text; `tiny` for a story with room for only look and strength.

    `intro` says both in one sentence, `traits_more` is empty where there is no room for it.
    """
    frame, look = ("had", portrait.had) if portrait.had else ("was", portrait.was)
    strengths = portrait.strengths
    parts = {
        "look": look,
        "traits": joined(portrait.traits) if portrait.traits else "",
        "strengths": joined(strengths) if strengths else "",
    }

    def line(key: str, *, given: object) -> str:
        # The first is the shortest.
        return realiser.text((stock[key][0] if tiny else rng.choice(stock[key])).text, parts) if given else ""

    traits = line("traits_was", given=portrait.traits)
    seen = line(f"look_{frame}", given=look)
    known = line(f"intro_{frame}" if look and strengths else "power_tiny", given=strengths)
    return {
        "look": seen,
        "traits": traits,
        "traits_more": "" if tiny else traits,
        "power": line("power_many" if len(strengths) > 1 else "power_one", given=strengths),
        "intro": known or seen,
        "looknp": portrait.had,
        "strength": strengths[0] if strengths else "",
    }
