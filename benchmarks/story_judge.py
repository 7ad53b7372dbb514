"""A model that scores stories by a rubric, and says which of two is better without knowing their writers."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import openai

from benchmarks.story_measures import Told

RUBRIC: Final = {
    "wish": "the wish is the heart of what happens",
    "age": "words and sentences suit the age",
    "arc": "it has a beginning, a turn and a calm ending",
    "moral": "a moral is shown and not preached",
    "coherence": "nothing contradicts itself, nothing is left over",
    "language": "good prose, without faults of grammar",
    "comfort": "a child can fall asleep after it",
}
_OPENROUTER: Final = "https://openrouter.ai/api/v1"
_SCORE: Final = (
    "You are a demanding editor of bedtime stories. Score the story from 1 (poor) to 5 (excellent) by each item:\n"
    + "\n".join(f"- {name}: {meaning}" for name, meaning in RUBRIC.items())
    + f"\nAnswer with a JSON object of exactly these keys: {', '.join(RUBRIC)}."
)
_COMPARE: Final = (
    "You are a demanding editor of bedtime stories. Two writers got the same request. Which story would a parent ask"
    ' for again? Answer with a JSON object: {"better": "first"}, {"better": "second"} or {"better": "none"}.'
)
_OBJECT: Final = re.compile(r"\{[^{}]*\}")


class Judge:
    """Judges with a model of a server with OpenAI's interface."""

    def __init__(self, client: openai.AsyncOpenAI, model: str) -> None:
        self._client = client
        self._model = model

    @classmethod
    @asynccontextmanager
    async def opened(cls, model: str, environment: Mapping[str, str]) -> AsyncIterator[Self]:
        """Judges at CHAT_BASE_URL where it is set, else at OpenRouter."""
        if base := environment.get("CHAT_BASE_URL"):
            key = environment.get("CHAT_API_KEY") or "none"
        else:
            base, key = environment.get("OPENROUTER_BASE_URL", _OPENROUTER), environment["OPENROUTER_API_KEY"]
        async with openai.AsyncOpenAI(base_url=base, api_key=key) as client:
            yield cls(client, model)

    async def scores(self, wanted: Any, told: Told) -> dict[str, int]:
        """Returns a score from 1 to 5 for each item of the rubric; ValueError where the judge gives none."""
        answer = await self._answer(_SCORE, f"{_request(wanted)}\n\n{_story(told)}")
        scores = {name: answer.get(name) for name in RUBRIC}
        if any(not isinstance(score, int) or not 1 <= score <= 5 for score in scores.values()):
            raise ValueError(f"the judge did not score every item from 1 to 5: {answer}")
        return {name: int(score) for name, score in scores.items() if score is not None}

    async def better(self, wanted: Any, one: Told, two: Told, *, swapped: bool) -> int | None:
        """Returns 0 or 1 for the better of `one` and `two`, None for neither; `swapped` shows `two` first."""
        first, second = (two, one) if swapped else (one, two)
        shown = f"{_request(wanted)}\n\nFirst story:\n{_story(first)}\n\nSecond story:\n{_story(second)}"
        answer = (await self._answer(_COMPARE, shown)).get("better")
        if answer not in {"first", "second", "none"}:
            raise ValueError(f"the judge did not choose: {answer!r}")
        return None if answer == "none" else int((answer == "second") != swapped)

    async def _answer(self, task: str, shown: str) -> dict[str, Any]:
        messages: Any = [{"role": "system", "content": task}, {"role": "user", "content": shown}]
        completion = await self._client.chat.completions.create(model=self._model, messages=messages, temperature=0)
        found = _OBJECT.search(completion.choices[0].message.content or "")
        if found is None:
            raise ValueError("the judge answered without a JSON object")
        answer: dict[str, Any] = json.loads(found[0])
        return answer


def _request(wanted: Any) -> str:
    child = wanted.child
    return f"Request: for {child.name}, {child.age} years; {wanted.length_minutes} minutes; wish: {wanted.wish}"


def _story(told: Told) -> str:
    return f"{told.title}\n\n{told.text}"
