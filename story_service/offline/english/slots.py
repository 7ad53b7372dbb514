"""Place and wish as slots of the stock."""

from story_service.offline.casting import Helping, Quest
from story_service.offline.english.lexicon import Lexicon
from story_service.offline.english.nouns import Subject
from story_service.offline.english.people import OBJECTS
from story_service.offline.english.phrases import Person, article, as_said_by_its_owner, in_person
from story_service.offline.english.troubles import Trouble
from story_service.offline.english.wish import Wish
from story_service.offline.stock import Section


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
