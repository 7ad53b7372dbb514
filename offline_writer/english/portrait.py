"""Appearance, traits and strengths of a hero: free text made into parts of sentences."""

import re
from dataclasses import dataclass
from typing import Literal

from offline_writer.brief import Protagonist, clean
from offline_writer.english.grammar import Lexicon, Person, article, in_person, progressive

Frame = Literal["was", "had", "wore", "did", "quoted", ""]
"""The verb that the look stands after; "did": it has its own. Empty: nothing is known."""

_SENTENCE = re.compile(r"(?<=[.!?;])\s+")
_STRANGE = re.compile(r"[!?.:;\u2026()@$%&/+]")
_SUBJECT = re.compile(r"^(?:he|she|they|it) (?=\w)", re.IGNORECASE)
_SHORT_FORM = re.compile(r"^(he|she|they|it)\u2019(?:s|re) (?=\w)", re.IGNORECASE)
_FRAMES: tuple[tuple[re.Pattern[str], Frame], ...] = (
    (re.compile(r"^(?:is|are|was|were) (?=\w)", re.IGNORECASE), "was"),
    (re.compile(r"^(?:has|have|had|having|with) (?=\w)", re.IGNORECASE), "had"),
    (re.compile(r"^(?:wears|wear|wore|wearing|dressed in|in) (?=\w)", re.IGNORECASE), "wore"),
)
_TOLD_OF_NOW = {
    "is": "was", "has": "had", "have": "had", "wears": "wore", "wear": "wore", "carries": "carried",
    "carry": "carried", "can": "could", "rides": "rode", "holds": "held", "looks": "looked",
}  # fmt: skip
_OTHER_VERBS = re.compile(
    r"\b(?:are|were|will|would|does|do|did|am|he|she|they|it|i|you|we|who|that|which|because|when|if)\b", re.IGNORECASE
)
_PARTS = re.compile(r",? and |, ?")
_DETERMINED = re.compile(r"^(?:an?|the|his|her|their|its|two|three|four|one|no|some|many|long|short) ", re.IGNORECASE)
_MODIFIER = re.compile(r"\s+(?:with|from|in|on|at|of|like|without|made|full)\s+")
_DEGREE = re.compile(
    r"^(?:very|really|so|super|quite|always|often|sometimes|extremely|incredibly|a (?:bit|little)) ", re.IGNORECASE
)
_ABLE = re.compile(
    r"^(?:(?:he|she|they|it|i) )?(?:can|could|(?:is |are |be |being )?able to|knows? how to|(?:the |a )?"
    r"(?:power|ability|gift|talent|skill) (?:to|of|for))\s+(?=\w)",
    re.IGNORECASE,
)
_ABSTRACT = re.compile(r"(?:ity|ness|ship|ion|ance|ence|ism|acy|ment|ing|s|th|age|ery|ry)$", re.IGNORECASE)
_ADJECTIVAL = re.compile(r"^[a-z-]+(?:ful|ous|less|able|ible|ish)$")
_HABIT = re.compile(r"^(?:always|never|often|does|do|is|has|not|no)\b", re.IGNORECASE)
_LONGEST = 6
_READ = 160
"""Characters of an appearance that are looked at."""


@dataclass(frozen=True, slots=True)
class Look:
    """An appearance, ready to stand behind the verb of its frame."""

    frame: Frame
    text: str


@dataclass(frozen=True, slots=True)
class Portrait:
    """A hero in parts."""

    look: Look
    traits: tuple[str, ...]
    """As they were given, cleaned."""
    adjectives: bool
    """Whether each trait can stand after "was"."""
    strengths: tuple[str, ...]
    """Each can stand after "known for"."""


class PortraitReader:
    """Reads heroes with one lexicon. Never fails: what it cannot read is quoted."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def read(self, hero: Protagonist, *, name: str, person: Person, room: int, most: int) -> Portrait:
        """`room` bounds each phrase, in characters; `most` the number of traits and of strengths."""
        given = [self._trait(text, min(room, 60)) for text in hero.personality_traits]
        traits = tuple(dict.fromkeys(filter(None, given)))[:most]
        strengths = [self._strength(text, name, person, min(room, 60)) for text in hero.strengths]
        return Portrait(
            look=self._look(hero.appearance, name, room),
            traits=traits,
            adjectives=all(self._is_adjective(trait) for trait in traits),
            strengths=tuple(dict.fromkeys(filter(None, strengths)))[:most],
        )

    def _look(self, text: str, name: str, room: int) -> Look:
        first = next((part for part in _SENTENCE.split(text.strip()) if clean(part, limit=_READ)), "")
        whole = clean(first, limit=_READ)
        if not any(char.isalnum() for char in whole):
            return Look("", "")
        named = re.sub(rf"^{re.escape(name)} (?=\w)", "", whole, flags=re.IGNORECASE)
        body = _SUBJECT.sub("", _SHORT_FORM.sub(r"\1 is ", named))
        strange = len(clean(first, limit=_READ + 1)) > len(whole) or _STRANGE.search(body)
        look = None if strange else self._predicate(body, has_subject=body != whole)
        if look is None:
            cut = clean(whole, limit=room)
            return Look("quoted", cut if cut == whole else cut + "\u2026")
        text = look.text
        while len(text) > room and (parts := list(_PARTS.finditer(text))):
            text = text[: parts[-1].start()]
        return Look(look.frame, text)

    def _predicate(self, body: str, *, has_subject: bool) -> Look | None:
        frame: Frame = ""
        for pattern, verb in _FRAMES:
            if found := pattern.match(body):
                frame, body = verb, body[found.end() :]
                break
        if _OTHER_VERBS.search(body):
            return None
        words = body.split()
        verbs = {word.casefold() for word in words} & set(_TOLD_OF_NOW)
        if not frame and has_subject:
            first = _TOLD_OF_NOW.get(words[0].casefold())
            return Look("did", " ".join([first, *map(_then, words[1:])])) if first else None
        body = " ".join(map(_then, words)) if frame else body
        if verbs and not frame:
            return None
        body = self._lowered(body)
        if frame:
            return Look(frame, body if frame == "was" or verbs else self._with_articles(body) or body)
        return self._bare(body)

    def _bare(self, body: str) -> Look | None:
        """Without a verb: "a small dragon", "tall and strong", "red cape, green eyes"."""
        core = _MODIFIER.split(body, maxsplit=1)[0].casefold().rstrip(",")
        head = core.split(",")[0].split()[-1]
        if head in self._lexicon.animate:
            return Look("was", body if _DETERMINED.match(body) else f"{article(body)} {body}")
        parts = _PARTS.split(body)
        if all(self._is_adjective(part) for part in parts):
            return Look("was", body)
        described = self._with_articles(body)
        if described is not None:
            return Look("had", described)
        opening, comma, rest = body.partition(" with ")
        if comma and all(self._is_adjective(part) for part in _PARTS.split(opening.rstrip(","))):
            described = self._with_articles(rest)
            return Look("was", f"{opening} with {described}") if described is not None else None
        return None

    def _with_articles(self, body: str) -> str | None:
        """Things that one has or wears, each with the article that it needs; None where a part is something else."""
        told: list[str] = []
        for part in re.split(r"(,? and |, )", body):
            if re.fullmatch(r",? and |, ", part):
                told.append(part)
                continue
            noun = _MODIFIER.split(part, maxsplit=1)[0].casefold().split()
            if not noun:
                return None
            head = noun[-1]
            if head not in self._lexicon.things | self._lexicon.masses | self._lexicon.thing_plurals:
                return None
            bare = head in self._lexicon.things and not re.match(r"(?:an?|the|his|her|their|its|one|no) ", part)
            told.append(f"{article(part)} {part}" if bare else part)
        if len(told) > 1 and not any("and" in joint for joint in told[1::2]):
            told[-2] = " and "
        return "".join(told)

    def _is_adjective(self, phrase: str) -> bool:
        word = _DEGREE.sub("", phrase.casefold())
        return word in self._lexicon.adjectives or word in self._lexicon.negative or bool(_ADJECTIVAL.match(word))

    def _trait(self, text: str, room: int) -> str:
        trait = self._lowered(clean(text, limit=room))
        if not any(char.isalnum() for char in trait):
            return ""
        return self._lexicon.adjective_of.get(trait.casefold(), trait)

    def _strength(self, text: str, name: str, person: Person, room: int) -> str:
        phrase = clean(text, limit=room)
        if not any(char.isalnum() for char in phrase):
            return ""
        if habit := self._habit(phrase):
            return in_person(habit, person)
        shouted = phrase.isupper() and " " in phrase
        if len(phrase.split()) > _LONGEST or shouted or _STRANGE.search(phrase) or _HABIT.match(phrase):
            return f"\u2018{phrase}\u2019"
        named = re.sub(rf"^{re.escape(name)} (?=\w)", "", phrase, flags=re.IGNORECASE)
        body = self._lowered(re.sub(r"^(?:he|she|they|it|i) (?=\w)", "", named, flags=re.IGNORECASE))
        return in_person(self._known_for(body, able=_ABLE.match(body)) or f"\u2018{phrase}\u2019", person)

    def _habit(self, phrase: str) -> str:
        """Never giving up, always helping others; "" for any other phrase."""
        adverb, *rest = phrase.split()
        base = self._lexicon.base_of.get(rest[0].casefold()) if rest else None
        if adverb.casefold() not in {"always", "never", "often"} or base is None:
            return ""
        return " ".join([adverb.casefold(), progressive(base), *rest[1:]])

    def _known_for(self, body: str, *, able: re.Match[str] | None) -> str:
        words = (body[able.end() :] if able else body.removeprefix("to ")).split()
        first, lexicon = words[0].casefold(), self._lexicon
        if first in lexicon.base_of:
            base = lexicon.base_of[first]
            return " ".join([first if first.endswith("ing") else progressive(base), *words[1:]])
        verbal = first in lexicon.verbs and (able or first not in lexicon.nounish)
        if verbal or (able and first.isalpha() and not _ABSTRACT.search(first)):
            return " ".join([progressive(first), *words[1:]])
        phrase = " ".join(words)
        if self._is_adjective(phrase):
            return f"being {phrase}"
        head = _MODIFIER.split(phrase, maxsplit=1)[0].split()[-1].casefold()
        if _DETERMINED.match(phrase):
            return phrase
        if head in lexicon.things:
            return f"{article(phrase)} {phrase}"
        return phrase if head in lexicon.masses or head in lexicon.known or _ABSTRACT.search(head) else ""

    def _lowered(self, text: str) -> str:
        """Without the capital of a form, where the rest shows that it is none of the word's own."""
        first, _, rest = text.partition(" ")
        if not first[:1].isupper() or (first.isupper() and len(first) > 1):
            return text
        word = first.casefold().rstrip(",")
        known = (
            word in self._lexicon.known | self._lexicon.adjectives | self._lexicon.things | self._lexicon.masses
            or word in {"a", "an", "the", "very", "always", "never", "long", "short", "can", "has", "is", "wears", "to"}
            or _ADJECTIVAL.match(word) or _ABSTRACT.search(word) or word in self._lexicon.adjective_of
        )  # fmt: skip
        return f"{first.casefold()} {rest}".rstrip() if known else text


def _then(word: str) -> str:
    return _TOLD_OF_NOW.get(word.casefold(), word)
