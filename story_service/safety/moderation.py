"""A SafetyCheck over the moderation endpoint of any server with OpenAI's API."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

from servicekit.resilience.errors import ProviderError, ProviderErrorKind
from servicekit.resilience.outgoing import OutgoingCalls
from story_service.models.states import circuit_of
from story_service.safety.judge import RETRIES
from story_service.safety.ports import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servicekit.resilience.circuit_queue import Circuit
    from servicekit.resilience.limits import ProviderLimits
    from servicekit.resilience.manager import BreakerManager
    from servicekit.resilience.outgoing import Attempt, AuditLog
    from story_service.safety.ports import Note

ENDPOINT: Final = "moderations"
"""Name of the operation in audit log, metrics and circuit."""
UNNAMED: Final = "unspecified"
"""The category of a refusal that names none."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_/-]{0,39}", re.IGNORECASE)


class Moderations(Protocol):
    """A server with a moderation endpoint."""

    @property
    def provider(self) -> str:
        """Name of the provider."""

    async def moderate(self, text: str, *, model: str, timeout: float) -> Mapping[str, Any]:
        """Returns the answer as JSON, from one call within `timeout` seconds. Raises ProviderError."""


class ModerationCheck:
    """Asks a moderation endpoint. Its calls are in the audit log, not in the ledger: it names no cost."""

    def __init__(
        self,
        server: Moderations,
        *,
        model: str,
        breakers: BreakerManager,
        limits: ProviderLimits,
        audit: AuditLog,
        timeout: float,
    ) -> None:
        """`model` "" leaves it to the server; `timeout` in seconds for a call."""
        self._server = server
        self._model = model
        self._breakers = breakers
        self._calls = OutgoingCalls(server.provider, breakers=breakers, policy=RETRIES, audit=audit, limits=limits)
        self._timeout = timeout

    @property
    def circuit(self) -> Circuit:
        """The circuit breaker of the endpoint."""
        return self._breakers.get(circuit_of(self._server.provider, ENDPOINT), provider=self._server.provider)

    async def check(self, text: str, *, note: Note) -> Verdict:
        """Checks `text`; see SafetyCheck."""
        del note

        async def work(attempt: Attempt) -> Verdict:
            attempt.ids["model"] = self._model
            answer = await self._server.moderate(text, model=self._model, timeout=self._timeout)
            verdict = _verdict(answer.get("results"))
            if verdict is None:
                raise ProviderError(
                    ProviderErrorKind.TRANSPORT, "its moderation cannot be read", provider=self._server.provider
                )
            return verdict

        return await self._calls.call(
            ENDPOINT,
            work,
            circuit=self.circuit.name,
            deadline=asyncio.get_running_loop().time() + self._timeout * (RETRIES.retries + 1),
        )

    def most_usd(self, *, checks: int, words: int) -> float | None:
        """Returns 0: what is billed for a moderation is not known to the service, and nothing at OpenAI."""
        del checks, words
        return 0.0


def _verdict(results: object) -> Verdict | None:
    """Returns the verdict over all results, None where one cannot be read."""
    if not isinstance(results, list) or not results:
        return None
    verdicts = [_of_result(result) for result in results]
    if None in verdicts:
        return None
    return next((verdict for verdict in verdicts if verdict is not None and verdict.category), Verdict())


def _of_result(result: object) -> Verdict | None:
    if not isinstance(result, dict):
        return None
    categories, scores, flagged = result.get("categories"), result.get("category_scores"), result.get("flagged")
    named = [name for name, value in categories.items() if value is True] if isinstance(categories, dict) else None
    # Some servers send categories alone.
    if not isinstance(flagged, bool) and (flagged is not None or named is None):
        return None
    if not (flagged or named):
        return Verdict()
    known = scores if isinstance(scores, dict) else {}
    worst = max(named or (), key=lambda name: _score(known.get(name)), default="")
    return Verdict(worst if _NAME.fullmatch(worst) else UNNAMED)


def _score(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
