"""An upstream that fails in ways and at places drawn from a seed, and what a story may report of each."""

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Final, TypeAlias

from support.openrouter_fake import (
    DONE,
    Answer,
    Call,
    Cut,
    Event,
    Finish,
    Raw,
    Text,
    Usage,
    Wait,
    broken_off,
    error,
    pieces,
    story,
    stream,
)
from support.story_models import TITLE, goes_on

Way: TypeAlias = Callable[[str, Random], Answer]
"""The answer to a call; gets what a good one would say, up to a place drawn by chance."""

_REPEATED: Final = f"{TITLE}\n\n" + "The owl was very quiet. " * 40


def _thoughts(count: int, reason: str) -> Answer:
    thought = {"choices": [{"index": 0, "delta": {"content": "", "reasoning": "Hm. "}}]}
    return stream(*[Event(thought)] * count, Finish(reason), Usage(), DONE)


_UNAVAILABLE: Final = frozenset({"UPSTREAM_UNAVAILABLE"})
_NETWORK: Final = frozenset({"NETWORK_ERROR"})

WAYS: Final[Mapping[str, tuple[Way, frozenset[str]]]] = {
    "400": (lambda _, __: error(400), frozenset({"UPSTREAM_REFUSED"})),
    "401": (lambda _, __: error(401), frozenset({"UPSTREAM_AUTH"})),
    "402": (lambda _, __: error(402), frozenset({"QUOTA_EXCEEDED"})),
    "404": (lambda _, __: error(404), frozenset({"MODEL_NOT_FOUND"})),
    "408": (lambda _, __: error(408), _NETWORK),
    "413": (lambda _, __: error(413), frozenset({"UPSTREAM_REFUSED"})),
    "429": (lambda _, __: error(429), frozenset({"RATE_LIMITED"})),
    "429 soon": (lambda _, dice: error(429, retry_after=f"{dice.randrange(90)}"), frozenset({"RATE_LIMITED"})),
    "429 tomorrow": (lambda _, __: error(429, retry_after="50000"), frozenset({"QUOTA_EXCEEDED"})),
    "500": (lambda _, __: error(500), _UNAVAILABLE),
    "503": (lambda _, __: error(503), _UNAVAILABLE),
    "504": (lambda _, __: error(504), _NETWORK),
    "broken": (lambda said, _: stream(*pieces(said), Cut()), _NETWORK),
    "cut": (lambda said, _: stream(*pieces(said)), _UNAVAILABLE),
    "error within": (lambda said, _: broken_off(said, 502), _UNAVAILABLE),
    "stalled": (lambda said, _: stream(*pieces(said), Wait(asyncio.Event(), keep_alive=5)), _NETWORK),
    "out of tokens": (lambda said, _: stream(*pieces(said), Finish("length"), Usage(), DONE), _UNAVAILABLE),
    "ends early": (lambda said, _: story(said[: said.rfind(". ") + 1]), _UNAVAILABLE),
    "unreadable": (lambda said, _: stream(*pieces(said), Raw(b"data: {\n\n")), _NETWORK),
    "empty": (lambda _, __: stream(Finish(), Usage(), DONE), _UNAVAILABLE),
    "no answer": (lambda _, __: Answer(cut=True), _NETWORK),
    "thoughts": (lambda _, dice: _thoughts(dice.randrange(1, 50), "stop"), _UNAVAILABLE),
    "thoughts and no room": (lambda _, dice: _thoughts(dice.randrange(1, 50), "length"), _UNAVAILABLE),
    "HTML": (
        lambda _, __: Answer(body=b"<!doctype html><html>Hello</html>", content_type="text/html"),
        frozenset({"INVALID_CONFIGURATION", "NETWORK_ERROR"}),
    ),
    "error object": (lambda _, __: error(400, http_status=200), frozenset({"UPSTREAM_REFUSED"})),
    "error object, passing": (lambda _, __: error(503, http_status=200), _UNAVAILABLE),
    "repeats itself": (lambda _, __: story(_REPEATED), _UNAVAILABLE),
    "starts over": (lambda _, __: story(f"{TITLE}\n\nOnce upon a time a small bear lived in a cave."), _UNAVAILABLE),
}
"""By name: the answer, and the reasons of which one may be reported for it."""


class RandomUpstream:
    """Answers each call in one of a few ways that are drawn for this upstream, or well."""

    def __init__(self, seed: int) -> None:
        self._dice = Random(seed)
        self.ways = self._dice.sample(sorted(WAYS), self._dice.randint(1, 4))
        self.given: list[tuple[str, bool]] = []
        """What the calls got, and whether it may be billed."""
        self._well = self._dice.choice([0.0, 0.0, 0.2, 0.5, 0.8])

    @property
    def strange(self) -> bool:
        """True where it may say what is not of the story."""
        return not {"repeats itself", "starts over"}.isdisjoint(self.ways)

    @property
    def reasons(self) -> frozenset[str]:
        """What a story over this upstream may fail for."""
        return frozenset().union(*(WAYS[way][1] for way in self.ways))

    def answer(self, call: Call) -> Answer:
        """Returns what `call` gets."""
        good = goes_on(call, overlap=self._dice.randrange(3))
        if self._dice.random() < self._well:
            self.given.append(("well", True))
            return good
        name = self._dice.choice(self.ways)
        if name in {"ends early", "cut", "out of tokens"}:
            # To a reader, an answer that ends within what it repeats ends with a refrain.
            good = goes_on(call)
        said = "".join(step.text for step in good.steps if isinstance(step, Text))
        answer = WAYS[name][0](said[: self._dice.randrange(len(said))], self._dice)
        self.given.append((name, answer.status < 400 and not name.startswith("error object")))
        return answer
