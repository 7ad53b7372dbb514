"""English as the engine sees it: a brief in, an arc out."""

import random
from collections.abc import Iterator
from importlib import resources

from offline_writer.arc import Block
from offline_writer.brief import OfflineBrief
from offline_writer.casting import Helping, Quest
from offline_writer.english.cast import EnglishCast, EnglishCasting
from offline_writer.english.journey import EnglishJourney
from offline_writer.english.lexicon import Lexicon
from offline_writer.english.phrases import title_case
from offline_writer.realising import Realiser
from offline_writer.seeding import random_for
from offline_writer.stock import Section, load
from offline_writer.telling import Teller


class English(Teller[EnglishCast]):
    """Stories for one child, in British English."""

    code = "en"

    def __init__(self) -> None:
        stock = load(resources.files("offline_writer.english") / "stock")
        super().__init__(stock, EnglishCasting(stock, Lexicon(stock["lexicon"])))

    def title(self, brief: OfflineBrief) -> str:
        """For example: Mia and the Dragon Who Could Not Sleep."""
        cast = self._casting.cast(brief)
        rng = random_for(brief, "title")
        extra: dict[str, str] = {}
        if isinstance(cast.wish, Helping):
            who = cast.wish.who
            full = f"{who.later}{',' if who.proper else ''} who {cast.wish.trouble.past}"
            extra["wtitle"] = title_case(full if len(full.split()) <= 10 else who.later)
        elif isinstance(cast.wish, Quest):
            extra["qtitle"] = title_case(cast.slots["q"])
        titles = {section.key: section for section in self._stock["phrases"]}
        line = rng.choice(titles.get(f"titles_{cast.kind}_{cast.plot}", titles[f"titles_{cast.plot}"]).lines())
        return self._casting.realiser(cast, rng).text(line.text, extra)

    def summary(self, brief: OfflineBrief) -> str:
        """Who went where with whom and why; what happened at the gate; that it ended well."""
        cast = self._casting.cast(brief)
        slots = cast.slots
        aim = "to take a wish where it belongs"
        if isinstance(cast.wish, Helping):
            aim = f"to help {slots['wfull']}"
        elif isinstance(cast.wish, Quest):
            aim = f"to {slots['q']}"
        company = f"with {slots['p']}, {cast.companion.fields['a']},"
        who = cast.name
        known_for = f", known for {slots['known_for']}," if slots.get("known_for") else ""
        if cast.kind == "hero":
            who = f"the hero {cast.name}{known_for}"
        elif cast.kind == "combined":
            company = f"with the hero {slots['h']}{known_for or ','}"
        return (
            f"One night {who} set out through {slots['place']} {company} {aim}. {slots['gist']} "
            f"It all ended well, and {cast.name} came home with {slots['boon']} and fell asleep."
        )

    def _beginning(
        self, cast: EnglishCast, realiser: Realiser, rng: random.Random, *, opening: Section, wish: Section
    ) -> Iterator[Block]:
        # The hero's coming, or what is remembered, can open a story as well.
        spare = cast.kind != "hero" and cast.remembers
        yield self._block(realiser, opening, shorten=1, tiny_extra="calendar_tiny", spare=spare)
        if cast.remembers:
            told_as = "hero" if cast.kind == "hero" else "child"
            told = [section for section in self._stock["memories"] if section.fields.get("kind") == told_as]
            yield self._block(realiser, rng.choice(told), shorten=0)
        yield self._block(realiser, wish, shorten=3)

    def _journey(self, cast: EnglishCast, realiser: Realiser, rng: random.Random) -> EnglishJourney:
        return EnglishJourney(self._stock, cast, realiser, rng)

    def _first_words(self, continuation: Section) -> Iterator[str]:
        for body in ("", "tiny"):
            if continuation.body(body):
                # Whom the continuation brings along depends on the text before it.
                yield continuation.lines(body)[0].text.partition("{")[0]

    def _arriving(self, cast: EnglishCast, realiser: Realiser) -> Iterator[Block]:
        if cast.kind == "combined":
            yield self._block(realiser, self._section("heroes", "together"), spare=True)
