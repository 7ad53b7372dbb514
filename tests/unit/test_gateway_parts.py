"""Small parts of the gateway: fingerprints, ledger, lease, retry, and what callers are shown."""

import contextlib
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.door.servicer import within_bounds
from gateway.peers.retry import AttemptRetry, Failure, FailureKind, ProviderWait, classify
from gateway.runs.checkpointer import CheckpointRefusedError, Lease
from gateway.runs.context import RunContext
from gateway.runs.ledger import Ledger, now
from gateway.runs.live_story import LiveStory, basic
from gateway.runs.run import problem_of
from gateway.settings import GatewaySettings
from servicekit.errors import DomainError, reconnect
from servicekit.ids import fingerprint
from servicekit.settings import ConfigurationError, load
from servicekit.status import to_status
from tale.common.v1 import common_pb2
from tale.gateway.v1 import gateway_pb2
from tale.storage.v1 import storage_pb2
from tale.story.v1 import story_pb2
from tale.voice.v1 import voice_pb2

Spec = common_pb2.StorySpec
Child = common_pb2.Child


def test_fingerprint_is_of_the_spec_as_given() -> None:
    """The order of interests counts, the order in which fields were set does not, and a default is not filled in."""
    one = Spec(wish="w", moral="m")
    other = Spec(moral="m")
    other.wish = "w"
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one) != fingerprint(Spec(wish="w", moral="m", length_minutes=5))
    assert fingerprint(Spec(child=Child(name="A", interests=["a", "b"]))) != fingerprint(
        Spec(child=Child(name="A", interests=["b", "a"]))
    )


def test_fingerprint_can_leave_the_request_id_out() -> None:
    """Another id with the same wish is the same wish."""
    without = frozenset({"request_id"})
    one = gateway_pb2.NarrateStoryRequest(request_id="1", story_id="s")
    other = gateway_pb2.NarrateStoryRequest(request_id="2", story_id="s")
    assert fingerprint(one, without=without) == fingerprint(other, without=without)


def saved(ledger: Ledger) -> storage_pb2.StoryCheckpoint:
    """The next checkpoint with what the ledger has for it."""
    checkpoint = storage_pb2.StoryCheckpoint()
    ledger.fill(checkpoint)
    return checkpoint


def ids(checkpoint: storage_pb2.StoryCheckpoint) -> list[str]:
    """Of the attempts that a checkpoint carries."""
    return [attempt.attempt_id for attempt in checkpoint.attempts]


def call(attempt_id: str, text: str = "", **fields: Any) -> common_pb2.Attempt:
    """A call to a model that ended, with its completion."""
    kind, outcome = common_pb2.ATTEMPT_KIND_MODEL_CALL, common_pb2.ATTEMPT_OUTCOME_SUCCEEDED
    attempt = common_pb2.Attempt(**{"attempt_id": attempt_id, "kind": kind, "outcome": outcome, **fields})
    if text:
        attempt.response.update({"text": text})
        attempt.generation_info.update({"id": attempt_id})
    return attempt


def test_ledger_gives_each_change_once_and_sums_the_calls() -> None:
    """Each checkpoint carries the news alone; usage is the sum over all attempts."""
    ledger = Ledger()
    attempt = ledger.begin_attempt(common_pb2.ATTEMPT_KIND_WRITING, provider="story", model="m")
    assert [attempt] == ids(saved(ledger))
    ledger.add(attempt, call("c", prompt_tokens=3, cost_usd=0.5, cost_known=True))
    ledger.end_attempt(attempt, common_pb2.ATTEMPT_OUTCOME_SUCCEEDED)
    checkpoint = saved(ledger)
    assert {"c", attempt} == set(ids(checkpoint))
    usage = common_pb2.Usage(prompt_tokens=3, cost_usd=0.5, cost_known=True)
    assert usage == checkpoint.generation.usage
    assert storage_pb2.StoryCheckpoint() == saved(ledger)
    ledger.end_all(common_pb2.ATTEMPT_OUTCOME_CANCELLED)
    assert storage_pb2.StoryCheckpoint() == saved(ledger)


def test_calls_are_counted_from_the_last_request_on() -> None:
    """Of each model, those in a row that may have been billed and released nothing; embedded ones are none."""
    ledger = Ledger()
    failed = {"outcome": common_pb2.ATTEMPT_OUTCOME_FAILED}
    lines: list[tuple[str, dict[str, Any]]] = [
        ("a", {"characters": 10}),
        ("a", failed),
        ("a", {"outcome": common_pb2.ATTEMPT_OUTCOME_STARTED}),
        ("a", {**failed, "metadata": {"billed": "false"}}),
        ("a", {**failed, "metadata": {"billed": "false", "probe": "true"}}),
        ("b", failed),
        ("b", {"characters": 5, "metadata": {"probe": "true"}}),
        ("a", {"metadata": {"purpose": "safety"}}),
    ]
    for number, requested in enumerate((True, True, False)):
        attempt = ledger.begin_attempt(
            common_pb2.ATTEMPT_KIND_WRITING, provider="story", model="a", requested=requested
        )
        if number:
            for place, (model, fields) in enumerate(lines):
                ledger.add(attempt, call(f"{number}-{place}", provider="chat", model=model, **fields))
        ledger.add(attempt, call(f"{number}-offline", provider="offline", model="offline"))
    request = story_pb2.GenerateStoryRequest()
    ledger.fill_calls(request)
    assert 2 * 6 == request.calls_made
    # The first text of the second attempt ended the row of the first.
    assert {"chat:a": 2} == dict(request.calls_without_text)


def test_calls_for_segments_are_counted_from_the_last_request_on() -> None:
    """Of each segment that is not spoken and each provider; probes after a wait that cost nothing do not count."""
    ledger = Ledger()
    failed, cancelled = common_pb2.ATTEMPT_OUTCOME_FAILED, common_pb2.ATTEMPT_OUTCOME_CANCELLED
    lines: list[tuple[str, int, dict[str, Any]]] = [
        ("a", 0, {"outcome": failed}),
        ("a", 1, {"outcome": failed}),
        ("a", 1, {"outcome": failed, "metadata": {"useless": "true"}}),
        ("a", 1, {"outcome": failed, "metadata": {"billed": "false"}}),
        ("a", 1, {"outcome": failed, "metadata": {"billed": "false", "probe": "true"}}),
        ("a", 2, {"outcome": cancelled}),
        ("c", 1, {"outcome": failed, "metadata": {"billed": "false", "useless": "true"}}),
        ("c", 1, {"outcome": failed, "metadata": {"billed": "false", "useless": "true", "probe": "true"}}),
        ("b", 1, {"outcome": failed, "metadata": {"probe": "true"}}),
        ("offline", 1, {"outcome": failed}),
    ]
    for number, requested in enumerate((True, True, False)):
        ledger.begin_attempt(common_pb2.ATTEMPT_KIND_WRITING, provider="story", model="m", requested=number == 2)
        kind = common_pb2.ATTEMPT_KIND_NARRATION
        attempt = ledger.begin_attempt(kind, provider="voice", model="", requested=requested)
        for place, (provider, index, fields) in enumerate(lines if number else lines[:1]):
            line = call(f"{number}-{place}", provider=provider, segment_index=index, **fields)
            line.kind = common_pb2.ATTEMPT_KIND_SPEECH_CALL
            ledger.add(attempt, line)
    config = voice_pb2.SpeechConfig(spoken_so_far=[common_pb2.Segment()])
    ledger.fill_speech_calls(config)
    made = {
        (each.segment_index, each.provider): (each.calls, each.unbilled, each.useless) for each in config.calls_made
    }
    assert {(1, "a"): (6, 2, 2), (2, "a"): (2, 0, 2), (1, "b"): (2, 0, 0), (1, "c"): (2, 2, 4)} == made


def test_a_run_that_is_killed_in_the_text_uses_up_no_model() -> None:
    """Its call released text, which the record knows although the call never ended."""
    ledger = Ledger()
    attempt = ledger.begin_attempt(common_pb2.ATTEMPT_KIND_WRITING, provider="story", model="a", requested=True)
    ledger.add(attempt, call("c", provider="chat", model="a", outcome=common_pb2.ATTEMPT_OUTCOME_STARTED))
    ledger.wrote("a", 12)
    later = Ledger(common_pb2.Story(attempts=saved(ledger).attempts))
    later.end_all(common_pb2.ATTEMPT_OUTCOME_CANCELLED, "RUN_LOST")
    request = story_pb2.GenerateStoryRequest()
    later.fill_calls(request)
    assert 1 == request.calls_made
    assert {} == dict(request.calls_without_text)


def test_attempt_without_a_reported_call_makes_the_cost_unknown() -> None:
    """What a crash may have cost is visible: the attempt stays, and the sum is not called complete."""
    ledger = Ledger()
    ledger.begin_attempt(common_pb2.ATTEMPT_KIND_WRITING, provider="story", model="m")
    assert not saved(ledger).generation.usage.cost_known


def test_attempts_of_a_killed_run_are_ended() -> None:
    """With a reason, and their cost stays unknown; attempts that had ended stay as they were."""
    started, done = common_pb2.ATTEMPT_OUTCOME_STARTED, common_pb2.ATTEMPT_OUTCOME_SUCCEEDED
    lines = [common_pb2.Attempt(attempt_id="a", outcome=started), common_pb2.Attempt(attempt_id="b", outcome=done)]
    ledger = Ledger(common_pb2.Story(attempts=lines))
    ledger.end_all(common_pb2.ATTEMPT_OUTCOME_CANCELLED, "RUN_LOST")
    (line,) = saved(ledger).attempts
    assert "a" == line.attempt_id
    assert common_pb2.ATTEMPT_OUTCOME_CANCELLED == line.outcome
    assert "RUN_LOST" == line.reason
    assert not line.cost_known
    assert line.HasField("end_time")


def test_call_that_was_left_ends_with_its_attempt() -> None:
    """It is CANCELLED, what it cost stays unknown, and what was learned of it stays."""
    ledger = Ledger()
    attempt = ledger.begin_attempt(common_pb2.ATTEMPT_KIND_WRITING, provider="story", model="m")
    ledger.add(attempt, call("c", "begun", outcome=common_pb2.ATTEMPT_OUTCOME_STARTED))
    ledger.end_attempt(attempt, common_pb2.ATTEMPT_OUTCOME_FAILED, "STREAM_BROKEN")
    checkpoint = saved(ledger)
    left = next(line for line in checkpoint.attempts if line.attempt_id == "c")
    assert common_pb2.ATTEMPT_OUTCOME_CANCELLED == left.outcome
    assert "begun" == checkpoint.generation.full_response[0]["text"]
    assert not checkpoint.generation.usage.cost_known


def test_generation_record_covers_the_attempts_of_all_runs() -> None:
    """Completions in order, infos with the last one first, and the attempts themselves without either."""
    ledger = Ledger()
    ledger.add("w", call("one", "first"))
    ledger.add("w", call("two", "second"))
    ledger.wrote("m", 5)
    before = saved(ledger)
    assert not any(line.HasField("response") or line.HasField("generation_info") for line in before.attempts)
    story = common_pb2.Story(
        attempts=before.attempts,
        model_used=before.generation.model_used,
        full_response=before.generation.full_response,
        generation_info=before.generation.generation_info,
    )
    later = Ledger(story)
    later.add("w", call("three", "third"))
    generation = saved(later).generation
    assert ["first", "second", "third"] == [response["text"] for response in generation.full_response]
    info = MessageToDict(generation.generation_info)
    assert "three" == info["id"]
    assert ["one", "two"] == [earlier["id"] for earlier in info["earlier_generations"]]
    assert "m" == generation.model_used


def test_call_that_judges_a_text_is_paid_for_and_no_part_of_the_generation_record() -> None:
    """Its cost is in the usage; the story's completion and info are those of what wrote it."""
    ledger = Ledger()
    attempt = ledger.begin_attempt(common_pb2.ATTEMPT_KIND_WRITING, provider="story", model="m")
    ledger.add(attempt, call("writer", text="t", outcome=common_pb2.ATTEMPT_OUTCOME_STARTED))
    ledger.add(attempt, call("judge", text="j", cost_usd=0.5, metadata={"purpose": "safety", "generation_id": "g"}))
    ledger.wrote("m", 7)
    ledger.end_all(common_pb2.ATTEMPT_OUTCOME_SUCCEEDED)
    checkpoint = saved(ledger)

    assert {"writer": 7, "judge": 0, attempt: 0} == {line.attempt_id: line.characters for line in checkpoint.attempts}
    assert ["t"] == [each["text"] for each in checkpoint.generation.full_response]
    assert "writer" == checkpoint.generation.generation_info["id"]
    assert 0.5 == checkpoint.generation.usage.cost_usd


def test_call_that_is_reported_again_replaces_itself() -> None:
    """The same id is the same call, with what is known of it now."""
    ledger = Ledger()
    ledger.add("w", call("c", "be", outcome=common_pb2.ATTEMPT_OUTCOME_STARTED))
    ledger.add("w", call("c", "begun", cost_usd=0.5, cost_known=True))
    checkpoint = saved(ledger)
    assert ["c"] == ids(checkpoint)
    (response,) = checkpoint.generation.full_response
    assert "begun" == response["text"]
    assert 0.5 == checkpoint.generation.usage.cost_usd


def test_cost_of_a_call_whose_process_was_killed_is_asked_for() -> None:
    """What is told of it later replaces what was known, and it stays a call of its attempt."""
    killed = Ledger()
    first = killed.begin_attempt(common_pb2.ATTEMPT_KIND_WRITING, provider="story", model="m")
    names = {"generation_id": "gen-1"}
    killed.add(first, call("c", outcome=common_pb2.ATTEMPT_OUTCOME_STARTED, metadata=names, start_time=now()))
    hour_ago = Timestamp(seconds=now().seconds - 3_601)
    killed.add(first, call("old", metadata={"generation_id": "gen-old"}, start_time=hour_ago))
    killed.add(first, call("j", cost_usd=0.1, cost_known=True, metadata={"generation_id": "gen-0"}))
    stored = saved(killed)
    story = common_pb2.Story(attempts=stored.attempts, generation_info=stored.generation.generation_info)
    ledger = Ledger(story)
    ledger.end_all(common_pb2.ATTEMPT_OUTCOME_CANCELLED, "RUN_LOST")
    second = ledger.begin_attempt(common_pb2.ATTEMPT_KIND_WRITING, provider="story", model="m")
    request = story_pb2.GenerateStoryRequest()
    ledger.fill_calls(request)
    ledger.add(second, call("d", "new", cost_usd=0.2, cost_known=True, metadata={"generation_id": "gen-2"}))
    asked = call("c", outcome=common_pb2.ATTEMPT_OUTCOME_CANCELLED, cost_usd=0.3, cost_known=True, metadata=names)
    asked.generation_info.update({"id": "gen-1", "total_cost": 0.3})
    ledger.add(second, asked)
    checkpoint = saved(ledger)

    assert ["c"] == [line.attempt_id for line in request.unsettled]
    assert first == next(line for line in checkpoint.attempts if line.attempt_id == "c").parent_attempt_id
    assert 0.6 == pytest.approx(checkpoint.generation.usage.cost_usd)
    info = MessageToDict(checkpoint.generation.generation_info)
    assert "d" == info["id"]
    assert {"id": "gen-1", "total_cost": 0.3} in info["earlier_generations"]


def test_completions_beyond_the_bound_lose_the_earliest() -> None:
    """A record must fit into a message."""
    ledger = Ledger()
    for name in "abc":
        ledger.add("w", call(name, name * 700_000))
    assert ["b", "c"] == [str(response["text"])[:1] for response in saved(ledger).generation.full_response]


def test_speech_calls_leave_the_generation_record_alone() -> None:
    """Only what concerns the text is stored again."""
    ledger = Ledger()
    ledger.begin_attempt(common_pb2.ATTEMPT_KIND_NARRATION, provider="voice", model="")
    assert not saved(ledger).HasField("generation")


def test_lease_counts_the_work_under_it() -> None:
    """By the holder's own clock, from before each call; time after it expired is no work."""
    moment = 10.0
    lease = Lease("s", 1, seconds=5, since=moment, worked=100, clock=lambda: moment)
    moment = 13.0
    assert 2.0 == lease.remaining
    assert 103.0 == lease.worked
    lease.renewed(12.0)
    assert 4.0 == lease.remaining
    assert 103.0 == lease.worked
    moment = 100.0
    assert -83.0 == lease.remaining
    assert 107.0 == lease.worked
    lease.renewed(100.0)
    moment = 101.0
    assert 108.0 == lease.worked


def refused(code: grpc.StatusCode, error: DomainError | None = None) -> grpc.aio.AioRpcError:
    """A failed call, bare or with a service's own words."""
    details = () if error is None else (("grpc-status-details-bin", to_status(error).SerializeToString()),)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*details))


def test_unreachable_peer_differs_from_one_that_refuses() -> None:
    """The first is waited for, the second is called a few times or not at all."""
    unavailable = grpc.StatusCode.UNAVAILABLE
    assert FailureKind.UNREACHABLE is classify(refused(unavailable)).kind
    assert FailureKind.UNREACHABLE is classify(refused(unavailable, reconnect())).kind
    # A call that the server's application never took up: gRPC itself cancels it after a while.
    assert FailureKind.UNREACHABLE is classify(refused(grpc.StatusCode.CANCELLED)).kind
    assert "UPSTREAM_UNAVAILABLE" == classify(refused(grpc.StatusCode.CANCELLED)).error.reason
    said = DomainError("NO_PROVIDERS_AVAILABLE", "None.")
    assert FailureKind.TRANSIENT is classify(refused(unavailable, said)).kind
    assert FailureKind.TRANSIENT is classify(TimeoutError()).kind
    no = DomainError("LANGUAGE_UNSUPPORTED", "No.")
    assert FailureKind.PERMANENT is classify(refused(grpc.StatusCode.FAILED_PRECONDITION, no)).kind


def test_used_up_quota_is_final_at_a_provider_only() -> None:
    """A store that is full may have room soon."""
    assert FailureKind.PERMANENT is classify(DomainError("QUOTA_EXCEEDED", "None left.")).kind
    assert FailureKind.TRANSIENT is classify(DomainError("STORAGE_FULL", "No room.")).kind


async def test_attempt_retry_ends_with_the_last_error() -> None:
    """A no is final at once; a "not now" after three more tries; an absence after the time set."""
    error = DomainError("STORAGE_BUSY", "x", retry_after=0.0)
    moment = 0.0
    persistence = AttemptRetry(wait_seconds=10, clock=lambda: moment)
    with pytest.raises(DomainError):
        await persistence.after(Failure(FailureKind.PERMANENT, error))
    persistence.progressed()
    moment = 1.0
    await persistence.after(Failure(FailureKind.UNREACHABLE, error))
    moment = 12.0
    with pytest.raises(DomainError):
        await persistence.after(Failure(FailureKind.UNREACHABLE, error))


async def test_attempt_retry_counts_absences_apart() -> None:
    """Absences and answers of "not now" are counted apart."""
    error = DomainError("STORAGE_BUSY", "x", retry_after=0.0)
    persistence = AttemptRetry(wait_seconds=1000, clock=lambda: 1.0)
    away, not_now = Failure(FailureKind.UNREACHABLE, error), Failure(FailureKind.TRANSIENT, error)
    with contextlib.ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setattr("gateway.peers.retry.asyncio.sleep", _no_sleep)
        for failure in (away, away, away, away, away, not_now, not_now, not_now):
            await persistence.after(failure)
        with pytest.raises(DomainError):
            await persistence.after(not_now)


async def _no_sleep(seconds: float) -> None:
    assert seconds >= 0


def said(reason: str, retry_after: float = 0.0) -> Failure:
    """A failure that a peer service reports."""
    return classify(refused(grpc.StatusCode.UNAVAILABLE, DomainError(reason, "Said.", retry_after=retry_after)))


@pytest.mark.parametrize("reason", ["RECONNECT", "STARTING", "OVERLOADED", "STORAGE_UNAVAILABLE"])
def test_peer_that_restarts_or_is_full_is_no_failing_provider(reason: str) -> None:
    """It is waited for as one that cannot be reached."""
    assert FailureKind.UNREACHABLE is said(reason).kind
    assert not said(reason).of_provider


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits end at once."""
    monkeypatch.setattr("gateway.peers.retry.asyncio.sleep", _no_sleep)


@pytest.mark.usefixtures("_at_once")
async def test_time_that_a_caller_waited_for_something_else_is_no_absence() -> None:
    """Such as for storage, between two attempts."""
    moment = 0.0
    retry = AttemptRetry(wait_seconds=10, clock=lambda: moment)
    await retry.after(said("RECONNECT"))
    moment = 60.0
    retry.begin()
    await retry.after(said("RECONNECT"))
    moment = 71.0
    with pytest.raises(DomainError, match="RECONNECT"):
        await retry.after(said("RECONNECT"))


def test_attempts_that_were_not_stored_are_carried_again() -> None:
    """Before those that came since, and the generation record with them."""
    ledger = Ledger()
    first = ledger.begin_attempt(common_pb2.ATTEMPT_KIND_WRITING, provider="story", model="m")
    lost = saved(ledger)
    second = ledger.begin_attempt(common_pb2.ATTEMPT_KIND_NARRATION, provider="voice", model="m")
    ledger.give_back(lost)
    again = saved(ledger)
    assert [first, second] == ids(again)
    assert again.HasField("generation")


def test_record_that_leaves_responses_out_says_so_once() -> None:
    """Also where the checkpoint that said so was not stored."""
    ledger = Ledger()
    parent = ledger.begin_attempt(common_pb2.ATTEMPT_KIND_WRITING, provider="story", model="m")

    def respond() -> storage_pb2.StoryCheckpoint:
        call = common_pb2.Attempt(kind=common_pb2.ATTEMPT_KIND_MODEL_CALL)
        call.response.update({"text": "x" * 600_000})
        ledger.add(parent, call)
        return saved(ledger)

    assert [] == [problem.reason for each in (respond(), respond()) for problem in each.problems]
    lost = respond()
    assert 2 == len(lost.generation.full_response)
    assert ["RESPONSE_TRUNCATED"] == [problem.reason for problem in lost.problems]
    assert lost.problems[0].remedy
    ledger.give_back(lost)
    assert ["RESPONSE_TRUNCATED"] == [problem.reason for problem in saved(ledger).problems]
    assert 0 == len(respond().problems)


def test_basic_view_leaves_out_what_only_the_full_view_has() -> None:
    """And does not invent an audio that is not there."""
    story = common_pb2.Story(id="s", content="c", attempts=[common_pb2.Attempt(attempt_id="a")])
    story.generation_info["a"] = 1
    assert common_pb2.Story(id="s", content="c") == basic(story)
    story.audio.audio_id = "a"
    story.audio.segments.add(index=0)
    assert common_pb2.Story(id="s", content="c", audio=common_pb2.StoryAudio(audio_id="a")) == basic(story)


def test_anonymous_gateway_needs_a_setting_beyond_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway without authentication does not listen to the world by mistake."""
    monkeypatch.setenv("GATEWAY_LISTEN", "0.0.0.0:50051")
    with pytest.raises(ConfigurationError, match="GATEWAY_ALLOW_ANONYMOUS=1"):
        load(GatewaySettings)
    monkeypatch.setenv("GATEWAY_ALLOW_ANONYMOUS", "1")
    assert load(GatewaySettings).listen == "0.0.0.0:50051"


def test_oversized_story_is_returned_without_raw_responses() -> None:
    """The response says so; a story that fits is returned as stored."""
    story = common_pb2.Story(id="s", content="c", problems=[common_pb2.Problem(reason="OTHER")])
    story.full_response.add().update({"text": "x" * 400_000})
    assert story == within_bounds(story)
    story.full_response.add().update({"text": "y" * 700_000})
    shown = within_bounds(story)
    assert 1 << 20 > shown.ByteSize()
    assert "c" == shown.content
    assert 0 == len(shown.full_response)
    assert ["OTHER", "RESPONSE_TRUNCATED"] == [problem.reason for problem in shown.problems]
    assert shown.problems[1].message
    assert shown.problems[1].remedy
    assert 2 == len(story.full_response)
    assert 1 == len(story.problems)


TEXT, AUDIO = "call RetryStory to continue the text.", "call NarrateStory to narrate it again."


@pytest.mark.parametrize(
    ("reason", "audio_id", "remedy"),
    [
        ("STORAGE_FULL", "", f"Free or buy room in the store. Then {TEXT}"),
        ("NO_PROVIDERS_AVAILABLE", "a", f"Try again later, or configure another voice. Then {AUDIO}"),
        ("UPSTREAM_AUTH", "", f"Set a key that the provider accepts. Then {TEXT}"),
        ("UPSTREAM_UNAVAILABLE", "", f"C{TEXT[1:]}"),
        ("CHECKPOINT_CONFLICT", "", f"C{TEXT[1:]}"),
        ("SEGMENT_LOST", "a", f"C{AUDIO[1:]}"),
        ("COST_LIMIT", "", "Raise max_cost_usd, or choose fewer minutes or a cheaper model."),
        ("CONTENT_REFUSED", "", "Change the wish and create a new story."),
    ],
)
def test_problem_says_what_to_fix_and_how_the_story_continues(reason: str, audio_id: str, remedy: str) -> None:
    """Except where the same story would fail again."""
    assert remedy == problem_of(DomainError(reason, "No."), audio_id=audio_id).remedy


async def test_checkpoint_refused_for_an_unknown_reason_passes_what_storage_stated() -> None:
    """Storage may be of a later version; the story ends with its reason, and the run does not break."""
    stated = common_pb2.Problem(reason="NEWER_REASON", message="No.", remedy="Repeat it.", retryable=True)

    class Refusing:
        async def store(self, *_: Any) -> None:
            raise CheckpointRefusedError(stated)

    context = Waiting().context
    checkpointer: Any = Refusing()
    context.checkpointer = checkpointer
    with pytest.raises(DomainError) as caught:
        await context.store(storage_pb2.StoryCheckpoint())
    seen = caught.value
    assert ("NEWER_REASON", "Repeat it.", True) == (seen.reason, seen.remedy, seen.retryable)


class Waiting:
    """The run of a story that is narrated, with a clock that moves only when it is set."""

    def __init__(self, *, narrate: bool = True) -> None:
        self.moment = 0.0
        story = common_pb2.Story(id="s", narrate=narrate)
        parts: Any = {"peers": None, "settings": GatewaySettings(), "checkpointer": None, "ledger": Ledger()}
        lease = Lease("s", 1, seconds=6, since=0, clock=lambda: self.moment)
        record = storage_pb2.StoryRecord(story=story)
        self.context = RunContext(record, lease=lease, live=LiveStory(story), **parts)
        self.context.writing = ProviderWait(600, clock=lambda: self.moment)
        self.context.narrating = ProviderWait(600, clock=lambda: self.moment)

    def said(self, reason: str, *, audio_id: str = "", at: float) -> None:
        self.moment = at
        self.context.new_problem(common_pb2.Problem(reason=reason, metadata={"audio_id": audio_id} if audio_id else {}))

    def renewed(self, at: float) -> bool:
        """Whether the run has only waited until it renews its lease."""
        self.moment = at
        waits = self.context.only_waits
        self.context.lease.renewed(at, waiting=waits)
        return waits


@pytest.mark.parametrize(("reason", "left"), [("WAITING_FOR_PLACE", 600.0), ("WAITING_FOR_PROVIDER", 100.0)])
def test_wait_for_a_place_uses_none_of_the_time_for_providers(reason: str, left: float) -> None:
    """Hundreds of narrations may be ahead, and no provider is down; the time of the text for providers runs on."""
    it = Waiting()
    it.said(reason, audio_id="a", at=500)
    assert (100.0, left) == (it.context.writing.left, it.context.narrating.left)
    it.context.progressed()
    assert (600.0, 600.0) == (it.context.writing.left, it.context.narrating.left)


@pytest.mark.parametrize("reason", ["WAITING_FOR_PLACE", "WAITING_FOR_PROVIDER"])
def test_waiting_narration_of_a_complete_text_is_no_work(reason: str) -> None:
    """For as long as the voice service says so, whatever that adds up to; with a segment the work begins."""
    it = Waiting()
    it.context.live.complete_text()
    it.said(reason, audio_id="a", at=10)
    assert not it.renewed(10)
    for moment in range(30, 7200, 20):
        it.said(reason, audio_id="a", at=moment)
        assert it.renewed(moment)
    assert 6.0 == it.context.lease.worked_before
    it.context.progressed()
    assert not it.renewed(7195)
    assert 11.0 == it.context.lease.worked_before


def test_wait_that_is_not_reported_any_more_is_over() -> None:
    """A service that says nothing may be at work."""
    it = Waiting(narrate=False)
    it.said("WAITING_FOR_PROVIDER", at=0)
    assert [True, False] == [it.renewed(49), it.renewed(51)]


def test_run_works_while_one_part_of_its_story_waits() -> None:
    """The other part does not; a narration that has spoken what there is has nothing to do."""
    it = Waiting()
    it.said("WAITING_FOR_PLACE", audio_id="a", at=0)
    assert not it.renewed(1)
    it.context.live.add_text(title="T", text="x" * 2_000)
    it.context.progressed()
    it.said("WAITING_FOR_PROVIDER", at=2)
    assert [False, False] == [it.renewed(2), it.renewed(3)]
    it.said("WAITING_FOR_PLACE", audio_id="a", at=4)
    assert [False, True] == [it.renewed(4), it.renewed(5)]
    it.context.live.add_segments([common_pb2.Segment(text=common_pb2.Span(end=600))])
    it.context.progressed()
    it.said("WAITING_FOR_PROVIDER", at=6)
    assert [False, True] == [it.renewed(6), it.renewed(7)]


@pytest.mark.parametrize("narrate", [False, True])
def test_run_that_has_nothing_to_wait_for_works(narrate: bool) -> None:
    """Such as one that stores the end of its story."""
    it = Waiting(narrate=narrate)
    it.context.live.complete_text()
    assert not it.renewed(1)
