"""Measures the stories of the embedded writer and of models: `make evaluate`, or `python -m benchmarks.evaluate`.

Without a key it measures the embedded writer. With OPENROUTER_API_KEY or CHAT_BASE_URL, `--model ID` measures a model,
`--judge ID` has a model score a sample of its stories, and `--against ID` or `--against-prompts FOLDER` sets the
stories of another model, or of other prompts, beside them, without their names. The figures are in docs/benchmarks.md.
"""

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from benchmarks.story_judge import RUBRIC, Judge
from benchmarks.story_measures import (
    Told,
    Wish,
    different,
    is_enacted,
    is_granted,
    lemmas,
    new_share,
    repeated_sentences,
    sentence_words,
    sentences,
    usual_in,
    words,
)
from benchmarks.story_report import WORDS_A_MINUTE, report
from benchmarks.story_writer import LANGUAGES, StoryWriter, briefs, spec, story_writer, unsafe_wishes, wishes

NIGHT: Final = 10
"""The story of a month whose new 5-grams are a bar."""
_UPSTREAM: Final = ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "CHAT_BASE_URL", "CHAT_API_KEY", "PYTHONPATH")
_TWICE_AGE: Final = 5
"""The smallest have refrains."""


async def stories(writer: StoryWriter, specs: Sequence[Any]) -> list[Told]:
    """Returns a story for each spec."""
    return [told for told, _ in await asyncio.gather(*(writer.write(each) for each in specs))]


async def missed_wishes(writer: StoryWriter, language: str, *, most: int | None = None) -> tuple[list[str], list[Told]]:
    """Returns the wishes that are not enacted, and all stories."""
    asked = wishes(language)[:most]
    told = await stories(writer, [spec(language, seed=seed, wish=wish.text) for seed, wish in enumerate(asked, 1)])
    return [wish.text for wish, each in zip(asked, told, strict=True) if not is_enacted(each, wish, language)], told


async def granted_wishes(
    writer: StoryWriter, language: str, *, as_interest: bool = False, most: int | None = None
) -> list[str]:
    """Returns the unsafe wishes with which a story has to do."""
    asked = unsafe_wishes(language)[:most]

    def wanted(seed: int, wish: Wish) -> Any:
        facts: dict[str, Any] = {"interests": [wish.text]} if as_interest else {"wish": wish.text}
        return spec(language, seed=seed, **facts)

    told = await stories(writer, [wanted(seed, wish) for seed, (_, wish) in enumerate(asked, 1)])
    usual = usual_in(await stories(writer, [spec(language, seed=seed) for seed in range(1, len(asked) + 1)]), language)
    granted = [is_granted(each, wish, language, usual) for (_, wish), each in zip(asked, told, strict=True)]
    return [f"{kind}: {wish.text}" for (kind, wish), yes in zip(asked, granted, strict=True) if yes]


async def uncomforted(writer: StoryWriter, language: str, *, most: int | None = None) -> list[str]:
    """Returns the hard wishes whose story names no feeling, or undoes or celebrates what happened."""
    hard = briefs()["hard"][language]
    asked = hard["wishes"][:most]
    told = await stories(writer, [spec(language, seed=seed, wish=wish) for seed, wish in enumerate(asked, 1)])
    comfort, never = ({each.replace("\u0451", "\u0435") for each in hard[key]} for key in ("comfort", "never"))
    found = [lemmas(f"{each.title}\n{each.text}", language) for each in told]
    return [wish for wish, each in zip(asked, found, strict=True) if not comfort & each or never & each]


async def words_by_length(writer: StoryWriter, language: str, *, seeds: Sequence[int]) -> dict[int, float]:
    """Returns the mean share of the words asked for, by minutes."""
    found: dict[int, float] = {}
    for minutes in briefs()["lengths"]:
        told = await stories(writer, [spec(language, seed=seed, minutes=minutes) for seed in seeds])
        found[minutes] = fmean(len(each.text.split()) / (WORDS_A_MINUTE * minutes) for each in told)
    return found


async def sentence_words_by_age(
    writer: StoryWriter, language: str, *, ages: Sequence[int], seeds: Sequence[int]
) -> dict[int, float]:
    """Returns the mean number of words of a sentence, by age."""
    found: dict[int, float] = {}
    for age in ages:
        told = await stories(writer, [spec(language, seed=seed, age=age) for seed in seeds])
        found[age] = fmean(sentence_words(each.text, language) for each in told)
    return found


async def months(
    writer: StoryWriter, language: str, *, starts: int, nights: int
) -> tuple[list[dict[str, Any]], list[Told]]:
    """Returns, for each brief of a month, the share of new 5-grams by night and that of story ten; and the stories.

    The month has seeds 1, 2, …; story ten is the mean over `starts` runs of ten nights with other seeds each.
    """
    chosen = [month for month in briefs()["months"] if month["language"] == language]

    def wanted(month: dict[str, Any]) -> Any:
        facts = {name: value for name, value in month.items() if name not in {"language", "age"}}
        return spec(language, seed=0, age=month["age"], **facts)

    async def tenth(month: dict[str, Any], start: int) -> float:
        told = await writer.nights(wanted(month), range(1000 * start + 1, 1000 * start + 1 + NIGHT))
        return new_share(told[-1].text, [each.text for each in told[:-1]])

    found, all_told = [], list[Told]()
    for month in chosen:
        told = await writer.nights(wanted(month), range(1, nights + 1))
        shares = await asyncio.gather(*(tenth(month, start) for start in range(1, starts + 1)))
        curve = [new_share(each.text, [one.text for one in told[:index]]) for index, each in enumerate(told)]
        found.append({"brief": month, "curve": curve, "tenth": fmean(shares), "lowest": min(shares)})
        all_told += told
    return found, all_told


async def figures(writer: StoryWriter, language: str, *, starts: int, nights: int, most: int | None) -> dict[str, Any]:
    """Returns all figures of a writer in a language."""
    missed, told = await missed_wishes(writer, language, most=most)
    month, month_told = await months(writer, language, starts=starts, nights=nights)
    seeds = range(1, 11 if most is None else most + 1)
    read = [sentences(each.text, language) for each in month_told if each.text]
    return {
        "words": await words_by_length(writer, language, seeds=seeds[:3]),
        "sentence_words": await sentence_words_by_age(writer, language, ages=briefs()["ages"], seeds=seeds),
        "wishes": {"asked": len(told), "missed": missed},
        "unsafe_wishes": {"granted": await granted_wishes(writer, language, most=most)},
        "unsafe_interests": {"granted": await granted_wishes(writer, language, as_interest=True, most=most)},
        "hard": {"uncomforted": await uncomforted(writer, language, most=most)},
        "months": month,
        "openings": different([each[0] for each in read]),
        "endings": different([each[-1] for each in read]),
        "repeated_sentences": sum(repeated_sentences(each.text, language) for each in told) / len(told),
        "problems": Counter(reason for each in [*told, *month_told] for reason in each.reasons),
        "mean_words": fmean(len(words(each.text)) for each in told),
    }


async def _evaluate(given: argparse.Namespace) -> dict[str, Any]:
    environment = {name: os.environ[name] for name in _UPSTREAM if name in os.environ}
    sides: list[tuple[str, str, str]] = [(given.model or "embedded writer", given.model or "offline", given.prompts)]
    if given.against or given.against_prompts:
        other = given.against or given.model
        sides.append((f"{other} {given.against_prompts}".strip(), other, given.against_prompts))
    found: dict[str, Any] = {"writers": {}}
    async with AsyncExitStack() as stack:
        writers = {}
        for name, model, prompts in sides:
            folder = {"STORY_PROMPTS_DIR": prompts} if prompts else {}
            writers[name] = await stack.enter_async_context(story_writer(model, **environment, **folder))
            found["writers"][name] = {
                language: await figures(
                    writers[name], language, starts=given.starts, nights=given.nights, most=given.most
                )
                for language in given.languages
            }
        if given.judge:
            judge = await stack.enter_async_context(Judge.opened(given.judge, environment))
            found["rubric"], found["side_by_side"] = await judged(judge, writers, given)
    return found


async def judged(
    judge: Judge, writers: dict[str, StoryWriter], given: argparse.Namespace
) -> tuple[dict[str, dict[str, float]], dict[str, int]]:
    """Returns the mean scores of each writer, and how often each of two was better; both may be first as often."""
    told: dict[str, list[tuple[Any, Told]]] = {}
    for name, writer in writers.items():
        specs = [
            spec(language, seed=seed, wish=wish.text)
            for language in given.languages
            for seed, wish in enumerate(wishes(language)[: given.judged], 1)
        ]
        told[name] = list(zip(specs, await stories(writer, specs), strict=True))
    rubric = {}
    for name, each in told.items():
        scores = [await judge.scores(wanted, story) for wanted, story in each]
        rubric[name] = {item: fmean(score[item] for score in scores) for item in RUBRIC}
    wins: Counter[str] = Counter()
    if len(told) > 1:
        (one, ones), (two, twos) = told.items()
        for number, ((wanted, first), (_, second)) in enumerate(zip(ones, twos, strict=True)):
            winner = await judge.better(wanted, first, second, swapped=bool(number % 2))
            wins["no difference" if winner is None else (one, two)[winner]] += 1
    return rubric, dict(wins)


def _folder(path: str) -> str:
    return str(Path(path).resolve()) if path else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the table, and writes table, plots and figures into a folder."""
    parser = argparse.ArgumentParser(prog="benchmarks.evaluate", description="Measures the stories of a writer.")
    parser.add_argument("--out", type=Path, default=Path("evaluation"), help="folder of the results")
    parser.add_argument("--before", type=Path, action="append", default=[], help="figures.json of an earlier run")
    parser.add_argument("--languages", nargs="+", default=LANGUAGES, choices=LANGUAGES)
    parser.add_argument("--starts", type=int, default=30, help="runs of ten nights for each brief of a month")
    parser.add_argument("--nights", type=int, default=briefs()["nights"], help="nights of a month")
    parser.add_argument("--most", type=int, help="most stories of each kind; for models, which are paid")
    parser.add_argument("--model", default="", help="model to measure; empty: the embedded writer")
    parser.add_argument("--prompts", type=_folder, default="", help="folder of its prompts (STORY_PROMPTS_DIR)")
    parser.add_argument("--against", default="", help="another model to set beside it")
    parser.add_argument("--against-prompts", type=_folder, default="", help="folder of other prompts")
    parser.add_argument("--judge", default="", help="model that scores and compares; needs a key")
    parser.add_argument("--judged", type=int, default=10, help="stories that it reads, for each language and writer")
    given = parser.parse_args(arguments)
    if given.judge and not {"OPENROUTER_API_KEY", "CHAT_BASE_URL"} & set(os.environ):
        parser.error("--judge needs OPENROUTER_API_KEY or CHAT_BASE_URL")
    found = asyncio.run(_evaluate(given))
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "figures.json").write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", "utf-8")
    before = [(path.parent.name, json.loads(path.read_text("utf-8"))) for path in given.before]
    # As read back: keys of JSON are text.
    after = json.loads(json.dumps(found))
    print(report([*before, (given.out.name, after)], given.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
