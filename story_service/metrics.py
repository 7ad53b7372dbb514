"""Metrics of the story service. A model that is neither configured nor listed is "other"."""

from collections.abc import Collection
from typing import Final

from servicekit.metrics import OTHER, Metrics
from story_service.ports import Spending

_SECONDS: Final = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_FIRST_TOKEN_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
_RETRIES: Final = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0)


class StoryMetrics:
    """Tokens, cost and times by model. The calls themselves are counted with their audit lines."""

    def __init__(self, metrics: Metrics, *, models: Collection[str]) -> None:
        """`models` are the ids with a label of their own; the collection may grow."""
        self._models = models
        self._tokens = metrics.counter(
            "openai_tokens_used", "Tokens read (prompt) and written (completion)", ("model", "type")
        )
        self._cost = metrics.counter("story_cost_usd", "US dollars billed, where the cost is known", ("model",))
        self._unknown = metrics.counter(
            "story_cost_unknown_calls", "Calls whose cost was not known in time", ("model",)
        )
        self._duration = metrics.histogram(
            "story_generation_duration_seconds",
            "Seconds of successful attempts, time of the reader included",
            ("model",),
            buckets=_SECONDS,
        )
        self._first_token = metrics.histogram(
            "story_time_to_first_token_seconds",
            "Seconds from a call to its first text",
            ("model",),
            buckets=_FIRST_TOKEN_SECONDS,
        )
        self._retries = metrics.histogram(
            "story_retries_per_request", "Calls to the same model after the first, in one request", buckets=_RETRIES
        )
        self._checks = metrics.counter("story_safety_checks", "Safety checks", ("subject", "verdict"))
        self._scenes = metrics.counter("story_critic_scenes", "Scenes that the critic read", ("verdict",))
        self._fallbacks = metrics.counter(
            "story_fallbacks", "Model fallbacks, by the model that failed", ("model", "reason")
        )

    def checked(self, subject: str, verdict: str) -> None:
        """Counts a safety check of a request, an outline, a title or a text: passed, refused or failed."""
        self._checks.labels(subject, verdict).inc()

    def criticised(self, verdict: str) -> None:
        """Counts a scene that the critic read: passed, weak, or failed where it gave no judgement."""
        self._scenes.labels(verdict).inc()

    def settled(self, model: str, spending: Spending) -> None:
        """Counts tokens and cost of a call, once, when nothing more can be known of them."""
        label = self._label(model)
        self._tokens.labels(label, "prompt").inc(spending.prompt_tokens)
        self._tokens.labels(label, "completion").inc(spending.completion_tokens)
        if spending.cost_known:
            self._cost.labels(label).inc(spending.cost_usd)
        else:
            self._unknown.labels(label).inc()

    def attempt_ended(self, model: str, seconds: float) -> None:
        """Observes an attempt that completed a story."""
        self._duration.labels(self._label(model)).observe(seconds)

    def first_token(self, model: str, seconds: float) -> None:
        """Observes the time to the first text of a call."""
        self._first_token.labels(self._label(model)).observe(seconds)

    def request_ended(self, retries: int) -> None:
        """Observes the retries of a request, successful or not."""
        self._retries.observe(retries)

    def fell_back(self, model: str, reason: str) -> None:
        """Counts a model fallback; `reason` is that of `story_service.errors.why`."""
        self._fallbacks.labels(self._label(model), reason).inc()

    def _label(self, model: str) -> str:
        return model if model in self._models else OTHER
