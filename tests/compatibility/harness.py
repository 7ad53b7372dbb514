"""Runs a case against the story service as it is built by default, over a server of the test's own."""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

from support.openrouter_fake import Answer, Call, OpenRouterFake
from support.story_models import TEXT, TITLE, Telling, VirtualService, virtual_service

from standins.virtual_time import run_virtually

READY: Final = "READY"


class Server(Enum):
    """A way in which a server is configured; the value is how the document names it."""

    CHAT = "chat"
    OPENROUTER = "OpenRouter"


ANY: Final = (Server.CHAT, Server.OPENROUTER)

Check: TypeAlias = Callable[[Telling, OpenRouterFake], object]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """A row of the table: what a server sends, and what is expected of it. See the package."""

    kind: str
    sends: str
    answers: Sequence[Answer] | Callable[[Call], Answer]
    calls: int
    """Calls of /chat/completions in all."""
    outcome: str = READY
    """READY, READY with the reasons of its warnings, or the reason for which the story failed."""
    title: str = TITLE
    text: str | None = None
    """What was released; unset: the whole story where it is READY, else nothing."""
    says: str = ""
    """A part of the error's message."""
    check: Check = field(default=lambda _telling, _upstream: None)
    """Asserts anything else."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `VirtualService.tell`: fields of the StorySpec, `written`, `provider_wait` and others."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    models: Sequence[str] = ("a/first",)
    """Ids that /models lists."""
    servers: Sequence[Server] = ANY

    @property
    def expected_text(self) -> str:
        """The text that is to be released."""
        if self.text is not None:
            return self.text
        return TEXT if self.outcome.startswith(READY) else str(self.request.get("written", ""))


@dataclass(frozen=True, slots=True)
class Result:
    """What a run gave."""

    telling: Telling
    upstream: OpenRouterFake

    @property
    def calls(self) -> int:
        """How often the server was called for text."""
        return len(self.upstream.calls)

    @property
    def outcome(self) -> str:
        """In the form of `Case.outcome`."""
        if self.telling.error is not None:
            return self.telling.error.reason
        return ", ".join(dict.fromkeys([READY, *(warning.reason for warning in self.telling.warnings)]))

    @property
    def message(self) -> str:
        """What the error says; empty without one. Without what differs from run to run."""
        if self.telling.error is None:
            return ""
        message = self.telling.error.message
        for url in (self.upstream.base_url, self.upstream.chat_url):
            message = message.replace(url.partition("//")[2].partition("/")[0], "server")
        return re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?", "YYYY-MM-DD hh:mm", message)


_STORY_ID: Final = "01a22d00-f1c8-7307-b0a3-6546159b3c99"


def run(case: Case, server: Server) -> Result:
    """Returns what the case gives with one of its servers."""
    state = random.getstate()
    # Pauses between calls are drawn at random, and the calls of a row must not be.
    random.seed(case.sends)
    try:
        with TemporaryDirectory() as folder:
            return run_virtually(_run(case, server, Path(folder)))
    finally:
        random.setstate(state)


async def _run(case: Case, server: Server, folder: Path) -> Result:
    async with virtual_service(folder, chat=server is Server.CHAT, **case.settings) as service:
        _script(case, service)
        # What a prompt has is drawn by the story's id, and words of the prompt are taken out of messages.
        request = {"written": "", "story_id": _STORY_ID, **case.request}
        telling = await service.tell(request.pop("written"), **request)
        return Result(telling, service.upstream)


def _script(case: Case, service: VirtualService) -> None:
    upstream, answers = service.upstream, case.answers
    upstream.models = [{"id": name, "object": "model"} for name in case.models]
    if callable(answers):
        upstream.default = answers
    else:
        upstream.default = lambda _: answers[min(len(upstream.calls), len(answers)) - 1]
