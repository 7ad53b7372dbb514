"""Many stories at once over models that fail in every way: none is wrong, none is lost, and the books are right."""

import asyncio
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from support.openrouter_fake import (
    DONE,
    Answer,
    Call,
    Cut,
    Finish,
    Raw,
    Text,
    Usage,
    Wait,
    broken_off,
    error,
    pieces,
    stream,
)
from support.story_models import TEXT, TITLE, goes_on, virtual_service

from standins.virtual_time import run_virtually
from story_service.answer.titles import fallback_ending

_MODELS: Final = ["chaos/one", "chaos/two", "chaos/three"]
_WAIT_SECONDS: Final = 600
_WAYS: Final[Mapping[str, Callable[[str], Answer]]] = {
    "refused": lambda _: error(503),
    "too many": lambda _: error(429, retry_after="1"),
    "broken": lambda said: stream(*pieces(said), Cut()),
    "cut": lambda said: stream(*pieces(said)),
    "error within": lambda said: broken_off(said, 502),
    "stalled": lambda said: stream(*pieces(said), Wait(asyncio.Event(), keep_alive=1)),
    "too long": lambda said: stream(*pieces(said), Finish("length"), Usage(), DONE),
    "unreadable": lambda said: stream(*pieces(said), Raw(b"data: {\n\n")),
    "empty": lambda _: stream(Finish(), Usage(), DONE),
    "no answer": lambda _: Answer(cut=True),
}


class _Weather:
    """Breaks a fifth of the calls, in all ways alike, wherever in the answer."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.broken = 0

    def answer(self, call: Call) -> Answer:
        """What `call` gets."""
        good = goes_on(call, overlap=self._random.randrange(3))
        if self._random.random() >= 0.2:
            return good
        self.broken += 1
        said = "".join(step.text for step in good.steps if isinstance(step, Text))
        way = self._random.choice(sorted(_WAYS))
        return _WAYS[way](said[: self._random.randrange(len(said))])


async def _storm(folder: Path, *, stories: int, seed: int) -> None:
    weather = _Weather(seed)
    async with virtual_service(folder) as writing:
        writing.upstream.default = weather.answer
        how: dict[str, Any] = {"provider_wait": _WAIT_SECONDS, "model": _MODELS[0], "fallback_models": _MODELS[1:]}
        all_told = await asyncio.gather(*(writing.tell(**how) for _ in range(stories)))
        upstream = writing.upstream

    assert {TITLE} == {telling.title for telling in all_told}
    # A story of about the requested length may end with a whole sentence where its answer was cut.
    night = f"\n\n{fallback_ending('en')}"
    assert {True} == {TEXT.startswith(telling.text.removesuffix(night)) for telling in all_told}
    assert min(len(telling.text.split()) for telling in all_told) >= 0.8 * 150
    assert all(telling.whole.content_length == len(telling.text) for telling in all_told)
    assert weather.broken > stories / 10
    attempts = [attempt for telling in all_told for attempt in telling.attempts.values()]
    assert len(upstream.calls) == len(attempts)
    assert weather.broken >= sum(bool(attempt.reason) for attempt in attempts)
    billed = {call.generation_id: call.total_cost for call in upstream.calls}
    told = {attempt.metadata["generation_id"]: attempt.cost_usd for attempt in attempts if attempt.metadata}
    assert {key: pytest.approx(billed[key]) for key in told if key} == {key: told[key] for key in told if key}
    assert pytest.approx(upstream.total_cost) == sum(attempt.cost_usd for attempt in attempts)
    assert len(upstream.calls) <= stories + weather.broken


def test_stories_come_through_bad_weather(tmp_path: Path) -> None:
    """A hundred stories at once with the settings of production, a fifth of the calls broken."""
    run_virtually(_storm(tmp_path, stories=100, seed=7))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(3))
def test_stories_come_through_a_storm(tmp_path: Path, seed: int) -> None:
    """Five hundred stories at once, a fifth of the calls broken in all ways."""
    run_virtually(_storm(tmp_path, stories=500, seed=seed))
