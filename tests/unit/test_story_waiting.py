"""Stories over providers that fail, in virtual time: some calls, an outage, pauses, and failures of our own."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from itertools import pairwise
from random import Random

import pytest
from support.story_models import TEXT
from support.story_storm import MODEL, Failure, FakeChat, Storm, Told, cut, refused
from support.story_writers import attempt

from servicekit.context import Caller, RequestContext, bound
from servicekit.resilience import circuit_queue
from servicekit.resilience.errors import ProviderError
from standins.virtual_time import loop_time, run_virtually
from story_service.assignment import Assignment, Listener
from story_service.chat import ChatRequest
from story_service.ports import AttemptItem, ModelCall


def _until(seconds: float, *errors: ProviderError) -> FakeChat:
    """A provider that fails for so many seconds, with each of `errors` in turn."""
    count = 0

    def weather(_: ChatRequest) -> ProviderError | None:
        nonlocal count
        count += 1
        return errors[count % len(errors)] if loop_time() < seconds else None

    return FakeChat(weather)


def _first(*errors: Failure) -> FakeChat:
    """A provider whose first calls fail."""
    left = list(errors)
    return FakeChat(lambda _: left.pop(0) if left else None)


def _one(chat: FakeChat, *models: str, provider_wait: float = 600.0) -> tuple[Told, Storm]:
    async def scene() -> tuple[Told, Storm]:
        storm = Storm(chat, *models)
        return await storm.tell(provider_wait=provider_wait), storm

    return run_virtually(scene())


def test_two_hundred_parallel_stories_come_through_a_fifth_of_failing_calls() -> None:
    """Refused, rate limited, cut and stalled alike: the circuit never opens, and retries stay few.

    None is lost in any sequence: what costs nothing is waited for, and four failures in a row that may have been billed
    come once in 100,000 stories.
    """
    dice = Random(5)

    def weather(_: ChatRequest) -> Failure | None:
        kinds: list[Failure] = [refused(500), refused(429), (dice.randrange(12), cut()), TimeoutError()]
        return dice.choice(kinds) if dice.random() < 0.2 else None

    async def scene() -> None:
        chat = FakeChat(weather)
        storm = Storm(chat)
        stories = await storm.many(200)
        assert [TEXT] * 200 == [story.text for story in stories if story.completed]
        assert len(chat.calls) <= 1.35 * 200
        assert {} == storm.circuit().snapshot().transitions
        assert 0 == sum(len(story.waits) for story in stories)

    run_virtually(scene())


def test_an_outage_of_five_minutes_costs_time_and_one_call_a_window() -> None:
    """Three hundred stories wait, all complete, and the provider is not flooded when it is back."""

    async def scene() -> None:
        chat = _until(300, refused(503))
        storm = Storm(chat)
        stories = await storm.many(300, over=100)
        assert [TEXT] * 300 == [story.text for story in stories if story.completed]
        probes = [when for when, _ in chat.calls if 5 < when < 300]
        assert 4 == len(probes)
        assert all(later - earlier >= 60 for earlier, later in pairwise(probes))
        assert len(chat.calls) <= 300 + 20
        back = [when for when, _ in chat.calls if when >= 300]
        # The probe, and then one more with each first text.
        assert sum(when < back[0] + 2 for when in back) <= 3
        assert max(story.ended for story in stories) < 420

    run_virtually(scene())


def test_an_outage_in_the_middle_of_the_work_is_noticed_within_ten_calls_or_so() -> None:
    """Streams that had begun end well meanwhile.

    A story whose four calls all fall within the first second waits, too.
    """

    async def scene() -> None:
        chat = FakeChat(lambda _: refused(503) if 60 <= loop_time() < 360 else None)
        stories = await Storm(chat).many(300, over=120)
        assert [TEXT] * 300 == [story.text for story in stories if story.completed]
        assert len(chat.calls) <= 300 + 25

    run_virtually(scene())


def test_a_waiting_story_says_so_at_once_and_every_twenty_seconds() -> None:
    """What it waits for, and when that is called next; the problem is over with the text."""
    told, _ = _one(_first(refused(429, retry_after=50)))
    _, notice = told.notices[0]

    assert pytest.approx([0.1, 20.1, 40.1]) == told.waits
    assert "The story waits for fake: it refused the call. fake/one is called again in 50 s." == notice.message
    assert {"provider": "fake", "model": MODEL, "retry_after": "50", "ended": "text"} == notice.metadata
    assert TEXT == told.text


def test_without_a_wait_a_story_fails_at_once() -> None:
    """With what the provider said, and the time that it named."""
    told, _ = _one(_first(refused(429, retry_after=300)), provider_wait=0)

    assert told.error is not None
    assert ("RATE_LIMITED", 300.0) == (told.error.reason, told.error.retry_after)
    assert told.ended < 1
    assert [] == told.waits


def test_a_pause_longer_than_what_is_left_is_reported_at_once() -> None:
    """For this story and for the next one, which makes no call."""

    async def scene() -> None:
        chat = _first(refused(429, retry_after=3600))
        storm = Storm(chat)
        for _ in range(2):
            told = await storm.tell()
            assert told.error is not None
            assert "RATE_LIMITED" == told.error.reason
            assert told.error.retry_after == pytest.approx(3600, abs=1)
            assert re.search(r"It may be called again from \d{4}-\d\d-\d\d \d\d:\d\d UTC on\.", told.error.message)
            assert [] == told.waits
        assert 1 == len(chat.calls)

    run_virtually(scene())


def test_a_named_pause_uses_up_no_try() -> None:
    """Five refusals that name twenty seconds each are waited out, where three retries are allowed: a probe a minute."""
    told, storm = _one(_first(*[refused(429, retry_after=20)] * 5))

    assert TEXT == told.text
    assert 20 + 4 * 60 < told.ended < 320
    assert 0 == storm.circuit().snapshot().failed_calls


@pytest.mark.parametrize("retry_after", [None, 1.0])
def test_an_outage_by_a_rate_limit_costs_time_and_one_call_a_window(retry_after: float | None) -> None:
    """Five minutes: of a lone story its four tries, then one probe a minute; no try is used up by the wait."""
    told, storm = _one(_until(300, refused(429, retry_after=retry_after)))

    assert TEXT == told.text
    assert 300 < told.ended < 400
    snapshot = storm.circuit().snapshot()
    assert (0, "closed") == (snapshot.failed_calls, snapshot.state)
    assert snapshot.total_calls <= 4 + 5 + 1


@pytest.mark.parametrize("retry_after", [None, 1.0])
def test_a_hundred_stories_outlast_a_rate_limit_of_five_minutes(retry_after: float | None) -> None:
    """Once the circuit is open it is probed once a minute, however short the pause is that the provider names."""

    async def scene() -> None:
        chat = _until(300, refused(429, retry_after=retry_after))
        stories = await Storm(chat).many(100, over=30)
        assert [TEXT] * 100 == [story.text for story in stories]
        assert sum(30 < when < 300 for when, _ in chat.calls) <= 5
        assert sum(when < 300 for when, _ in chat.calls) <= 60
        assert all(later - earlier > 19.9 for story in stories for earlier, later in pairwise(story.waits))

    run_virtually(scene())


@pytest.mark.parametrize("error", [refused(429, retry_after=1), refused(503, retry_after=1), refused(429)])
def test_a_fifth_of_calls_that_name_a_short_pause_opens_nothing(error: ProviderError) -> None:
    """Each call waits for its own retry, and the others go on."""
    dice = Random(5)

    async def scene() -> None:
        storm = Storm(FakeChat(lambda _: error if dice.random() < 0.2 else None))
        stories = await storm.many(200, over=60)
        assert [TEXT] * 200 == [story.text for story in stories]
        assert {} == storm.circuit().snapshot().transitions

    run_virtually(scene())


def test_after_a_rest_the_number_of_calls_follows_what_the_provider_allows() -> None:
    """It serves ten at once and refuses the rest: those that waited are written, and none uses up its tries."""

    async def scene() -> None:
        chat = FakeChat(lambda _: refused(429) if chat.at_once > 10 else None)
        storm = Storm(chat)
        stories = await storm.many(100, over=60)
        assert [TEXT] * 100 == [story.text for story in stories]
        assert 1 == storm.circuit().snapshot().transitions["open"]
        assert len(chat.calls) <= 170

    run_virtually(scene())


@pytest.mark.parametrize("stories", [20, 100, pytest.param(300, marks=pytest.mark.long)])
def test_a_burst_at_a_provider_that_serves_ten_at_a_time_loses_no_story(stories: int) -> None:
    """It refuses the rest without a word on when to come back, and others are answered meanwhile."""

    async def scene() -> None:
        chat = FakeChat(lambda _: refused(429) if chat.at_once > 10 else None)
        told = await Storm(chat).many(stories)
        assert [TEXT] * stories == [story.text for story in told]
        assert len(chat.calls) <= 6 * stories

    run_virtually(scene())


def test_a_quota_is_never_waited_for() -> None:
    """Nor is another model called behind the same key, and the next story is told the quota, not the circuit."""

    async def scene() -> None:
        chat = _first(refused(402, retry_after=30))
        storm = Storm(chat, "fake/one", "fake/two")
        for _ in range(2):
            told = await storm.tell()
            assert told.error is not None
            assert "QUOTA_EXCEEDED" == told.error.reason
            assert [] == told.waits
        assert 1 == len(chat.calls)

    run_virtually(scene())


def test_what_it_failed_for_is_reported_when_the_time_is_over() -> None:
    """Not the open circuit; the calls are one a window, over all stories."""

    async def scene() -> None:
        chat = _until(10_000, refused(503))
        stories = await Storm(chat).many(20)
        assert {"UPSTREAM_UNAVAILABLE"} == {story.error.reason for story in stories if story.error}
        assert all(500 < story.ended < 610 for story in stories)
        assert 9 == sum(when > 5 for when, _ in chat.calls)

    run_virtually(scene())


def test_a_lone_story_outlasts_an_outage_once_its_circuit_is_open() -> None:
    """Probes go on after its retries are used up: waiting is bounded by time, and a probe is one call a window."""

    async def scene() -> None:
        chat = _until(500, refused(503))
        storm = Storm(chat)
        first = await storm.tell(provider_wait=0)
        assert first.error is not None
        told = await storm.tell()
        assert TEXT == told.text
        assert 4 + 1 + 8 == len(chat.calls)

    run_virtually(scene())


def test_the_first_model_that_is_back_goes_on() -> None:
    """Whichever in the list."""
    pauses = {"fake/one": [100.0], "fake/two": [40.0], "fake/three": [70.0]}

    def weather(request: ChatRequest) -> ProviderError | None:
        left = pauses[request.model]
        return refused(429, retry_after=left.pop()) if left else None

    told, _ = _one(FakeChat(weather), *pauses)

    assert told.completed is not None
    assert ("fake/two", TEXT) == (told.completed.model, told.text)
    assert 40 < told.ended < 60


def test_the_embedded_writer_takes_over_without_a_wait() -> None:
    """Where it is named it is the next provider, and waiting is for when nothing is left."""

    class Embedded:
        async def write(self, assignment: Assignment, *, model: str) -> AsyncGenerator[AttemptItem, None]:
            del assignment, model
            for item in attempt("Mia", "Once."):
                yield item

    async def scene() -> None:
        storm = Storm(_until(1_000, refused(429, retry_after=30)), MODEL, "offline", writers={"offline": Embedded()})
        told = await storm.tell()
        assert told.completed is not None
        assert told.completed.embedded
        assert told.ended < 1
        assert [] == told.waits

    run_virtually(scene())


def test_a_released_beginning_is_continued_after_the_wait() -> None:
    """What was said stays said."""
    told, _ = _one(_first((5, refused(503, retry_after=45))))

    assert TEXT == told.text
    assert 3 == len(told.waits)


def test_a_story_that_is_given_up_leaves_the_queue() -> None:
    """Its caller has left."""

    async def scene() -> None:
        storm = Storm(_until(1_000, refused(429, retry_after=300)))
        task = asyncio.create_task(storm.tell())
        await asyncio.sleep(10)
        assert 1 == len(storm.circuit().queue)
        task.cancel()
        await asyncio.wait([task])
        assert 0 == len(storm.circuit().queue)

    run_virtually(scene())


def test_a_story_for_which_the_queue_has_no_room_fails_with_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in front of it wait and are written."""
    monkeypatch.setattr(circuit_queue, "_MOST_WAITING", 2)

    async def scene() -> None:
        stories = await Storm(_until(100, refused(429, retry_after=120))).many(3)
        assert ["", TEXT, TEXT] == sorted(story.text for story in stories)
        assert ["RATE_LIMITED"] == [story.error.reason for story in stories if story.error]

    run_virtually(scene())


def test_more_stories_than_places_are_written_in_order_of_their_age() -> None:
    """A wait of minutes for a free place fails none of them, and retries of old ones go before new ones."""

    async def scene() -> None:
        storm = Storm(FakeChat(), concurrency=4)
        stories = await storm.many(120, over=1)
        assert [TEXT] * 120 == [story.text for story in stories]
        assert 250 < max(story.ended for story in stories)
        assert sorted(story.ended for story in stories) == [story.ended for story in stories]

    run_virtually(scene())


async def _no_place(storm: Storm) -> None:
    async with storm.limits.slot():
        told = await storm.tell(provider_wait=0)
    assert told.error is not None
    assert "RATE_LIMITED" == told.error.reason


async def _cancelled(storm: Storm) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await storm.tell()


async def _closed(storm: Storm) -> None:
    async with aclosing(storm.generator.generate(Assignment(story_id="id", child=Listener(name="Mia")))) as items:
        async for item in items:
            if isinstance(item, ModelCall):
                break


async def _too_late(storm: Storm) -> None:
    with bound(RequestContext("id", Caller(), loop_time() - 1)):
        told = await storm.tell()
    assert told.error is not None
    assert "NETWORK_ERROR" == told.error.reason


@pytest.mark.parametrize("ours", [_no_place, _cancelled, _closed, _too_late])
def test_failures_of_our_own_never_count_against_a_model(ours: Callable[[Storm], Awaitable[None]]) -> None:
    """No free place, a caller that leaves, a stream that is closed, a deadline that is over: twenty of each."""

    async def scene() -> None:
        storm = Storm(FakeChat(lambda _: TimeoutError()), concurrency=1)
        for _ in range(20):
            await ours(storm)
        told = storm.circuit().snapshot()
        assert (0, 0, "closed") == (told.failed_calls, told.in_flight, told.state)

    run_virtually(scene())
