"""What a story's calls have cost, or may have cost."""

from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.ids import new_id
from tale.common.v1 import common_pb2


def now() -> Timestamp:
    """The present moment."""
    moment = Timestamp()
    moment.GetCurrentTime()
    return moment


class Ledger:
    """The lines of one story, and which of them are not stored yet."""

    def __init__(self, lines: Iterable[common_pb2.Attempt] = ()) -> None:
        self._lines: dict[str, common_pb2.Attempt] = {line.attempt_id: line for line in lines}
        self._unkept: dict[str, None] = {}

    def begin_attempt(self, kind: common_pb2.AttemptKind.ValueType, *, provider: str, model: str) -> str:
        """Notes that a call is about to be made; the id is the attempt's."""
        line = common_pb2.Attempt(
            attempt_id=new_id(),
            kind=kind,
            provider=provider,
            model=model,
            outcome=common_pb2.ATTEMPT_OUTCOME_STARTED,
            start_time=now(),
            segment_index=-1,
        )
        self._note(line)
        return line.attempt_id

    def end_attempt(self, attempt_id: str, outcome: common_pb2.AttemptOutcome.ValueType, reason: str = "") -> None:
        """Notes how an attempt ended. Its cost is that of its calls."""
        line = self._lines[attempt_id]
        if line.outcome != common_pb2.ATTEMPT_OUTCOME_STARTED:
            return
        calls = [other for other in self._lines.values() if other.parent_attempt_id == attempt_id]
        line.outcome = outcome
        line.reason = reason
        line.end_time.CopyFrom(now())
        line.cost_usd = sum(call.cost_usd for call in calls)
        line.cost_known = outcome == common_pb2.ATTEMPT_OUTCOME_SUCCEEDED and all(call.cost_known for call in calls)
        self._note(line)

    def end_all(self, outcome: common_pb2.AttemptOutcome.ValueType, reason: str = "") -> None:
        """Notes that whatever has not ended yet ended so."""
        for line in list(self._lines.values()):
            self.end_attempt(line.attempt_id, outcome, reason)

    def add(self, parent_attempt_id: str, call: common_pb2.Attempt) -> None:
        """Notes a call that a service reports."""
        line = common_pb2.Attempt()
        line.CopyFrom(call)
        line.attempt_id = line.attempt_id or new_id()
        line.parent_attempt_id = parent_attempt_id
        self._note(line)

    def give_back(self, lines: Iterable[common_pb2.Attempt]) -> None:
        """These were not stored, or it is not known: the next checkpoint must carry them."""
        self._unkept = {line.attempt_id: None for line in lines} | self._unkept

    def take_unkept(self) -> list[common_pb2.Attempt]:
        """The lines that the next checkpoint must carry. They count as stored unless they are given back."""
        lines = [self._lines[attempt_id] for attempt_id in self._unkept]
        self._unkept.clear()
        return lines

    def usage(self) -> common_pb2.Usage:
        """What the text cost, over all attempts. Known only where every attempt's cost is."""
        calls = [line for line in self._lines.values() if line.kind == common_pb2.ATTEMPT_KIND_MODEL_CALL]
        attempts = [line for line in self._lines.values() if line.kind == common_pb2.ATTEMPT_KIND_WRITING]
        told = {call.parent_attempt_id for call in calls}
        return common_pb2.Usage(
            prompt_tokens=sum(call.prompt_tokens for call in calls),
            completion_tokens=sum(call.completion_tokens for call in calls),
            cost_usd=sum(call.cost_usd for call in calls),
            cost_known=all(call.cost_known for call in calls)
            and all(attempt.attempt_id in told for attempt in attempts),
        )

    def _note(self, line: common_pb2.Attempt) -> None:
        self._lines[line.attempt_id] = line
        self._unkept[line.attempt_id] = None
