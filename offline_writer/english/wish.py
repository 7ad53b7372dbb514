"""Reads a wish: a character and what it does, or what the child wants to do; None where words are unknown."""

import re
from dataclasses import dataclass, replace

from offline_writer.brief import clean
from offline_writer.cast import Helping, Quest
from offline_writer.english.grammar import Lexicon, Person, in_person
from offline_writer.english.nouns import Subject, noun_phrase

_LEAD = re.compile(
    r"^(?:(?:please|hi|hello|dear \w+)[, ]+)*"
    r"(?:(?:can|could|would|will) (?:you|i|we) (?:please )?(?:tell|write|make|have|hear|read|give)(?: up)?(?: me| us)? "
    r"|(?:i|we)(?:\u2019d| would)? (?:really )?(?:want|wish|like|love)(?: for| to hear| to have)? (?=(?:an?|the|some) )"
    r"|(?:tell|write|make up|make|read|give)(?: me| us)? )?"
    r"(?:(?:an?|the|some|another|one) )?(?:[\w-]+ ){0,3}?(?:story|tale|fairy[- ]?tale|book)s?"
    r"(?: for (?:my|our|an?|the) \w+(?: \w+)?)? (?:about|of|on|with|where|in which|how|for) "
    r"|^(?:about|something about|something with|maybe about|how|the (?:day|night|time)(?: that| when)?|once upon a time"
    r"(?: there was)?|there (?:is|was)) ",
    re.IGNORECASE,
)
_CHILD = r"i|we|she|he|they|(?:my|our|the|a) (?:son|daughter|child|kid|little (?:boy|girl|one))|a (?:girl|boy|child)"
_WILL = re.compile(
    r"^(?:(?:really |would )?(?:wants?|wanted|wish(?:es)?|likes?|loves?|dreams?|hopes?|goes|going|gets?|can|could"
    r"|am going|is going|was able|were able)(?: of| that| (?:i|we|she|he|they)(?: could| can)?)* )?(?:to )?",
    re.IGNORECASE,
)
_BE = r"(?:(?:is|was|are|were|feels?|gets?|becomes?|am) )?(?:so |very |really |always |a bit )*"
_NOT = r"(?: not|n\u2019t)"
_FORMS = {
    "lost": r"(?:has |have |had )?(?:lost|loses?|missing|miss(?:es|ed)|forgot|forgets|forgotten"
    r"|can(?:\u2019t|not) find) (.+)",
    "cannot": rf"(?:{_BE}too \w+ to|(?:always |still |just )?(?:can ?not|can\u2019t|could ?not|couldn\u2019t|never can"
    rf"|(?:is|was|are|were) (?:not able|unable) to|(?:does|do|did){_NOT} know how to|forg[eo]ts?(?:ten)? how to"
    r"|never)) (.+)",
    "afraid": rf"{_BE}(?:afraid|scared|frightened|terrified) (?:of|to) (.+)",
    "lonely": rf"(?:(?:has|have|had|with) (?=no)|(?:does|do|did){_NOT} have (?=any)|{_BE}(?:all )?(?=lonely|alone))"
    r"((?:no friend|nobody|no one|any friend|any(?:body|one)|lonely|alone).*)",
    "seeks": rf"(?:{_BE}(?:looking|searching|hunting)|looks|searches|looked|searched) for (.+)",
    "learns": rf"(?:{_BE}learning|learns?|learned|learnt) (?:how )?to (.+)",
    "wants": rf"{_BE}(?:wants?|wanted|would like|longs?|longed|wish(?:es)?|wished|tr(?:y|ies|ied)|trying|hop(?:e|es|ed)"
    r"|dreams?|dreamed|wanting|hoping|decides?|decided|needs?|needed|has|had|gets?|got|going|sets? out|loves?|loved"
    r"|likes?|liked) to (.+)",
    "not": rf"(?:does|do|did){_NOT} (.+)",
    "able": r"(?:can|could) (.+)",
    "dreams": rf"{_BE}dream(?:s|ed|t|ing) (?:of|about) (.+)",
    "has": r"(?:has|have|had) (.+)",
    "state": r"(?:is|was|are|were|feels?|felt|becomes?|became) (.+)",
}
"""What is the matter with a character, by its words; the first form that fits counts."""
_CLAUSES = tuple((kind, re.compile(f"^{form}$", re.IGNORECASE)) for kind, form in _FORMS.items())
_WHO = frozenset({"who", "that", "which"})
_STOPS = _WHO | {
    "because", "when", "while", "but", "so", "if", "where", "since", "although", "then", "how", "what", "why", "until",
    "after", "before",
}  # fmt: skip
_LOOSE = frozenset(
    {
        "a", "an", "the", "my", "his", "her", "its", "their", "our", "and", "or", "of", "in", "on", "at", "to", "for",
        "from", "with", "by", "into", "very", "some", "every", "all", "as", "than",
    }
)  # fmt: skip
_AFTER_THING = frozenset({"to", "for", "where", "that", "which", ","})
_LONGEST = 12
"""Words of a deed."""

_MISHAPS = {"get lost": "lost", "go missing": "lost", "get stuck": "stuck", "get lonely": "lonely"}

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
        if not words:
            return None
        if not _WHO.isdisjoint(map(str.casefold, words)) and (helping := self._helping(words, person, default, room)):
            return helping
        return self._quest(words, names, person, room) or self._helping(words, person, default, room)

    def names_only(self, text: str, names: tuple[str, ...]) -> bool:
        """Returns whether the wish only names the characters."""
        return " ".join(self._words(text, names)).casefold() in {"", *map(str.casefold, names)}

    def _words(self, text: str, names: tuple[str, ...]) -> list[str]:
        wish = re.split(r"[.!?;:]+(?:\s|$)", clean(text, limit=240), maxsplit=1)[0]
        for said, meant in self._lexicon.idioms.items():
            if said in wish.casefold().replace("\u2019", "'"):
                return meant.split()
        wish = _LEAD.sub("", wish, count=1)
        anyone = "|".join(map(re.escape, names))
        # Those that act anyhow need no mention beside another: "Mia and a dragon" is a wish for a dragon.
        wish = re.sub(rf"^(?:(?:{anyone}),? and )+(?=\w)", "", wish, flags=re.IGNORECASE)
        wish = re.sub(rf"(?<=\w),? and (?:{anyone})$", "", wish, flags=re.IGNORECASE)
        return wish.replace(",", " , ").split()

    def _quest(self, words: list[str], names: tuple[str, ...], person: Person, room: int) -> Quest[Subject] | None:
        text = " ".join(words)
        acting = re.match(rf"(?:{'|'.join(map(re.escape, names))}|{_CHILD}) (?=\w)", text, re.IGNORECASE)
        rest = text[acting.end() :] if acting else text
        plain = _WILL.sub("", rest, count=1).split()
        clearly = " ".join(plain) != text
        if not plain or re.match(r"(?:not|never|no|don\u2019t|won\u2019t|can\u2019t)$", plain[0], re.IGNORECASE):
            return None
        first = plain[0].casefold()
        verb = self._lexicon.verb(first)
        if plain[1:2] == ["for"] and verb in {"look", "search", "hunt"}:
            verb, plain = "find", plain[1:]
        begins_phrase = not clearly and (first in self._lexicon.plurals or self._is_phrase(plain))
        if verb and not begins_phrase:
            told = self._told(plain[1:], room)
            if acting or clearly:
                told = _own(told, person)
            seen = noun_phrase(told, self._lexicon, person) if verb in self._lexicon.seeing else None
            whole = seen is not None and seen[1] == len(told)
            return Quest(" ".join([verb, *told]), seen[0] if seen is not None and whole else None)
        if acting and first in {"is", "was", "has", "had"}:
            return None
        return self._event(words, person, room)

    def _event(self, words: list[str], person: Person, room: int) -> Quest[Subject] | None:
        """A thing is looked for; a trip, a birthday or a race is gone on, celebrated or run."""
        read = noun_phrase(words, self._lexicon, person)
        if read is None or read[0].animate:
            return None
        who, length = read
        verb = self._lexicon.events.get(who.head)
        if (
            length < len(words)
            and not verb
            and words[length].casefold() not in {"to", "for", "where", "that", "which", ","}
        ):
            return None
        if verb is None:
            return Quest(f"find {who.first}", who)
        tail = self._told(words[length:], room)
        return Quest(" ".join([verb, who.first, *tail]), None)

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
            ((kind, found[1]) for kind, form in _CLAUSES if (found := form.match(clause))), ("", clause)
        )
        are, were, have = ("are", "were", "have") if who.plural else ("is", "was", "has")
        if kind == "lonely":
            return Trouble(kind, f"{were} all alone", f"{are} all alone", "alone")
        told = self._told(detail.split(), room)
        if not told:
            return None
        verb = self._lexicon.verb(told[0].casefold())
        text = in_person(" ".join(told), person)
        deed = in_person(" ".join([verb, *told[1:]]), person) if verb else ""
        if kind in {"", "cannot", "wants", "learns", "not", "able", "dreams"}:
            return self._deed(kind, deed, who) if deed else None
        if kind == "state":
            return self._state(told, text, deed, who)
        lost = text if told[0].casefold() in _LOOSE else f"{who.pronoun[1]} {text}"
        return {
            "afraid": Trouble("afraid", f"{were} afraid of {text}", f"{are} afraid of {text}", text),
            "seeks": _wants(f"find {text}", who),
            "lost": Trouble("lost", f"had lost {lost}", f"{have} lost {lost}", lost),
            "has": Trouble("trait", f"had {text}", f"{have} {text}", text),
        }[kind]

    @staticmethod
    def _deed(kind: str, deed: str, who: Subject) -> Trouble:
        are, were, have = ("are", "were", "have") if who.plural else ("is", "was", "has")
        if kind == "cannot":
            sleep = re.match(r"(?:fall a|(?:get to |go to )?)sleep\b", deed)
            return Trouble("sleep" if sleep else kind, f"could not {deed}", f"cannot {deed}", deed)
        if kind == "not":
            return Trouble("trait", f"did not {deed}", f"{'do' if who.plural else 'does'} not {deed}", deed)
        if kind == "able":
            return Trouble("trait", f"could {deed}", f"can {deed}", deed)
        state = next((state for mishap, state in _MISHAPS.items() if deed.startswith(mishap)), "")
        if state and not kind:
            return Trouble("adj", f"{were} {state}", f"{are} {state}", state)
        if deed.startswith("fall ") and not kind:
            return Trouble("trait", f"had fallen {deed[5:]}", f"{have} fallen {deed[5:]}", deed)
        return _wants(f"learn to {deed}" if kind == "learns" else deed, who)

    def _state(self, told: list[str], text: str, deed: str, who: Subject) -> Trouble | None:
        if deed and told[0].casefold().endswith("ing"):
            return _wants(deed, who)
        negative = told[-1].casefold() in self._lexicon.negative
        if len(told) > 4 or not (negative or self._lexicon.is_adjective(told[-1]) or self._lexicon.is_noun(told)):
            return None
        are, were = ("are", "were") if who.plural else ("is", "was")
        return Trouble("adj" if negative else "trait", f"{were} {text}", f"{are} {text}", text)

    def _told(self, words: list[str], room: int) -> list[str]:
        """Returns the words up to the first that is unknown or begins another sentence, without loose ends."""
        told: list[str] = []
        for word in words[:_LONGEST]:
            lowered = word.casefold()
            named = self._lexicon.is_name(word) and bool(told) and told[-1].casefold() in self._lexicon.animate
            if (
                lowered in _STOPS
                or not (self._lexicon.knows(lowered) or named)
                or self._lexicon.is_finite(lowered, told)
            ):
                break
            capital = lowered in self._lexicon.proper
            told.append(word if named else word.capitalize() if capital else lowered)
        while told and (told[-1] in _LOOSE or len(" ".join(told)) > room):
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
