"""When the first text of a story comes, however long it is and whatever is checked: models at a realistic pace."""

import asyncio
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from aiohttp import web
from support.openrouter_fake import DONE, Answer, Call, Finish, Pause, Text, Usage, moderation, stream
from support.story_models import Telling, virtual_service

from standins.scene_writer import Habits, written
from standins.virtual_time import loop_time, run_virtually

FIRST_TOKEN, TOKEN = 0.6, 1 / 60
"""Seconds to the first token of an answer, and for each that follows."""
_CHARACTERS = 4
_MOST = 8.0
_SCORES = json.dumps(dict.fromkeys(("wish", "age", "arc", "moral", "coherence"), 5))


def _paced(text: str, *, first: float = FIRST_TOKEN) -> Answer:
    tokens = [text[start : start + _CHARACTERS] for start in range(0, len(text), _CHARACTERS)]
    steps = (step for token in tokens for step in (Text(token), Pause(TOKEN)))
    return stream(Pause(first), *steps, Finish(), Usage(0.0001), DONE)


def _answer(call: Call, *, judge: float) -> Answer:
    system, prompt = (message["content"] for message in call.body["messages"])
    if system.startswith("You check texts"):
        return _paced('{"unsuitable": false, "category": "none"}', first=judge)
    # An outline has about 250 tokens.
    return _paced(_SCORES if system.startswith("You are the editor") else written(prompt, Habits()).ljust(1_000))


@cache
def first_text(minutes: int, *, safety: str = "off", critic: str = "off", check: float = 0.4) -> tuple[float, float]:
    """Returns the seconds to title and first text; a check answers, or begins to, after `check` seconds."""

    async def moderate(text: str) -> web.Response:
        await asyncio.sleep(check)
        return await moderation(text)

    async def scene() -> tuple[float, float]:
        settings: dict[str, Any] = {"chat": safety == "moderation", "safety": safety, "critic": critic}
        with TemporaryDirectory() as folder:
            async with virtual_service(Path(folder), model="openai/gpt-4o-mini", **settings) as service:
                service.upstream.default = lambda call: _answer(call, judge=check)
                service.upstream.moderate = moderate
                began, told = loop_time(), Telling()
                telling = asyncio.create_task(service.tell(into=told, length_minutes=minutes, seed=3))
                # Long enough for an outline of 250 tokens before the text.
                await asyncio.wait([telling], timeout=_MOST)
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
                return told.times["title"] - began, told.times["delta"] - began

    return run_virtually(scene())


@pytest.mark.parametrize("minutes", [6, 20])
@pytest.mark.parametrize(("safety", "critic"), [("off", "model"), ("moderation", "off"), ("model", "model")])
def test_first_text_of_a_long_story_comes_as_soon_as_that_of_a_short_one(
    minutes: int, safety: str, critic: str
) -> None:
    """Its outline is made while the first scene is heard."""
    short, long = first_text(3, safety=safety), first_text(minutes, safety=safety, critic=critic)

    assert [] == [late for one, late in zip(short, long, strict=True) if late > one + 0.5]


@pytest.mark.parametrize("minutes", [3, 20])
@pytest.mark.parametrize(("safety", "check"), [("moderation", 0.45), ("model", 0.25)])
def test_checks_delay_the_first_text_by_less_than_a_second(minutes: int, safety: str, check: float) -> None:
    """Two answers of the check: that about the request, and that about the title."""
    before, after = first_text(minutes), first_text(minutes, safety=safety, check=check)

    assert [] == [checked for plain, checked in zip(before, after, strict=True) if checked > plain + 1.0]
