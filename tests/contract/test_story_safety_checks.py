"""What every safety check holds to, over an endpoint that says yes and no, is down, slow and wrong."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Protocol

import pytest
from aiohttp import web
from pydantic import SecretStr
from support import openrouter_fake as fake
from support.aimock import aimock

from servicekit.resilience.breaker import CircuitBreaker
from servicekit.resilience.config import BreakerConfig
from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.limits import ProviderLimits
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import AuditLog
from servicekit.secrets import SecretSource
from story_service.models.catalogue import Catalogue
from story_service.ports import PURPOSE, ModelCall
from story_service.providers.chat.dialect import chat_server
from story_service.providers.chat.model import ServerChatModel
from story_service.providers.openrouter.dialect import openrouter
from story_service.safety.judge import Judge
from story_service.safety.model import PURPOSE as SAFETY
from story_service.safety.model import ModelCheck
from story_service.safety.moderation import ModerationCheck
from story_service.safety.ports import Note, SafetyCheck, Verdict
from tale.common.v1.common_pb2 import ATTEMPT_OUTCOME_FAILED, ATTEMPT_OUTCOME_STARTED, ATTEMPT_OUTCOME_SUCCEEDED

TEXT: Final = "The kind witch of Lantern Lane lit her stove for Mia."
TIMEOUT: Final = 0.5
KEY: Final = "sk-or-v1-topsecret"


class Stage(Protocol):
    """A check, and the stand-in of what it asks."""

    @property
    def check(self) -> SafetyCheck:
        """The check."""

    async def says(self, category: str) -> None:
        """Sets the verdict of all calls from now on; "": passed."""

    async def fails(self, how: str) -> None:
        """Lets all calls fail from now on."""


class FakeCheck:
    """A check of a test's own."""

    def __init__(self) -> None:
        self.verdict: Verdict | ProviderError = Verdict()
        self.circuit = CircuitBreaker(BreakerConfig(name="fake"))

    async def check(self, text: str, *, note: Note) -> Verdict:
        """Gives what was set."""
        del text, note
        if isinstance(self.verdict, ProviderError):
            raise self.verdict
        return self.verdict

    def most_usd(self, *, checks: int, words: int) -> float | None:
        """Returns that it is free."""
        del checks, words
        return 0.0


class FakeStage:
    """The fake."""

    def __init__(self) -> None:
        self.check = FakeCheck()

    async def says(self, category: str) -> None:
        self.check.verdict = Verdict(category)

    async def fails(self, how: str) -> None:
        del how
        self.check.verdict = ProviderError(ProviderErrorKind.TRANSPORT, "it cannot be read", provider="fake")


_BODIES: Final = {
    "down": (503, b'{"error": {"message": "no answer to the kind witch"}}'),
    "error behind 200": (200, b'{"error": {"message": "no answer to the kind witch"}}'),
    "nonsense": (200, b"the kind witch"),
    "JSON of another kind": (200, b'{"hello": [1, 2, 3]}'),
    "no results": (200, b'{"results": [], "choices": []}'),
    "results of another kind": (200, b'{"results": ["safe"], "choices": ["safe"]}'),
    "verdict of another kind": (200, b'{"results": [{"flagged": "perhaps"}]}'),
    "a page": (200, b"<html>the kind witch</html>"),
}


class ModerationStage:
    """On a small server with /moderations."""

    def __init__(self, upstream: fake.OpenRouterFake, check: ModerationCheck) -> None:
        self.upstream, self.check = upstream, check

    async def says(self, category: str) -> None:
        self.upstream.moderate = partial(fake.moderation, category=category)

    async def fails(self, how: str) -> None:
        async def moderate(text: str) -> web.Response:
            del text
            if how == "slow":
                await asyncio.sleep(60)
            status, body = _BODIES[how]
            return web.Response(status=status, body=body, content_type="application/json")

        self.upstream.moderate = moderate


class ModelStage:
    """On a small OpenRouter."""

    def __init__(self, upstream: fake.OpenRouterFake, check: ModelCheck) -> None:
        self.upstream, self.check = upstream, check

    async def says(self, category: str) -> None:
        verdict = {"unsuitable": bool(category), "category": category or "none"}
        self.upstream.default = lambda _: fake.story(json.dumps(verdict), cost=0.002)

    async def fails(self, how: str) -> None:
        def answer(_: fake.Call) -> fake.Answer:
            if how == "slow":
                return fake.stream(fake.Pause(60))
            status, body = _BODIES[how]
            return fake.Answer(status=status, body=body)

        self.upstream.default = answer


def judge(chat: ServerChatModel, **how: Any) -> Judge:
    """A judge as the service builds it."""
    given: dict[str, Any] = {
        "model": "openai/gpt-4o-mini",
        "purpose": SAFETY,
        "breakers": BreakerManager(),
        "limits": ProviderLimits(4),
        "audit": AuditLog(),
        "catalogue": Catalogue(),
        "timeout": TIMEOUT,
    }
    return Judge(chat, **given | how)


@asynccontextmanager
async def _stage(kind: str) -> AsyncIterator[Stage]:
    if kind == "fake":
        yield FakeStage()
        return
    async with fake.openrouter_fake() as upstream:
        server = chat_server(upstream.chat_url) if kind == "moderation" else openrouter(upstream.base_url)
        chat = ServerChatModel(server, SecretSource(SecretStr(KEY), None, name="KEY"))
        await chat.warm_up()
        try:
            if kind == "model":
                yield ModelStage(upstream, ModelCheck(judge(chat)))
            else:
                how: Any = {"breakers": BreakerManager(), "limits": ProviderLimits(4), "audit": AuditLog()}
                yield ModerationStage(upstream, ModerationCheck(chat, model="", timeout=TIMEOUT, **how))
        finally:
            await chat.aclose()


@pytest.fixture(params=["fake", "moderation", "model"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Every check."""
    async with _stage(request.param) as made:
        yield made


async def test_text_is_passed(stage: Stage) -> None:
    """No category."""
    await stage.says("")
    assert Verdict() == await stage.check.check(TEXT, note=_ignored)


async def test_text_is_refused_with_its_category(stage: Stage) -> None:
    """The same text."""
    await stage.says("violence")
    assert Verdict("violence") == await stage.check.check(TEXT, note=_ignored)


@pytest.mark.parametrize("how", [*_BODIES, "slow"])
async def test_failure_is_no_verdict(stage: Stage, how: str) -> None:
    """What is down, slow or wrong passes nothing, and its error holds neither text nor key."""
    await stage.fails(how)
    with pytest.raises(ProviderError) as caught:
        await stage.check.check(TEXT, note=_ignored)

    assert "witch" not in f"{caught.value} {caught.value.said}"
    assert KEY not in f"{caught.value} {caught.value.said}"


async def test_check_is_right_again_when_it_is_back(stage: Stage) -> None:
    """A failure leaves nothing behind."""
    await stage.fails("down")
    with pytest.raises(ProviderError):
        await stage.check.check(TEXT, note=_ignored)
    await stage.says("hate")

    assert Verdict("hate") == await stage.check.check(TEXT, note=_ignored)


async def test_cost_of_checks_is_known_beforehand(stage: Stage) -> None:
    """It grows with the words, or is nothing."""
    few, many = (stage.check.most_usd(checks=4, words=words) for words in (10, 10_000))
    assert few is not None
    assert many is not None
    assert 0 <= few <= many < 1


def _ignored(_: ModelCall) -> None:
    """Takes a line of the ledger."""


async def test_every_call_of_a_model_is_in_the_ledger() -> None:
    """Its start and its end, with its purpose and its cost; failed ones too."""
    calls: list[ModelCall] = []
    async with _stage("model") as stage:
        await stage.says("")
        await stage.check.check(TEXT, note=calls.append)
        await stage.fails("down")
        with pytest.raises(ProviderError):
            await stage.check.check(TEXT, note=calls.append)

    started, failed = ATTEMPT_OUTCOME_STARTED, ATTEMPT_OUTCOME_FAILED
    # The second start has the id by which its cost is asked for after a kill.
    assert [started, started, ATTEMPT_OUTCOME_SUCCEEDED, *[started, failed] * 3] == [call.outcome for call in calls]
    assert {SAFETY} == {call.metadata[PURPOSE] for call in calls}
    assert 4 == len({call.call_id for call in calls})
    assert (0.002, True) == (calls[2].spending.cost_usd, calls[2].spending.cost_known)


async def test_model_that_takes_no_structured_answer_is_asked_without() -> None:
    """One call more, once."""
    async with fake.openrouter_fake() as upstream:
        chat = ServerChatModel(openrouter(upstream.base_url), SecretSource(SecretStr(KEY), None, name="KEY"))
        refusal = b'{"error": {"message": "response_format is not supported", "code": 400}}'
        upstream.answer(fake.Answer(status=400, body=refusal), fake.story("unsafe"), fake.story("safe"))
        check = ModelCheck(judge(chat))
        verdicts = [await check.check(TEXT, note=_ignored) for _ in range(2)]
        await chat.aclose()

    assert [Verdict("other"), Verdict()] == verdicts
    assert ["response_format" in call.body for call in upstream.calls] == [True, False, False]


async def test_aimock_passes_what_it_is_sent() -> None:
    """OpenAI's form of the answer, as others play it; its errors are no verdict."""
    async with aimock() as upstream:
        chat = ServerChatModel(chat_server(upstream.openai_url), SecretSource(SecretStr(KEY), None, name="KEY"))
        how: Any = {"breakers": BreakerManager(), "limits": ProviderLimits(4), "audit": AuditLog()}
        check = ModerationCheck(chat, model="omni-moderation-latest", timeout=5.0, **how)
        verdict = await check.check(TEXT, note=_ignored)
        await chat.aclose()
        calls = await upstream.calls("/moderations")

    assert Verdict() == verdict
    assert [200] == [call.status for call in calls]
