"""Writes the example stories of docs/examples/stories: `make examples`.

The embedded writer's stories of the seeds 1 to 10 in each language; the brief follows from the seed, too.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

from benchmarks.evaluate import stories
from benchmarks.story_measures import Told
from benchmarks.story_writer import LANGUAGES, briefs, spec, story_writer, wishes

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "examples" / "stories"
SEEDS: Final = range(1, 11)
_MINUTES: Final = (1, 3, 5)


def brief(language: str, seed: int) -> Any:
    """Returns the brief of a seed: every tenth wish of the evaluation, and ages, morals and lengths in their order."""
    found = briefs()
    return spec(
        language,
        seed=seed,
        age=found["ages"][(seed - 1) % len(found["ages"])],
        minutes=_MINUTES[(seed - 1) % len(_MINUTES)],
        wish=wishes(language)[10 * seed - 1].text,
        moral=found["morals"]["known"][(seed - 1) % len(found["morals"]["known"])],
    )


def page(wanted: Any, story: Told) -> str:
    """Returns a story as a page."""
    facts = (
        f"Seed {wanted.seed}; {wanted.child.name}, {wanted.child.age} years; {wanted.length_minutes} min;"
        f" wish: {wanted.wish}; moral: {wanted.moral}."
    )
    return f"{facts}\n\n{story.title}\n\n{story.text.strip()}\n"


async def pages() -> dict[str, str]:
    """Returns the pages by their paths in the folder."""
    wanted = {f"{language}/{seed:02}.txt": brief(language, seed) for language in LANGUAGES for seed in SEEDS}
    async with story_writer("offline") as writer:
        written = await stories(writer, list(wanted.values()))
    return {name: page(wanted[name], story) for name, story in zip(wanted, written, strict=True)}


def main() -> None:
    """Writes the pages."""
    for name, text in asyncio.run(pages()).items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
