"""The sentences with which a hero is introduced."""

import random
from collections.abc import Mapping, Sequence

from story_service.offline.english.phrases import joined
from story_service.offline.english.portrait import Portrait
from story_service.offline.realising import Realiser
from story_service.offline.stock import Line


def introduced(
    portrait: Portrait, stock: Mapping[str, Sequence[Line]], realiser: Realiser, rng: random.Random, *, tiny: bool
) -> dict[str, str]:
    """Slots, empty where there is nothing to say; `tiny` for a story that has no room for more than look and strength.

    `intro` says both in one breath, `traits_more` is empty where there is no room for it.
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
        "known_for": parts["strengths"],
        "strength": strengths[0] if strengths else "",
    }
