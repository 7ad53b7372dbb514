"""Many stories at once over models that fail in every way: none is wrong, none is lost, and the books are right."""

import asyncio
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

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
from support.story_models import TEXT, TITLE, StoryServer, Telling, goes_on, story_server

from servicekit.errors import DomainError

_MODELS: Final = ["chaos/one", "chaos/two", "chaos/three"]
_NEVER: Final = asyncio.Event()
_WAYS: Final[Mapping[str, Callable[[str], Answer]]] = {
    "refused": lambda _: error(503),
    "too many": lambda _: error(429, retry_after="1"),
    "broken": lambda said: stream(*pieces(said), Cut()),
    "cut": lambda said: stream(*pieces(said)),
    "error within": lambda said: broken_off(said, 502),
    "stalled": lambda said: stream(*pieces(said), Wait(_NEVER, keep_alive=0.1)),
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


async def _written(writing: StoryServer, limit: asyncio.Semaphore) -> list[Telling]:
    """A story, gone on with as the gateway does where the service gave up; each call's telling."""
    tellings: list[Telling] = []
    async with limit:
        while not tellings or (tellings[-1].complete is None and len(tellings) < 10):
            title = next((telling.title for telling in tellings if telling.title), "")
            text = tellings[-1].text if tellings else ""
            if tellings:
                assert _passing(tellings[-1].failure)
            tellings.append(
                await writing.tell(text, title=title, timeout=100, model=_MODELS[0], fallback_models=_MODELS[1:])
            )
    return tellings


def _passing(failure: DomainError) -> bool:
    return failure.retry_after is not None


async def _storm(folder: Path, *, stories: int, seed: int) -> None:
    weather, limit = _Weather(seed), asyncio.Semaphore(32)
    async with story_server(folder, idle_timeout_seconds=4, first_token_timeout_seconds=20) as writing:
        writing.upstream.default = weather.answer
        all_told = await asyncio.gather(*(_written(writing, limit) for _ in range(stories)))
        upstream = writing.upstream

    assert [(TITLE, TEXT)] * stories == [
        ("".join(telling.title for telling in tellings), tellings[-1].text) for tellings in all_told
    ]
    assert all(tellings[-1].whole.content_length == len(TEXT) for tellings in all_told)
    assert weather.broken > stories / 10
    attempts = [attempt for tellings in all_told for telling in tellings for attempt in telling.attempts.values()]
    assert len(upstream.calls) == len(attempts)
    assert weather.broken == sum(bool(attempt.reason) for attempt in attempts)
    billed = {call.generation_id: call.total_cost for call in upstream.calls}
    told = {attempt.metadata["generation_id"]: attempt.cost_usd for attempt in attempts if attempt.metadata}
    assert {key: pytest.approx(billed[key]) for key in told if key} == {key: told[key] for key in told if key}
    assert pytest.approx(upstream.total_cost) == sum(attempt.cost_usd for attempt in attempts)


async def test_stories_come_through_bad_weather(tmp_path: Path) -> None:
    """Thirty stories, a fifth of the calls broken."""
    await _storm(tmp_path, stories=30, seed=7)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(3))
async def test_stories_come_through_a_storm(tmp_path: Path, seed: int) -> None:
    """Three hundred stories, a fifth of the calls broken in all ways."""
    await _storm(tmp_path, stories=300, seed=seed)
