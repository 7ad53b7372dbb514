"""Reads a wish: a character and what it does, or what the child wants to do; None where words are unknown."""

import re
from dataclasses import dataclass, replace

from offline_writer.brief import clean
from offline_writer.cast import Helping, Quest
from offline_writer.english.grammar import Lexicon, Person, in_person, inflected
from offline_writer.english.nouns import Subject, noun_phrase

_WHO = frozenset({"who", "that", "which"})
_ASKS = frozenset({"how", "what", "where", "why"})
_OUTINGS = frozenset({"trip", "party", "picnic", "journey", "voyage", "holiday", "visit"})
_LEADING = frozenset({"to", "for", "in", "at", "with", "on", "through", "around"})
"""What follows an outing that is told without its article: "trip to the zoo", not "visit the zoo"."""
_LONGEST = 12
"""Words of a deed."""
_TITLE = 2
"""Spaces of a text that is written as a title."""

Wish = Helping[Subject, "Trouble"] | Quest[Subject]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is the matter with a character, in the tenses that the stories need, without its "who"."""

    kind: str
    """A key of the resolutions."""
    past: str
    """"could not sleep"."""
    now: str
    """"cannot sleep"."""
    detail: str = ""
    """The verb phrase, noun phrase or adjective in it."""


class WishReader:
    """Reads wishes with one lexicon."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def read(self, text: str, *, names: tuple[str, ...], person: Person, default: str, room: int = 110) -> Wish | None:
        """Returns None where neither a character nor a deed is understood.

        `names` are the acting people, `default` is what is the matter with a character of which nothing is said, `room`
        is the number of characters that a wish may take up.
        """
        words = self._words(text, names)
        if not words or words[0].casefold() == "no":
            return None
        question = self._lexicon.forms["question"].match(" ".join(words))
        if question and (asked := self._asked(question["what"] or "", question["aux"], question["rest"], person)):
            return asked if len(asked.deed) <= room else None
        if words[0].casefold() in _ASKS and len(words) > 1:
            return Quest(" ".join(["find out", *map(self._lexicon.shown, words)]).replace(" ,", ","), None)
        if not _WHO.isdisjoint(map(str.casefold, words)) and (helping := self._helping(words, person, default, room)):
            return helping
        return self._quest(words, names, person, room) or self._helping(words, person, default, room)

    def names_only(self, text: str, names: tuple[str, ...]) -> bool:
        """Returns whether the wish only names the characters."""
        return " ".join(self._words(text, names)).casefold() in {"", *map(str.casefold, names)}

    def _words(self, text: str, names: tuple[str, ...]) -> list[str]:
        wish = re.split(r"[.!?;:]+(?:\s|$)", clean(text, limit=240), maxsplit=1)[0]
        wish = wish.casefold() if wish.isupper() or (wish.istitle() and wish.count(" ") > _TITLE) else wish
        for said, meant in self._lexicon.idioms.items():
            if said in wish.casefold().replace("\u2019", "'"):
                return meant.split()
        for said, brand in self._lexicon.brands.items():
            wish = re.sub(rf"\b{re.escape(said)}\b", brand, wish, flags=re.IGNORECASE)
        wish = self._lexicon.forms["lead"].sub("", wish, count=1)
        anyone = "|".join(map(re.escape, names))
        # Those that act anyhow need no mention beside another: "Mia and a dragon" is a wish for a dragon.
        wish = re.sub(rf"^(?:(?:{anyone}),? and )+(?=\w)", "", wish, flags=re.IGNORECASE)
        wish = re.sub(rf"(?<=\w),? and (?:{anyone})$|,? please$", "", wish, flags=re.IGNORECASE)
        wish = re.sub(r"\b(who|that|which)\u2019s\b", r"\1 is", wish, flags=re.IGNORECASE)
        return wish.replace(",", " , ").split()

    def _asked(self, what: str, auxiliary: str, rest: str, person: Person) -> Quest[Subject] | None:
        """To "where does the sun sleep" the answer is looked for: "find out where the sun sleeps"."""
        words = rest.split()
        tag = {"do": "VB", "does": "VBZ", "did": "VBD"}.get(auxiliary, "")
        for at in range(1, len(words) + (not tag)):
            read = noun_phrase(words[:at], self._lexicon, person)
            if read is None or read[1] < at or (tag and not self._lexicon.verb("".join(words[at : at + 1]))):
                continue
            told = [inflected(words[at], tag) if tag else auxiliary, *words[at + bool(tag) :]]
            named = read[0].first.removeprefix("some ")
            return Quest(" ".join(["find out", what or "whether", named, *map(self._lexicon.shown, told)]), None)
        return None

    def _quest(self, words: list[str], names: tuple[str, ...], person: Person, room: int) -> Quest[Subject] | None:
        text = " ".join(words)
        company = self._lexicon.forms["company"].match(text)
        acting = company or re.match(
            rf"(?:{'|'.join(map(re.escape, names))}|{self._lexicon.forms['child'].pattern}) (?=\w)", text, re.IGNORECASE
        )
        rest = text[acting.end() :] if acting else text
        if company:
            rest = f"{rest} with {(company[1] or company[2]).casefold()}"
        plain = self._lexicon.forms["will"].sub("", rest, count=1).split()
        clearly = " ".join(plain) != text
        if not plain or re.match(r"(?:not|never|no|don\u2019t|won\u2019t|can\u2019t)$", plain[0], re.IGNORECASE):
            return None
        first = plain[0].casefold()
        verb = self._lexicon.verb(first)
        if plain[1:2] == ["for"] and verb in {"look", "search", "hunt"}:
            verb, plain = "find", plain[1:]
        elif verb == "be" and plain[1:2] == ["going"]:
            verb, plain = "go", plain[1:]
        elif text == rest and first in _OUTINGS and plain[1:2] and plain[1].casefold() in _LEADING:
            return self._event(["a", *words], person, room)
        elif first in self._lexicon.where and acting:
            verb, plain = "be", ["", *plain]
        if verb and (clearly or not (self._is_phrase(plain) or self._lexicon.number([first]) == "plural")):
            told = self._told(plain[1:], room)
            if acting or clearly:
                told = _own(told, person)
            seen = noun_phrase(told, self._lexicon, person) if verb in self._lexicon.seeing else None
            whole = seen is not None and seen[1] == len(told)
            return Quest(" ".join([verb, *told]), seen[0] if seen is not None and whole else None)
        return None if acting else self._event(words, person, room)

    def _event(self, words: list[str], person: Person, room: int) -> Quest[Subject] | None:
        """A thing is looked for; a trip, a birthday or a race is gone on, celebrated or run."""
        read = noun_phrase(words, self._lexicon, person)
        if read is None or read[0].animate:
            return None
        who, length = read
        verb = self._lexicon.events.get(who.head)
        follows = words[length].casefold() if length < len(words) else ""
        if verb is not None:
            return Quest(" ".join([verb, who.first, *self._told(words[length:], room)]), None)
        if follows and follows not in {"to", "for", "where", ","}:
            return None
        where = ["where", *self._told(words[length + 1 :], room)] if follows == "where" else []
        return Quest(" ".join(["find", who.first, *where]), who)

    def _helping(self, words: list[str], person: Person, default: str, room: int) -> Helping[Subject, Trouble] | None:
        if words[0].casefold() in {"meet", "help", "find", "see"}:
            words = words[1:]
        read = noun_phrase(words, self._lexicon, person)
        if read is None:
            return None
        who, length = read
        rest = [word for at, word in enumerate(words[length:]) if at or word != ","]
        if rest and rest[0].casefold() in _WHO:
            rest = rest[1:]
        owners = {"his", "her"}.intersection(map(str.casefold, rest))
        if owners and not who.plural and not who.gender:
            # The wish knows better than the lexicon whether it is a he.
            who = replace(who, gender="male" if owners == {"his"} else "female")
        trouble = self._trouble(rest or default.split()[1:], who, person, room)
        return None if trouble is None or not (who.animate or rest) else Helping(who, trouble)

    def _trouble(self, words: list[str], who: Subject, person: Person, room: int) -> Trouble | None:
        clause = " ".join(words)
        kind, detail = next(
            ((kind, found[1]) for kind, form in self._lexicon.clauses.items() if (found := form.match(clause))),
            ("", clause),
        )
        are, were, have = ("are", "were", "have") if who.plural else ("is", "was", "has")
        if kind == "lonely":
            return Trouble(kind, f"{were} all alone", f"{are} all alone", "alone")
        told = self._told(detail.split(), room)
        if not told:
            return None
        first = told[0].casefold()
        verb = self._lexicon.verb(first) or ("" if kind else self._lexicon.mishap(first))
        text = in_person(" ".join(told), person)
        deed = in_person(" ".join([verb, *told[1:]]), person) if verb else ""
        if (kind == "state" or (not kind and first in self._lexicon.states | self._lexicon.negative)) and not (
            deed and first.endswith("ing")
        ):
            low = not self._lexicon.negative.isdisjoint(word.casefold() for word in told[:3])
            return Trouble("adj" if low else "trait", f"{were} {text}", f"{are} {text}", text)
        if kind == "dreams" and not deed:
            return _wants(f"see {text}", who)
        if kind in {"", "cannot", "wants", "learns", "not", "able", "dreams", "state"}:
            return self._deed(kind, verb, deed, who) if deed else None
        lost = text if first in self._lexicon.loose else f"{who.pronoun[1]} {text}"
        return {
            "afraid": Trouble("afraid", f"{were} afraid of {text}", f"{are} afraid of {text}", text),
            "seeks": _wants(f"find {text}", who),
            "lost": Trouble("lost", f"had lost {lost}", f"{have} lost {lost}", lost),
            "has": Trouble("trait", f"had {text}", f"{have} {text}", text),
        }[kind]

    def _deed(self, kind: str, verb: str, deed: str, who: Subject) -> Trouble:
        are, were, have = ("are", "were", "have") if who.plural else ("is", "was", "has")
        if kind == "cannot" and re.match(r"(?:fall a|(?:get to |go to )?)sleep\b", deed):
            kind = "sleep"
        auxiliaries = {
            "cannot": ("cannot", "could not", "cannot"),
            "sleep": ("sleep", "could not", "cannot"),
            "not": ("trait", "did not", "do not" if who.plural else "does not"),
            "able": ("trait", "could", "can"),
        }
        if kind in auxiliaries:
            told, past, now = auxiliaries[kind]
            return Trouble(told, f"{past} {deed}", f"{now} {deed}", deed)
        if not kind and re.match(r"(?:get|go) (?:lost|missing|stuck|lonely)\b", deed):
            state = deed.partition(" ")[2].replace("missing", "lost")
            return Trouble("adj", f"{were} {state}", f"{are} {state}", state)
        if not kind and verb in self._lexicon.statives:
            now = deed if who.plural else f"{inflected(verb, 'VBZ')}{deed[len(verb) :]}"
            return Trouble("trait", f"{inflected(verb, 'VBD')}{deed[len(verb) :]}", now, deed)
        if not kind and verb in self._lexicon.mishaps:
            happened = f"{inflected(verb, 'VBN')}{deed[len(verb) :]}"
            return Trouble("trait", f"had {happened}", f"{have} {happened}", deed)
        return _wants(f"learn to {deed}" if kind == "learns" else deed, who)

    def _told(self, words: list[str], room: int) -> list[str]:
        """Returns the words up to the first that begins another sentence, without loose ends."""
        told: list[str] = []
        for word in words[:_LONGEST]:
            lowered = word.casefold()
            asks = lowered in _ASKS and not told
            if (
                lowered in self._lexicon.stops and not asks and (told or lowered != "after")
            ) or self._lexicon.is_finite(lowered, told):
                break
            told.append(self._lexicon.shown(word))
        while told and (told[-1] in self._lexicon.loose or len(" ".join(told)) > room):
            told.pop()
        return told

    def _is_phrase(self, words: list[str]) -> bool:
        """Returns whether a noun phrase begins with these: "flying dragons", "a train who", not "train for a race"."""
        first, following = words[0].casefold(), "".join(words[1:2]).casefold()
        if first in self._lexicon.nounish and not first.endswith("ing"):
            return following not in self._lexicon.function - _WHO
        return first.endswith("ing") and bool(following) and self._lexicon.is_noun([following])


def _wants(deed: str, who: Subject) -> Trouble:
    return Trouble("wants", f"wanted to {deed}", f"want{'' if who.plural else 's'} to {deed}", deed)


def _own(words: list[str], person: Person) -> list[str]:
    """What is said of the child, as the child says it: "finds her dog" is "find my dog"."""
    whose = {"her": "her", "him": "his", "them": "their"}.get(person, "")
    return ["my" if word == whose and at + 1 < len(words) else word for at, word in enumerate(words)]
