"""The narrator with a scripted voice and storage: first the manifest, then listeners, then the file."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from gateway.runs.checkpointer import Lease, LeaseLostError
from gateway.runs.context import RunContext
from gateway.runs.ledger import Ledger
from gateway.runs.live_story import LiveStory
from gateway.runs.narrator import MAX_RESTARTS, Narrator
from gateway.settings import GatewaySettings
from servicekit.context import Caller, RequestContext, bound
from servicekit.errors import DomainError
from servicekit.status import to_status
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2
from tale.voice.v1 import voice_pb2

Response = voice_pb2.SynthesizeSpeechResponse
TEXT = "Once upon a time."


def refused(code: grpc.StatusCode, reason: str = "") -> grpc.aio.AioRpcError:
    """A failed call: with a service's own reason, or bare."""
    details: tuple[tuple[str, bytes], ...] = ()
    if reason:
        error = DomainError(reason, "Said.", retry_after=0.0)
        details = (("grpc-status-details-bin", to_status(error).SerializeToString()),)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*details))


def segment(index: int) -> common_pb2.Segment:
    """Segment 0 is the title, 1 and 2 are the halves of TEXT."""
    it = common_pb2.Segment(index=index, key=f"{index:064x}", provider="mock", voice_id="v", model_id="m")
    ends = (0, 0, 5, len(TEXT))
    it.text.start, it.text.end = ends[index], ends[index + 1]
    it.audio.start, it.audio.end = 100 * index, 100 * (index + 1)
    it.words.add()
    return it


def unsaved(ledger: Ledger) -> list[common_pb2.Attempt]:
    """The attempts that the next checkpoint would carry."""
    checkpoint = storage_pb2.StoryCheckpoint()
    ledger.fill(checkpoint)
    return list(checkpoint.attempts)


@pytest.fixture(autouse=True)
def _context() -> Iterator[None]:
    """Calls carry a request id and an owner."""
    with bound(RequestContext("r", Caller("o"))):
        yield


class Voice:
    """Plays the voice service. `script` makes the responses of a call from its config; they end with OK, or raise."""

    def __init__(self, script: Callable[[voice_pb2.SpeechConfig], AsyncIterator[Response]]) -> None:
        self.script = script
        self.calls: list[Call] = []

    def SynthesizeSpeech(self, *, timeout: float, **_: Any) -> "Call":  # noqa: N802
        assert timeout > 0
        self.calls.append(Call(self.script))
        return self.calls[-1]


class Call:
    """One stream."""

    def __init__(self, script: Callable[[voice_pb2.SpeechConfig], AsyncIterator[Response]]) -> None:
        self.config: asyncio.Future[voice_pb2.SpeechConfig] = asyncio.get_running_loop().create_future()
        self.text = ""
        self.half_closed = asyncio.Event()
        self.read_to_status = False
        self._script = script

    async def write(self, request: voice_pb2.SynthesizeSpeechRequest) -> None:
        if request.HasField("config"):
            self.config.set_result(request.config)
        self.text += request.text.text

    async def done_writing(self) -> None:
        self.half_closed.set()

    def cancel(self) -> None:
        """Has no effect on a call that has ended."""

    async def __aiter__(self) -> AsyncIterator[Response]:
        async for response in self._script(await self.config):
            yield response
        self.read_to_status = True


async def whole(config: voice_pb2.SpeechConfig) -> AsyncIterator[Response]:
    """A narration that continues after the spoken segments, to its end."""
    yield Response(header=common_pb2.NarrationHeader(audio_id=config.audio_id, provider="mock"))
    for index in range(len(config.spoken_so_far), 3):
        yield Response(segment=segment(index))
    yield Response(summary=voice_pb2.SpeechSummary(audio_id=config.audio_id, segment_count=3, size_bytes=300))


class Storage:
    """Plays storage: accepts checkpoints and FinishAudio as scripted."""

    def __init__(self, live: LiveStory) -> None:
        self.live = live
        self.checkpoints: list[storage_pb2.StoryCheckpoint] = []
        self.refusals: list[Exception | None] = []
        self.finishes: list[Exception | None] = []
        self.finished: list[str] = []

    async def store(self, checkpoint: storage_pb2.StoryCheckpoint, lease: Lease) -> None:
        assert lease.token
        shown = 0 if checkpoint.HasField("narration") else len(self.live.segments)
        assert all(each.index >= shown for each in checkpoint.segments), "shown before it is durable"
        if checkpoint.segments and self.refusals and (refusal := self.refusals.pop(0)) is not None:
            raise refusal
        self.checkpoints.append(checkpoint)

    async def FinishAudio(  # noqa: N802
        self, request: storage_pb2.FinishAudioRequest, *, timeout: float, **_: Any
    ) -> None:
        assert timeout > 0
        self.finished.append(request.audio_id)
        if self.finishes and (failure := self.finishes.pop(0)) is not None:
            raise failure

    def stored(self, audio_id: str) -> list[int]:
        """Indexes of the segments that were put into the manifest of that narration."""
        found: list[int] = []
        present = ""
        for checkpoint in self.checkpoints:
            present = checkpoint.narration.audio_id or present
            found += [each.index for each in checkpoint.segments if present == audio_id]
        return found


class Scene:
    """A story with a complete text, to be narrated."""

    def __init__(self, script: Callable[[voice_pb2.SpeechConfig], AsyncIterator[Response]] = whole) -> None:
        self.record = storage_pb2.StoryRecord(
            story=common_pb2.Story(id="s", title="T", content=TEXT, content_complete=True, narrate=True)
        )
        self.script = script

    def begin(self, manifest: Sequence[common_pb2.Segment] = ()) -> "Scene":
        """Sets the stage; `manifest` was stored by a run before this one."""
        if manifest:
            self.record.run.narration.audio_id = "before"
            self.record.run.segments.extend(manifest)
        self.live = LiveStory(self.record.story)
        self.storage = Storage(self.live)
        self.voice = Voice(self.script)
        self.ledger = Ledger()
        lease = Lease("s", 1, seconds=60, since=time.monotonic(), clock=time.monotonic)
        peers: Any = SimpleNamespace(storage=self.storage, voice=self.voice)
        checkpointer: Any = self.storage
        self.context = RunContext(self.record, lease, self.live, self.ledger, peers, checkpointer, GatewaySettings())
        return self

    async def narrate(self) -> None:
        """Narrates it."""
        async with asyncio.timeout(20):
            await Narrator(self.context).narrate()


async def test_segments_are_stored_before_they_are_shown() -> None:
    """The header is stored with the first segment; the stream is read up to its status."""
    scene = Scene().begin()
    await scene.narrate()
    assert [each.index for each in scene.live.segments] == [0, 1, 2]
    assert scene.live.header is not None
    assert scene.storage.finished == [scene.live.header.audio_id]
    (call,) = scene.voice.calls
    assert call.read_to_status
    assert call.config.result().delivery == voice_pb2.DELIVERY_STORED
    assert call.text == TEXT
    first = next(each for each in scene.storage.checkpoints if each.segments)
    assert first.narration.provider == "mock"
    assert [segment.words for segment in scene.live.segments] == [segment(index).words for index in range(3)]


async def test_narration_is_resumed_after_its_manifest() -> None:
    """Listeners have what is stored at once; it is spoken by whoever began, and none of it again."""
    scene = Scene().begin([segment(0), segment(1)])
    await scene.narrate()
    config = scene.voice.calls[0].config.result()
    assert config.audio_id == "before"
    assert config.pinned.audio_id == "before"
    assert [each.index for each in config.spoken_so_far] == [0, 1]
    assert scene.storage.stored("") == [2]
    assert scene.storage.finished == ["before"]
    assert len(scene.live.segments) == 3


async def test_complete_manifest_is_only_finished() -> None:
    """The voice service is not called."""
    scene = Scene().begin([segment(0), segment(1), segment(2)])
    await scene.narrate()
    assert scene.voice.calls == []
    assert scene.storage.finished == ["before"]


async def test_audio_that_an_earlier_run_finished_is_not_made_again() -> None:
    """No service is called."""
    scene = Scene()
    scene.record.story.audio.audio_id = "before"
    scene.begin([segment(0)])
    await scene.narrate()
    assert scene.voice.calls == []
    assert scene.storage.finished == []


async def test_cut_narration_stream_is_continued() -> None:
    """What came before the cut is stored and not spoken again."""
    cuts = [grpc.StatusCode.UNAVAILABLE]

    async def script(config: voice_pb2.SpeechConfig) -> AsyncIterator[Response]:
        async for response in whole(config):
            if response.segment.index == 2 and cuts:
                raise refused(cuts.pop())
            yield response

    scene = Scene(script).begin()
    await scene.narrate()
    assert [len(call.config.result().spoken_so_far) for call in scene.voice.calls] == [0, 2]
    assert scene.live.header is not None
    assert scene.storage.stored(scene.live.header.audio_id) == [0, 1, 2]


@pytest.mark.parametrize("lost", [1, MAX_RESTARTS])
async def test_narration_whose_segments_are_lost_starts_over(lost: int) -> None:
    """Each time under another audio id, from the title on."""
    scene = Scene().begin()
    scene.storage.finishes = [refused(grpc.StatusCode.FAILED_PRECONDITION, "SEGMENT_LOST")] * lost
    await scene.narrate()
    assert len(set(scene.storage.finished)) == len(scene.storage.finished) == lost + 1
    assert [len(call.config.result().spoken_so_far) for call in scene.voice.calls] == [0] * (lost + 1)
    assert scene.live.header is not None
    assert scene.storage.stored(scene.live.header.audio_id) == [0, 1, 2]
    assert len(scene.live.segments) == 3


async def test_narration_starts_over_a_bounded_number_of_times() -> None:
    """After three restarts the story is left without audio."""
    scene = Scene().begin()
    scene.storage.finishes = [refused(grpc.StatusCode.FAILED_PRECONDITION, "SEGMENT_LOST")] * 10
    with pytest.raises(DomainError, match="SEGMENT_LOST"):
        await scene.narrate()
    assert len(scene.voice.calls) == MAX_RESTARTS + 1


async def test_narration_starts_over_when_the_text_is_divided_differently() -> None:
    """The voice service says so at once."""

    async def script(config: voice_pb2.SpeechConfig) -> AsyncIterator[Response]:
        if config.spoken_so_far:
            raise refused(grpc.StatusCode.FAILED_PRECONDITION, "SEGMENT_LOST")
        async for response in whole(config):
            yield response

    scene = Scene(script).begin([segment(0)])
    await scene.narrate()
    assert [call.config.result().audio_id == "before" for call in scene.voice.calls] == [True, False]


async def test_finishing_is_repeated_while_storage_is_away() -> None:
    """By the same audio id: the call can be repeated."""
    scene = Scene().begin()
    scene.storage.finishes = [refused(grpc.StatusCode.UNAVAILABLE), refused(grpc.StatusCode.DEADLINE_EXCEEDED)]
    await scene.narrate()
    assert len(scene.storage.finished) == 3
    assert len(set(scene.storage.finished)) == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE"),
        (grpc.StatusCode.UNAVAILABLE, "STORAGE_BUSY"),
        (grpc.StatusCode.ABORTED, "STORAGE_CONFLICT"),
    ],
)
async def test_finishing_waits_for_a_full_or_busy_store(
    code: grpc.StatusCode, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The narration is paid and stored, so that it is not given up for a count of failures."""
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: sleep(0))
    scene = Scene().begin()
    scene.storage.finishes = [refused(code, reason)] * 20
    await scene.narrate()
    assert len(scene.storage.finished) == 21


@pytest.mark.parametrize("reason", ["LEASE_LOST", "STORY_NOT_FOUND", "WRONG_STATE"])
async def test_finishing_ends_the_run_that_has_lost_its_story(reason: str) -> None:
    """It is another run's, deleted, or cancelled: no problem of the narration."""
    scene = Scene().begin()
    scene.storage.finishes = [refused(grpc.StatusCode.ABORTED, reason)]
    with pytest.raises(LeaseLostError, match=reason):
        await scene.narrate()


async def test_segment_that_storage_does_not_have_is_made_again() -> None:
    """The voice service stores it, and the narration continues."""
    scene = Scene().begin()
    scene.storage.refusals = [DomainError("CHECKPOINT_CONFLICT", "No segment.")]
    await scene.narrate()
    assert len(scene.voice.calls) == 2
    assert len(scene.live.segments) == 3


@pytest.mark.parametrize("wrong", [{"segment_count": 2}, {"size_bytes": 299}])
async def test_summary_must_match_the_manifest(wrong: dict[str, int]) -> None:
    """The attempt failed, though nothing is missing: the manifest is what counts, and it is finished."""

    async def script(config: voice_pb2.SpeechConfig) -> AsyncIterator[Response]:
        async for response in whole(config):
            for name, value in wrong.items() if response.HasField("summary") else ():
                setattr(response.summary, name, value)
            yield response

    scene = Scene(script).begin()
    await scene.narrate()
    (attempt,) = [line for line in unsaved(scene.ledger) if line.kind == common_pb2.ATTEMPT_KIND_NARRATION]
    assert attempt.outcome == common_pb2.ATTEMPT_OUTCOME_FAILED
    assert attempt.reason == "STREAM_BROKEN"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, "UPSTREAM_REFUSED"),
        (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED"),
        (grpc.StatusCode.NOT_FOUND, "VOICE_NOT_FOUND"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
    ],
)
@pytest.mark.parametrize("before", [0, 2])
async def test_refusal_is_not_repeated(code: grpc.StatusCode, reason: str, before: int) -> None:
    """Neither at the beginning nor after segments: what was refused is refused again."""

    async def script(config: voice_pb2.SpeechConfig) -> AsyncIterator[Response]:
        async for response in whole(config):
            if response.segment.index == before:
                raise refused(code, reason)
            yield response

    scene = Scene(script).begin()
    with pytest.raises(DomainError, match=reason):
        await scene.narrate()
    assert len(scene.voice.calls) == 1
    (attempt,) = [line for line in unsaved(scene.ledger) if line.kind == common_pb2.ATTEMPT_KIND_NARRATION]
    assert attempt.outcome == common_pb2.ATTEMPT_OUTCOME_FAILED
    assert attempt.reason == reason


async def test_call_that_was_never_accepted_counts_as_unreachable() -> None:
    """An overloaded service: gRPC cancels the call itself. The narrator waits, more often than it repeats failures."""
    left = [5]

    async def script(config: voice_pb2.SpeechConfig) -> AsyncIterator[Response]:
        left[0] -= 1
        if left[0] >= 0:
            raise refused(grpc.StatusCode.CANCELLED)
        async for response in whole(config):
            yield response

    scene = Scene(script).begin()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.peers.retry.asyncio.sleep", _at_once)
        await scene.narrate()
    assert len(scene.voice.calls) == 6


_yield = asyncio.sleep


async def _at_once(seconds: float) -> None:
    assert seconds >= 0
    await _yield(0)


async def test_header_names_the_voice_of_the_first_segment() -> None:
    """Stored and shown with the voice of the first segment, whatever the voice service set out with."""

    async def replaced(config: voice_pb2.SpeechConfig) -> AsyncIterator[Response]:
        header = common_pb2.NarrationHeader(audio_id=config.audio_id, provider="elevenlabs", voice_id="r", model_id="e")
        yield Response(header=header)
        for index in range(3):
            spoken = segment(index)
            spoken.provider, spoken.voice_id, spoken.model_id, spoken.embedded = "offline", "en", "espeak", True
            yield Response(segment=spoken)
        yield Response(summary=voice_pb2.SpeechSummary(audio_id=config.audio_id, segment_count=3, size_bytes=300))

    scene = Scene(replaced).begin()
    await scene.narrate()
    header = scene.live.header
    assert header is not None
    assert "offline" == header.provider
    assert "en" == header.voice_id
    assert "espeak" == header.model_id
    assert header.embedded
    first = next(each for each in scene.storage.checkpoints if each.segments)
    assert header == first.narration


async def test_same_fallback_in_several_attempts_is_one_problem() -> None:
    """It is stored and shown once, with the narration that it concerns."""
    attempts = 0

    async def cut(config: voice_pb2.SpeechConfig) -> AsyncIterator[Response]:
        nonlocal attempts
        attempts += 1
        yield Response(header=common_pb2.NarrationHeader(audio_id=config.audio_id, provider="mock"))
        metadata = {"provider": "elevenlabs", "next": "mock", "segment_index": str(attempts)}
        yield Response(warning=common_pb2.Problem(reason="PROVIDER_FAILED", metadata=metadata))
        if attempts < 3:
            raise refused(grpc.StatusCode.UNAVAILABLE)
        async for response in whole(config):
            if not response.HasField("header"):
                yield response

    scene = Scene(cut).begin()
    await scene.narrate()
    assert 3 == attempts
    (problem,) = [problem for each in scene.storage.checkpoints for problem in each.problems]
    assert [problem] == scene.live.warnings
    assert scene.live.header is not None
    assert scene.live.header.audio_id == problem.metadata["audio_id"]


async def test_narration_that_waits_again_after_progress_says_so_again() -> None:
    """Each wait is stored and shown once, with the number of segments before it, and has its full time."""

    async def slow(config: voice_pb2.SpeechConfig) -> AsyncIterator[Response]:
        async for response in whole(config):
            yield response
            if response.segment.index < 2 and not response.HasField("summary"):
                for _ in "ab":
                    yield Response(warning=common_pb2.Problem(reason="WAITING_FOR_PROVIDER", message="m"))

    scene = Scene(slow).begin()
    await scene.narrate()
    config = scene.voice.calls[0].config.result()
    assert 590 < config.provider_wait.ToSeconds() <= 600
    stored = [problem for each in scene.storage.checkpoints for problem in each.problems]
    assert stored == scene.live.warnings
    assert ["0", "1", "2"] == [problem.metadata["segment_count"] for problem in stored]
    assert {config.audio_id} == {problem.metadata["audio_id"] for problem in stored}
