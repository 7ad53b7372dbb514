"""What the parts of a story wait for, as its watchers and operators see it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from tale.common.v1 import common_pb2

LATE_SECONDS: Final = 1.0
"""Seconds without a response of a service after which a story is shown as waiting for it."""

TEXT: Final = "text"
NARRATION: Final = "narration"

STORY_SERVICE: Final = common_pb2.Waiting(what=common_pb2.WAIT_FOR_STORY_SERVICE, name="story service")
VOICE_SERVICE: Final = common_pb2.Waiting(what=common_pb2.WAIT_FOR_VOICE_SERVICE, name="voice service", narration=True)
STORAGE: Final = common_pb2.Waiting(
    what=common_pb2.WAIT_FOR_STORAGE, name="storage service", reason="STORAGE_UNAVAILABLE"
)
PLACE: Final = common_pb2.Waiting(what=common_pb2.WAIT_FOR_PLACE, name="a place", reason="WAITING_FOR_PLACE")


def moment(seconds: float = 0.0) -> Timestamp:
    """Returns the moment in `seconds` from now."""
    at = Timestamp()
    at.GetCurrentTime()
    at.FromNanoseconds(at.ToNanoseconds() + int(seconds * 1e9))
    return at


class Waits:
    """What one story waits for. `changed` is called when that begins, changes or ends."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._open: dict[object, common_pb2.Waiting] = {}
        # Since when each part has waited for the same without having come further, also if it does not just now.
        self._since: dict[tuple[object, str], Timestamp] = {}

    @property
    def shown(self) -> common_pb2.Waiting | None:
        """What holds the story up most: storage, then what its text waits for, then its narration."""
        return min(self._open.values(), key=_rank, default=None)

    def begin(self, key: object, waiting: common_pb2.Waiting) -> None:
        """Notes what the part `key` waits for; `since` is that of the first time since it came further."""
        shown = common_pb2.Waiting()
        shown.CopyFrom(waiting)
        began = waiting.since if waiting.HasField("since") else moment()
        shown.since.CopyFrom(self._since.setdefault((key, waiting.name), began))
        if shown != self._open.get(key):
            self._open[key] = shown
            self._changed()

    def end(self, key: object) -> None:
        """Notes that `key` does not wait just now."""
        if self._open.pop(key, None) is not None:
            self._changed()

    def progressed(self, key: object) -> None:
        """Notes that `key` came further."""
        self.end(key)
        for part in [each for each in self._since if each[0] == key]:
            del self._since[part]

    @contextmanager
    def late(self, waiting: common_pb2.Waiting) -> Iterator[None]:
        """Shows `waiting` while the block lasts, once that is LATE_SECONDS."""
        key, late = object(), common_pb2.Waiting(since=moment())
        late.MergeFrom(waiting)
        timer = asyncio.get_running_loop().call_later(LATE_SECONDS, self.begin, key, late)
        try:
            yield
        finally:
            timer.cancel()
            self.progressed(key)


class PeerWait:
    """The wait of a text or narration for its service: from an attempt that gets no response to the next response."""

    def __init__(self, waits: Waits, service: common_pb2.Waiting) -> None:
        self._waits = waits
        self._key = NARRATION if service.narration else TEXT
        self._service = service
        self._waiting: common_pb2.Waiting | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._shown = False

    def begin(self) -> None:
        """Notes that an attempt begins."""
        if self._waiting is None:
            self._waiting = common_pb2.Waiting(reason="UPSTREAM_UNAVAILABLE", since=moment())
            self._waiting.MergeFrom(self._service)
            self._timer = asyncio.get_running_loop().call_later(LATE_SECONDS, self._show)
        self._waiting.ClearField("next_try_time")
        self._refresh()

    def failed(self, reason: str, pause: float) -> None:
        """Notes that an attempt failed for `reason`, and that the next one begins in `pause` seconds."""
        self.begin()
        if self._waiting is not None:
            if reason == STORAGE.reason:
                self._waiting.MergeFrom(STORAGE)
            self._waiting.reason = reason
            self._waiting.next_try_time.CopyFrom(moment(pause))
            self._refresh()

    def end(self) -> None:
        """Notes that the service responds, or is not called any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._shown:
            self._waits.progressed(self._key)
        self._waiting, self._timer, self._shown = None, None, False

    def _show(self) -> None:
        self._shown = True
        self._refresh()

    def _refresh(self) -> None:
        if self._shown and self._waiting is not None:
            self._waits.begin(self._key, self._waiting)


def waiting_of(problem: common_pb2.Problem) -> common_pb2.Waiting:
    """Returns what a problem whose reason is in WAITS says that the story waits for."""
    what, name = common_pb2.WAIT_FOR_PROVIDER, problem.metadata.get("provider", "")
    if problem.reason == "WAITING_FOR_PLACE":
        what, name = common_pb2.WAIT_FOR_PLACE, "a place"
    elif problem.metadata.get("purpose") == "safety":
        what, name = common_pb2.WAIT_FOR_SAFETY_CHECK, "safety check"
    narration = "audio_id" in problem.metadata
    waiting = common_pb2.Waiting(what=what, name=name, reason=problem.reason, narration=narration)
    if problem.HasField("time"):
        waiting.since.CopyFrom(problem.time)
        if (seconds := problem.metadata.get("retry_after", "")).isdecimal() and int(seconds):
            waiting.next_try_time.FromNanoseconds(problem.time.ToNanoseconds() + int(seconds) * 10**9)
    return waiting


def _rank(waiting: common_pb2.Waiting) -> tuple[bool, bool, int]:
    return waiting.what != common_pb2.WAIT_FOR_STORAGE, waiting.narration, waiting.since.ToNanoseconds()
