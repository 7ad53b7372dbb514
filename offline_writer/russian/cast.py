"""The cast of a story: the child, the companion, the place, the moral, and the slots that they fill."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from offline_writer.bands import band_of
from offline_writer.brief import OfflineBrief, clean, clean_name, closed, random_for
from offline_writer.cast import PLOTS, Cast, CastBuilder, Helping, Stock, called
from offline_writer.picking import Picker
from offline_writer.russian.grammar import (
    Agreement,
    Forms,
    Gender,
    Morphology,
    about,
    case_slots,
    listed,
    quoted,
    to,
    with_,
)
from offline_writer.russian.interests import InterestReader, named
from offline_writer.russian.names import Child, as_companion, child, described, hero
from offline_writer.russian.nouns import NounReader
from offline_writer.russian.wish import Trouble, TroubleKind, Wish, WishReader
from offline_writer.stock import Section, by_key, capitalised
from offline_writer.suitable import Vocabulary
from offline_writer.topics import TopicReader

_CASED = ("gate", "keeper", "small")
_PLAIN = ("place", "to", "in", "smalla", "keepera", "end_to", "end_in")
_TROUBLES: tuple[TroubleKind, ...] = ("sleep", "lonely", "trait")
"""What may trouble a character of which the wish says nothing."""
_GENDERS: Mapping[str, Gender] = {"m": "m", "f": "f"}


class _Room(NamedTuple):
    """Room for the caller's own words: characters, except for words and counts."""

    name: int = 40
    name_words: int = 3
    phrase: int = 120
    wish: int = 110
    interests: int = 5


_TIGHT = _Room(name=24, name_words=1, phrase=40, wish=60, interests=3)
"""In a story of one minute, which has 150 words in all."""


class RussianCastBuilder(CastBuilder[Cast]):
    """Builds casts from one stock."""

    def __init__(self, stock: Stock, morphology: Morphology) -> None:
        topics = TopicReader(
            stock.get("topics", ()),
            lemmas=morphology.lemmas,
            known=morphology.knows,
        )
        super().__init__(
            stock, topics, Vocabulary(stock["suitable"], lemmas=morphology.lemmas, is_name=morphology.is_name)
        )
        self._morphology = morphology
        self._agreement = Agreement(stock["grammar"])
        nouns = NounReader(morphology, stock["grammar"])
        self._wishes = WishReader(morphology, nouns, stock["grammar"])
        self._interests = InterestReader(morphology, nouns, stock["lexicon"])

    def _of_character(self, brief: OfflineBrief) -> bool:
        wish = self._wishes.read(brief.wish, name=brief.name)
        return isinstance(wish, Helping) and ("котор" in brief.wish or not wish.trouble.clause)

    def _cast(self, brief: OfflineBrief, *, hard: str, told: str) -> Cast:
        picker = self._picker(brief)
        rng = random_for(brief, "cast")
        room = _TIGHT if brief.length_minutes <= 1 else _Room()
        # The story that comforts is about the child.
        brief = replace(brief, kind="child") if hard else brief
        name = " ".join(
            capitalised(part) for part in clean_name(brief.name, limit=room.name).split()[: room.name_words]
        )
        solo = brief.hero if brief.kind == "hero" else None
        who, portrait = (
            child(name, brief.gender, brief.age, self._morphology),
            {"looks": "", "qualities": "", "hero": ""},
        )
        called_hero = None
        if brief.hero is not None and brief.kind != "child":
            one = hero(brief.hero, self._morphology, room=room.name, words=room.name_words + 1)
            who, called_hero = (one, None) if solo else (who, one)
            liked = () if solo else brief.hero.interests
            portrait |= described(brief.hero, (*brief.hero.personality_traits, *brief.hero.strengths, *liked))
        read = self._wishes.read(brief.wish, name=name, room=room.wish)
        stock = rng.sample(self._phrases["wishes"], len(self._phrases["wishes"]))
        given = (self._wishes.read(line.text, name=name) for line in stock)
        wish: Wish = next(one for one in (read, *given) if one is not None)
        kind = rng.choice(_TROUBLES)
        if isinstance(wish, Helping) and not wish.trouble.clause and kind != "trait":
            whom = self._agreement.slots(wish.who.gender)["которому"]
            wish = Helping(wish.who, Trouble(kind, f"{whom} {self._phrases[f'problems_{kind}'][0].text}"))
        shape = self._shape(brief, picker, plot=PLOTS[type(wish)], hard=hard)
        moral, moral_quoted = self._moral(brief, picker, room=room.phrase)
        realm, theme_quoted = self._realm(brief, picker, room)
        before = f"{brief.sequel.title} {brief.sequel.text}" if brief.sequel else ""
        met = self._met(before)
        if called_hero is not None:
            companion = as_companion(called_hero, by_key(self._stock["heroes"])["with_child"])
            portrait["hero"] = called_hero.name
        else:
            avoiding = f"{who.name} {brief.wish} {told}".casefold()
            companion = met or self._companion(realm, picker, shape, avoiding=avoiding)
        interests = brief.interests if solo is None else solo.interests
        found = self._interests.all(interests, most=room.interests)
        slots = {
            **self._lead(who, None if solo else brief.age),
            # Spoken to in the nominative, which every name has; not where the hero is called the same.
            "l": name if solo and name.casefold() != who.name.casefold() else "",
            **_setting(shape if "gate" in shape.fields else realm),
            **self._cased("p", listed(companion.fields["name"]), _GENDERS[companion.fields["gender"]], "_p"),
            "who": companion.fields["who"],
            "pfirst": companion.fields.get("first") or listed(companion.fields["name"])["nom"],
            "hello": self._phrases["again"][0].text if met and called_hero is None else companion.fields["hello"],
            **portrait,
            **self._wish(wish),
            **case_slots("boon", listed(moral.fields["boon"])),
            "moraltext": quoted(moral_quoted), "themetext": quoted(theme_quoted),
        }  # fmt: skip
        band = band_of(brief.age)
        realiser = self._realiser(slots, rng, band, picker)
        # A gift that was heard of lately gives no light again.
        slots |= {
            field: "" if picker.in_short(moral) else realiser.text(moral.fields[field]) for field in ("glow", "echo")
        }
        slots["arrive"] = realiser.text(shape.fields.get("arrive", self._phrases["arrive"][0].text))
        loved = {"loved": named(found)} if found else {}
        lines = [line for line in self._phrases["loves"] if realiser.suits(line)]
        slots["loves"] = realiser.text(rng.choice(lines).text, loved) if loved else ""
        slots["loves_tiny"] = realiser.text(lines[0].text, loved) if loved else ""
        previous = clean(brief.sequel.title, limit=room.phrase) if brief.sequel else ""
        remembered = {section.key: section.lines() for section in self._stock["heroes"]} if solo else self._phrases
        for slot in ("sequel", "sequel_tiny"):
            titled, untitled = remembered[f"solo_{slot}" if solo else slot]
            line = (titled if previous else untitled).text if brief.sequel else ""
            slots[slot] = realiser.text(line, {"previous": previous})
        for slot in ("calendar", "calendar_tiny"):
            slots[slot] = realiser.text(self._phrases[slot][0].text) if theme_quoted else ""
        return Cast(
            kind=brief.kind, band=band, wish=wish, moral=moral, realm=realm, companion=companion,
            interests=found, slots=slots, picker=picker, shape=shape,
            understood=read is not None or not clean(brief.wish, limit=240),
        )  # fmt: skip

    def _cased(self, prefix: str, forms: Forms, gender: Gender, suffix: str) -> dict[str, str]:
        prepositions = {
            f"with_{prefix}": f"{with_(forms['ins'])} {forms['ins']}",
            f"to_{prefix}": f"{to(forms['dat'])} {forms['dat']}",
            f"about_{prefix}": f"{about(forms['loc'])} {forms['loc']}",
        }
        return {**case_slots(prefix, forms), **prepositions, **self._agreement.slots(gender, suffix)}

    def _lead(self, who: Child, age: int | None) -> dict[str, str]:
        told = self._phrases["years"]
        years = told[age - 1].text if age is not None and 0 < age <= len(told) else ""
        return {
            **self._cased("c", who.cases, who.gender, ""),
            **case_slots("kid", who.noun),
            "name": who.name,
            "first": who.first,
            "was_years": f"{'был' if years.endswith('год') else 'было'} {years}" if years else "",
            "years": years,
        }

    def _realm(self, brief: OfflineBrief, picker: Picker, room: _Room) -> tuple[Section, str]:
        realms = self._stock["themes"]
        text = clean(brief.theme, limit=80).casefold()
        if not text:
            return picker.one(realms, _place), ""
        for realm in realms:
            if text in {realm.key, *realm.listed("exactly")}:
                return realm, ""
        lemmas = {word.lemma for part in text.split() for word in self._morphology.words(part)} | {*text.split()}
        named = [realm for realm in realms if not lemmas.isdisjoint({realm.key, *realm.listed("names")})]
        anywhere = [realm for realm in realms if realm.key not in {"school", "pirates"}]
        return (named[0] if named else picker.one(anywhere, _place)), closed(brief.theme, limit=room.phrase)

    def _companion(self, realm: Section, picker: Picker, shape: Section, *, avoiding: str) -> Section:
        every = by_key(self._stock["companions"])
        if "companion" in shape.fields:
            return every[shape.fields["companion"]]
        known = {key: one for key, one in every.items() if "for" not in one.fields}
        free = [one for one in known.values() if not any(word in avoiding for word in one.listed("avoid"))]
        close = [section for section in free if section.key in realm.listed("pals")]
        return picker.one(close or free or list(known.values()), called)

    def _met(self, before: str) -> Section | None:
        """Returns the companion of the earlier story, who comes along again in its sequel."""
        return next(
            (one for one in self._stock["companions"] if before and listed(one.fields["name"])["nom"] in before), None
        )

    def _wish(self, wish: Wish) -> dict[str, str]:
        if isinstance(wish, Helping):
            slots = self._cased("w", wish.who.forms, wish.who.gender, "_w")
            clause = f", {wish.trouble.clause}" if wish.trouble.clause else ""
            return {**slots, "wclause": clause, "vp": wish.trouble.deed, "far": slots["about_w"]}
        slots = {"q": wish.deed, "far": "о заветном желании"}
        if wish.seen is not None:
            slots |= self._cased("np", wish.seen.forms, wish.seen.gender, "_s")
            slots["far"] = slots["about_np"]
        return slots


def _place(realm: Section) -> str:
    return realm.fields["place"]


def _setting(realm: Section) -> dict[str, str]:
    slots = {name: realm.fields[name] for name in _PLAIN}
    for name in _CASED:
        slots |= case_slots(name, listed(realm.fields[name]))
    return slots
