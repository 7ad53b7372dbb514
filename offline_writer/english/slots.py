"""Place, wish and hero as slots of the stock."""

import random
from collections.abc import Mapping, Sequence

from offline_writer.cast import Helping, Quest
from offline_writer.english.lexicon import Lexicon
from offline_writer.english.nouns import Subject
from offline_writer.english.people import OBJECTS
from offline_writer.english.phrases import Person, article, as_said_by_its_owner, in_person, joined
from offline_writer.english.portrait import Portrait
from offline_writer.english.troubles import Trouble
from offline_writer.english.wish import Wish
from offline_writer.realising import Realiser
from offline_writer.stock import Line, Section


def setting_slots(realm: Section) -> dict[str, str]:
    """The realm, its gate, its keeper and its small one."""
    khe = realm.fields["khe"]
    khim, khis = OBJECTS[khe]
    keeper = realm.fields["keeper"]
    names = ("place", "light", "gatea", "gate", "keepera", "smalla", "small", "end")
    kept = {name: realm.fields[name] for name in names}
    capitals = {"Keeper": keeper[:1].upper() + keeper[1:], "Small": kept["small"][:1].upper() + kept["small"][1:]}
    bare = kept["small"].removeprefix("the ")
    return {
        **kept,
        **capitals,
        "smallas": f"{article(bare)} {bare}",
        "keeper": keeper,
        "khe": khe,
        "khim": khim,
        "khis": khis,
    }


def wish_slots(wish: Wish, person: Person, lexicon: Lexicon) -> dict[str, str]:
    """What is wished, in the persons and tenses that the stories need."""
    if isinstance(wish, Helping):
        return _helping(wish, lexicon)
    if isinstance(wish, Quest):
        slots = {"q": in_person(wish.deed, person), "qd": in_person(wish.deed, "you"),
                 "qme": wish.deed, "far": "the wish"}  # fmt: skip
        if wish.seen is not None:
            slots |= {
                "np": wish.seen.first, "npwas": "were" if wish.seen.plural else "was",
                "Npit": "They" if wish.seen.plural else "It", "npobj": "them" if wish.seen.plural else "it",
                "far": wish.seen.later,
            }  # fmt: skip
        return slots
    return {"wishtext": wish.text, "far": "the wish"}


def _helping(wish: Helping[Subject, Trouble], lexicon: Lexicon) -> dict[str, str]:
    who, trouble = wish.who, wish.trouble
    it, _, its = who.pronoun(lexicon)
    comma = "," if who.proper else ""
    own = {"I": "we", "my": "our", "me": "us", "myself": "ourselves", "am": "are"} if who.plural else {
        "I": "I", "my": "my", "me": "me", "myself": "myself", "am": "am"}  # fmt: skip
    return {
        "w": who.later, "W": who.later[:1].upper() + who.later[1:], "wit": it, "wits": its,
        "wwas": "were" if who.plural else "was", "wfullis": f"{who.first}{comma} who {trouble.now}",
        "wbare": who.later, "far": who.later,
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
    look, strengths = portrait.look, portrait.strengths
    card = ", ".join(portrait.traits)
    parts = {
        "look": look.text,
        "traits": joined(portrait.traits) if portrait.traits else "",
        "card": card[:1].upper() + card[1:],
        "strengths": joined(strengths) if strengths else "",
    }

    def line(key: str, *, given: object) -> str:
        # The first is the shortest.
        return realiser.text((stock[key][0] if tiny else rng.choice(stock[key])).text, parts) if given else ""

    traits = line("traits_was" if portrait.adjectives else "traits_card", given=portrait.traits)
    seen = line(f"look_{look.frame}_tiny" if look.frame == "quoted" and tiny else f"look_{look.frame}", given=look.text)
    at_once = look.text and look.frame != "quoted" and strengths
    known = line(f"intro_{look.frame}" if at_once else "power_tiny", given=strengths)
    return {
        "look": line(f"look_{look.frame}", given=look.text),
        "traits": traits,
        "traits_more": "" if tiny else traits,
        "power": line("power_many" if len(strengths) > 1 else "power_one", given=strengths),
        "intro": known if at_once else f"{seen} {known}".strip(),
        "looknp": look.text if look.frame in {"had", "wore"} else "",
        "strength": strengths[0] if strengths else "",
    }
