"""Metrics of the stories that this gateway makes, beside those of every server."""

import time
from typing import Final

from servicekit.metrics import OTHER, Metrics
from servicekit.reasons import REASONS
from tale.common.v1 import common_pb2

_BEGINNING_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
_STORY_SECONDS: Final = (5.0, 10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 3600.0, 14_400.0)
_BATCH_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_BATCH_STORIES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
_MOST_LANGUAGES: Final = 32
_CLAIMS: Final = ("waiting", "orphaned", "again")
NO_REASON: Final = "none"
"""Reason of a story that ended without a problem."""


class GatewayMetrics:
    """Counts stories by how they ended, and measures how long their callers waited for them.

    Labels are states, reasons and languages; a story is counted a few times in its life, whatever its length. Without
    `metrics` nothing is shown.
    """

    def __init__(self, metrics: Metrics | None = None) -> None:
        metrics = metrics or Metrics()
        self._languages = metrics.labels(_MOST_LANGUAGES)
        self._stories = metrics.counter(
            "tale_stories",
            "Stories that reached an end state, by that and the reason of their first problem, or none; one that is"
            " retried or narrated again counts again",
            ("state", "reason", "language"),
        )
        self._begun = metrics.histogram(
            "tale_story_wait_seconds",
            "Seconds from the request of a story to the start of its first run: its wait for a place",
            buckets=_BEGINNING_SECONDS,
        )
        self._first_text = metrics.histogram(
            "tale_story_first_text_seconds",
            "Seconds from the request of a story to its first text that a listener can see",
            buckets=_BEGINNING_SECONDS,
        )
        self._first_audio = metrics.histogram(
            "tale_story_first_audio_seconds",
            "Seconds from the request of a story, or of another narration, to its first audio that can be heard",
            buckets=_BEGINNING_SECONDS,
        )
        self._whole = metrics.histogram(
            "tale_story_seconds",
            "Seconds from the request of a story to its end state",
            ("state",),
            buckets=_STORY_SECONDS,
        )
        self._claims = metrics.counter(
            "tale_story_claims",
            "Stories claimed from storage: waiting (for a place, or handed over), orphaned (their run stopped), or"
            " again (orphaned more than once without progress)",
            ("kind",),
        )
        for kind in _CLAIMS:
            self._claims.labels(kind)  # From 0 on, so that the first one is an increase.
        self._batch_seconds = metrics.histogram(
            "tale_checkpoint_seconds",
            "Seconds until a batch of checkpoints was stored, repetitions included",
            buckets=_BATCH_SECONDS,
        )
        self._batch_stories = metrics.histogram(
            "tale_checkpoint_stories", "Stories in one batch of checkpoints", buckets=_BATCH_STORIES
        )
        self._skew = metrics.gauge(
            "tale_clock_skew_seconds",
            "How far this gateway's clock is ahead of storage's, as of the last new story, its call included",
        )

    def story(self, requested: float, *, text: bool, audio: bool) -> "StoryTimes":
        """Returns what measures a story that was requested at `requested` (`time.time`).

        `text` and `audio` say what it has already.
        """
        return StoryTimes(self, requested, text=text, audio=audio)

    def began(self, seconds: float) -> None:
        """Observes a first run, `seconds` after the request."""
        self._begun.observe(seconds)

    def first_text(self, seconds: float) -> None:
        """Observes the first text of a story."""
        self._first_text.observe(seconds)

    def first_audio(self, seconds: float) -> None:
        """Observes the first audio of a narration."""
        self._first_audio.observe(seconds)

    def ended(
        self, story: common_pb2.Story, state: common_pb2.StoryState.ValueType, reason: str, seconds: float | None = None
    ) -> None:
        """Counts a story that has ended at `state`; `reason` is empty where nothing went wrong."""
        name = _name_of(state)
        reason = reason if reason in REASONS else OTHER if reason else NO_REASON
        language = self._languages.of(story.language_code.partition("-")[0].lower())
        self._stories.labels(name, reason, language).inc()
        if seconds is not None:
            self._whole.labels(name).observe(seconds)

    def claimed(self, pickup_count: int) -> None:
        """Counts a claimed story."""
        self._claims.labels(_CLAIMS[min(pickup_count, 2)]).inc()

    def checkpointed(self, stories: int, seconds: float) -> None:
        """Observes a batch of checkpoints that is stored."""
        self._batch_stories.observe(stories)
        self._batch_seconds.observe(seconds)

    def created(self, story: common_pb2.Story) -> None:
        """Compares the clocks: `story` was created by a call that has just ended."""
        self._skew.set(time.time() - story.create_time.ToNanoseconds() / 1e9)


class StoryTimes:
    """The times of one story, from its request on; each is observed once."""

    def __init__(self, metrics: GatewayMetrics, requested: float, *, text: bool, audio: bool) -> None:
        self._metrics = metrics
        self._requested = requested
        self._text = text
        self._audio = audio

    @property
    def seconds(self) -> float:
        """Seconds since the request; not below 0 where the clocks of two machines differ."""
        return max(0.0, time.time() - self._requested)

    def progressed(self, *, text: bool, audio: bool) -> None:
        """Notes that the story has `text` and `audio` now."""
        if text and not self._text:
            self._text = True
            self._metrics.first_text(self.seconds)
        if audio and not self._audio:
            self._audio = True
            self._metrics.first_audio(self.seconds)


def _name_of(state: common_pb2.StoryState.ValueType) -> str:
    return common_pb2.StoryState.Name(state).removeprefix("STORY_STATE_")
