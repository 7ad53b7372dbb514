"""The ledger of a story's attempts, and what the record says of its text by them."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.ids import new_id
from servicekit.reasons import explained
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2

MAX_RESPONSE_BYTES: Final = 1_500_000
"""Bytes of the stored completions of one story; the earliest are dropped. A record must fit into a gRPC message."""

_OF_THE_TEXT: Final = frozenset({common_pb2.ATTEMPT_KIND_WRITING, common_pb2.ATTEMPT_KIND_MODEL_CALL})
_TRUNCATED: Final = "RESPONSE_TRUNCATED"
_EARLIER: Final = "earlier_generations"
_REQUESTED: Final = "requested"
"""Metadata of the first writing and narration attempts after the story, its text or its audio was requested."""
_EMBEDDED: Final = "offline"
"""Provider of calls that cost nothing."""
_FALSE: Final = "false"
_MOST_UNSETTLED: Final = 64
_SETTLED_SECONDS: Final = 3_600
"""Age from which on a call is not asked about: its provider would have reported its cost."""
_PURPOSE: Final = "purpose"
"""Metadata of a call that judged a text."""


def now() -> Timestamp:
    """Returns the present moment."""
    moment = Timestamp()
    moment.GetCurrentTime()
    return moment


def requested_at(record: storage_pb2.StoryRecord) -> float:
    """Returns when the story, its text or its audio was requested last, as `time.time`.

    Where it was retried, that is not known before its first attempt has begun: it is now.
    """
    story = record.story
    if record.run.work_duration.ToNanoseconds():
        begun = [each.start_time for each in story.attempts if _REQUESTED in each.metadata]
        moment = begun[-1] if begun else story.create_time
    else:
        moment = now() if story.attempts else story.create_time
    return moment.ToNanoseconds() / 1e9


class Ledger:
    """The attempts of one story, and which of them are not stored yet.

    Usage, completions and generation info of the text follow from the attempts, and are stored together with them.
    """

    def __init__(self, story: common_pb2.Story | None = None) -> None:
        story = story or common_pb2.Story()
        self._attempts = {attempt.attempt_id: attempt for attempt in story.attempts}
        self._unsaved: dict[str, None] = {}
        self._generation = storage_pb2.GenerationRecord(model_used=story.model_used, full_response=story.full_response)
        self._generation_unsaved = False
        self._truncation_reported = any(problem.reason == _TRUNCATED for problem in story.problems)
        info = MessageToDict(story.generation_info)
        self._earlier_infos = [*info.pop(_EARLIER, ()), *([info] if info else [])]
        # Of the calls that this run has made, by attempt id.
        self._responses: dict[str, Struct] = {}
        self._infos: dict[str, Struct] = {}

    def begin_attempt(
        self, kind: common_pb2.AttemptKind.ValueType, *, provider: str, model: str, requested: bool = False
    ) -> str:
        """Notes that a call is about to be made; returns the id of the attempt.

        `requested`: it is the first of its kind since the caller requested it; calls are counted from it on.
        """
        attempt = common_pb2.Attempt(
            attempt_id=new_id(),
            kind=kind,
            provider=provider,
            model=model,
            outcome=common_pb2.ATTEMPT_OUTCOME_STARTED,
            start_time=now(),
            segment_index=-1,
            metadata={_REQUESTED: "true"} if requested else {},
        )
        self._note(attempt)
        return attempt.attempt_id

    def end_attempt(self, attempt_id: str, outcome: common_pb2.AttemptOutcome.ValueType, reason: str = "") -> None:
        """Notes how an attempt ended, and its calls with it. Its cost is that of its calls."""
        attempt = self._attempts[attempt_id]
        if attempt.outcome != common_pb2.ATTEMPT_OUTCOME_STARTED:
            return
        attempt.outcome = outcome
        attempt.reason = reason
        attempt.end_time.CopyFrom(now())
        if not attempt.parent_attempt_id:
            calls = [other for other in self._attempts.values() if other.parent_attempt_id == attempt_id]
            for call in calls:
                # Left before it ended.
                self.end_attempt(call.attempt_id, common_pb2.ATTEMPT_OUTCOME_CANCELLED, reason)
            attempt.cost_usd = sum(call.cost_usd for call in calls)
            succeeded = outcome == common_pb2.ATTEMPT_OUTCOME_SUCCEEDED
            attempt.cost_known = succeeded and all(call.cost_known for call in calls)
        self._note(attempt)

    def end_all(self, outcome: common_pb2.AttemptOutcome.ValueType, reason: str = "") -> None:
        """Notes that whatever has not ended yet ended so."""
        for attempt in list(self._attempts.values()):
            self.end_attempt(attempt.attempt_id, outcome, reason)

    def add(self, parent_attempt_id: str, call: common_pb2.Attempt) -> None:
        """Notes a call that a service reports. Its completion and info go into the generation record."""
        attempt = common_pb2.Attempt()
        attempt.CopyFrom(call)
        attempt.attempt_id = attempt.attempt_id or new_id()
        # What became known of a call of an earlier attempt is sent to a later one.
        known = self._attempts.get(attempt.attempt_id)
        attempt.parent_attempt_id = parent_attempt_id if known is None else known.parent_attempt_id
        if _wrote_text(call):
            self._note_answer(attempt.attempt_id, call)
        attempt.ClearField("response")
        attempt.ClearField("generation_info")
        self._note(attempt)

    def _note_answer(self, attempt_id: str, call: common_pb2.Attempt) -> None:
        if call.HasField("response"):
            self._responses[attempt_id] = call.response
        generation_id = call.metadata.get("generation_id")
        if call.HasField("generation_info") and attempt_id in self._attempts.keys() - self._infos.keys():
            # Of a call of an earlier run, of which only the id was known.
            known = MessageToDict(call.generation_info)
            self._earlier_infos = [known if info.get("id") == generation_id else info for info in self._earlier_infos]
        elif call.HasField("generation_info"):
            self._infos[attempt_id] = call.generation_info
        elif generation_id and attempt_id not in self._infos:
            # All that is known of a call that was left; what it cost can be looked up by it.
            self._infos[attempt_id] = ParseDict({"id": generation_id}, Struct())

    def wrote(self, model: str, characters: int) -> None:
        """Notes that text of `model` is about to be stored.

        The call that wrote it is a call with text from now on, although the run may be killed before its end is known.
        """
        for line in reversed(self._attempts.values()):
            if line.kind != common_pb2.ATTEMPT_KIND_MODEL_CALL or not _wrote_text(line):
                continue
            if line.outcome == common_pb2.ATTEMPT_OUTCOME_STARTED:
                if not line.characters:
                    line.characters = characters
                    self._note(line)
                break
        if self._generation.model_used != model:
            self._generation.model_used = model
            self._generation_unsaved = True

    def fill(self, checkpoint: storage_pb2.StoryCheckpoint) -> None:
        """Adds what is not stored yet. It counts as stored unless the checkpoint is given back."""
        news = [self._attempts[attempt_id] for attempt_id in self._unsaved]
        checkpoint.attempts.extend(news)
        if self._generation_unsaved or any(attempt.kind in _OF_THE_TEXT for attempt in news):
            checkpoint.generation.CopyFrom(self.generation())
            if len(checkpoint.generation.full_response) < len(self._responses) and not self._truncation_reported:
                self._truncation_reported = True
                message = "The earliest raw responses of the models are too large for the record and are left out."
                problem = checkpoint.problems.add(reason=_TRUNCATED, message=message, time=now())
                explained(problem)
        self._unsaved.clear()
        self._generation_unsaved = False

    def give_back(self, checkpoint: storage_pb2.StoryCheckpoint) -> None:
        """This was not stored, or it is not known: the next checkpoint must carry it."""
        self._unsaved = {attempt.attempt_id: None for attempt in checkpoint.attempts} | self._unsaved
        if any(problem.reason == _TRUNCATED for problem in checkpoint.problems):
            self._truncation_reported = False
        self._generation_unsaved = self._generation_unsaved or checkpoint.HasField("generation")

    def generation(self) -> storage_pb2.GenerationRecord:
        """Returns what the record says of the text, over all attempts, whatever became of them."""
        record = storage_pb2.GenerationRecord()
        record.CopyFrom(self._generation)
        record.usage.CopyFrom(self.usage())
        record.full_response.extend(self._responses.values())
        while len(record.full_response) > 1 and record.ByteSize() > MAX_RESPONSE_BYTES:
            del record.full_response[0]
        infos = [*self._earlier_infos, *map(MessageToDict, self._infos.values())]
        if infos:
            record.generation_info.update(infos[-1])
            if infos[:-1]:
                record.generation_info.update({_EARLIER: infos[:-1]})
        return record

    def usage(self) -> common_pb2.Usage:
        """Returns what the text cost, over all attempts. Known only where the cost of every attempt is."""
        calls = [line for line in self._attempts.values() if line.kind == common_pb2.ATTEMPT_KIND_MODEL_CALL]
        attempts = [line for line in self._attempts.values() if line.kind == common_pb2.ATTEMPT_KIND_WRITING]
        reported = {call.parent_attempt_id for call in calls}
        return common_pb2.Usage(
            prompt_tokens=sum(call.prompt_tokens for call in calls),
            completion_tokens=sum(call.completion_tokens for call in calls),
            cost_usd=sum(call.cost_usd for call in calls),
            cost_known=all(call.cost_known for call in calls)
            and all(attempt.attempt_id in reported for attempt in attempts),
        )

    def fill_calls(self, request: story_pb2.GenerateStoryRequest) -> None:
        """Sets the calls to models that were made since the text was requested last, and those of unknown cost.

        A call whose end is unknown counts as one that was billed.
        """
        since = now().seconds - _SETTLED_SECONDS
        unsettled = [
            line for line in self._attempts.values() if _is_unsettled(line) and line.start_time.seconds > since
        ]
        request.unsettled.extend(unsettled[-_MOST_UNSETTLED:])
        without_text = Counter[str]()
        for line in self._calls(common_pb2.ATTEMPT_KIND_WRITING, common_pb2.ATTEMPT_KIND_MODEL_CALL):
            billed = line.metadata.get("billed") != _FALSE
            request.calls_made += billed or "probe" not in line.metadata
            model = f"{line.provider}:{line.model}"
            useful = line.characters or line.outcome == common_pb2.ATTEMPT_OUTCOME_SUCCEEDED
            without_text[model] = 0 if useful else without_text[model] + billed
        request.calls_without_text.update(+without_text)

    def fill_speech_calls(self, config: voice_pb2.SpeechConfig) -> None:
        """Sets the calls for segments that are not spoken, since the narration was requested last.

        A call whose end is unknown counts as one whose answer was billed and of no use. A probe that cost nothing does
        not count, but for what its answer was worth.
        """
        made = dict[tuple[int, str], voice_pb2.SegmentCalls]()
        for line in self._calls(common_pb2.ATTEMPT_KIND_NARRATION, common_pb2.ATTEMPT_KIND_SPEECH_CALL):
            if line.segment_index < len(config.spoken_so_far):
                continue
            unbilled, place = line.metadata.get("billed") == _FALSE, (line.segment_index, line.provider)
            counts = not (unbilled and "probe" in line.metadata)
            unknown = not unbilled and line.outcome == common_pb2.ATTEMPT_OUTCOME_CANCELLED
            if place not in made:
                made[place] = config.calls_made.add(segment_index=line.segment_index, provider=line.provider)
            made[place].calls += counts
            made[place].unbilled += counts and unbilled
            made[place].useless += unknown or "useless" in line.metadata

    def _calls(
        self, attempt: common_pb2.AttemptKind.ValueType, call: common_pb2.AttemptKind.ValueType
    ) -> Iterator[common_pb2.Attempt]:
        """Yields the calls of a kind since the attempt that was requested last; none of the embedded providers."""
        lines = list(self._attempts.values())
        requested = (at for at, line in enumerate(lines) if line.kind == attempt and _REQUESTED in line.metadata)
        for line in lines[max(requested, default=0) :]:
            if line.kind == call and line.provider != _EMBEDDED and _wrote_text(line):
                yield line

    def _note(self, attempt: common_pb2.Attempt) -> None:
        self._attempts[attempt.attempt_id] = attempt
        self._unsaved[attempt.attempt_id] = None


def _is_unsettled(call: common_pb2.Attempt) -> bool:
    model = call.kind == common_pb2.ATTEMPT_KIND_MODEL_CALL
    return model and not call.cost_known and bool(call.metadata.get("generation_id"))


def _wrote_text(call: common_pb2.Attempt) -> bool:
    """Returns False for a call that judged a text: it is paid for, and counts for no budget of calls that write."""
    return _PURPOSE not in call.metadata
