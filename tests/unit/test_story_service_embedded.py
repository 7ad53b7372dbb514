"""The embedded writer behind the port, with an engine that plays a script."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace
from itertools import repeat

import grpc
import pytest
from support.story_writers import MOMENT

from offline_writer import (
    LanguageUnsupported,
    OfflineBrief,
    Outline,
    Parent,
    Piece,
    Plan,
    Protagonist,
    Scene,
    StoryUnsupported,
)
from servicekit.errors import DomainError
from servicekit.ids import is_id
from story_service.assignment import MAX_CONTENT_LENGTH, Assignment, Listener, seed_of
from story_service.ports import (
    AttemptEnded,
    AttemptItem,
    AttemptStarted,
    AttemptText,
    AttemptTitle,
    ModelCall,
    Notice,
)
from story_service.providers.offline import EmbeddedWriter
from tale.common.v1.common_pb2 import ATTEMPT_OUTCOME_STARTED

_ASSIGNMENT = Assignment(
    story_id="01890000-0000-7000-8000-000000000000",
    child=Listener(name="Mia", age=6, gender="female", interests=("dragons",)),
    wish="a dragon",
    moral="kindness",
    theme="the sea",
    language_code="en",
    length_minutes=3,
    seed=7,
    model="offline",
)


_OUTLINE = Outline(title="Mia", plot_shape="search", companion="Pip")
_KEYED = Outline(plot_shape="journey", scenes=(Scene(key="stations/hats"),))


class _Engine:
    """Yields `pieces`, be they never so many, and notes what it was asked."""

    languages = ("en",)

    def __init__(self, pieces: Iterable[Piece] = (), *, understood: bool = True) -> None:
        self._pieces = pieces
        self._understood = understood
        self.asked: list[tuple[OfflineBrief, str, str]] = []
        self.threads: set[int] = set()

    def plan(self, brief: OfflineBrief) -> Plan:
        assert brief.outline in {None, _KEYED}
        return Plan(_OUTLINE if brief.outline is None else brief.outline, self._understood)

    def write(self, brief: OfflineBrief, *, title_so_far: str = "", written_so_far: str = "") -> Iterator[Piece]:
        self.asked.append((brief, title_so_far, written_so_far))
        self.threads.add(threading.get_ident())
        yield from self._pieces


_PIECES = (Piece("title", "Mia"), Piece("text", "Once there was a sea."), Piece("text", "\n\nIt slept."))


class _Naps:
    """A clock that notes how long it was told to sleep."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


def _writer(engine: _Engine, *, words_per_second: float | None = None, naps: _Naps | None = None) -> EmbeddedWriter:
    return EmbeddedWriter(
        engine,
        engine_version="1.2",
        idle_timeout=30,
        words_per_second=words_per_second,
        sleep=(naps or _Naps()).sleep,
        now=lambda: MOMENT,
    )


async def _attempt(writer: EmbeddedWriter, assignment: Assignment = _ASSIGNMENT) -> list[AttemptItem]:
    return [item async for item in writer.write(assignment, model="offline")]


async def test_attempt_holds_all_that_the_port_asks_for() -> None:
    """Started, title, sentences, one free call with its records, and the end."""
    started, begun, outline, title, first, second, call, ended = await _attempt(_writer(_Engine(_PIECES)))

    assert _OUTLINE == outline
    assert AttemptStarted(model="offline", provider="offline", embedded=True) == started
    assert [AttemptTitle("Mia"), AttemptText("Once there was a sea."), AttemptText("\n\nIt slept.")] == [
        title,
        first,
        second,
    ]
    assert isinstance(begun, ModelCall)
    assert ATTEMPT_OUTCOME_STARTED == begun.outcome
    assert begun.end_time is None
    assert isinstance(call, ModelCall)
    assert begun.call_id == call.call_id
    assert is_id(call.call_id)
    assert ("offline", "offline", 0.0, True) == (
        call.provider,
        call.model,
        call.spending.cost_usd,
        call.spending.cost_known,
    )
    assert (MOMENT, MOMENT) == (call.start_time, call.end_time)
    assert {
        "id": call.call_id,
        "object": "chat.completion",
        "created": int(MOMENT.timestamp()),
        "provider": "offline",
        "model": "offline",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Mia\n\nOnce there was a sea.\n\nIt slept."},
            }
        ],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cost": 0},
    } == call.completion
    assert {"id": call.call_id, "seed": "7", "words": 7, "engine_version": "1.2"} == call.generation_info
    assert AttemptEnded(text="Once there was a sea.\n\nIt slept.") == ended


async def test_plan_that_an_earlier_attempt_made_is_followed() -> None:
    """It is not yielded again."""
    engine = _Engine(_PIECES)
    items = await _attempt(_writer(engine), replace(_ASSIGNMENT, outline=_KEYED))

    assert [_KEYED] == [brief.outline for brief, *_ in engine.asked]
    assert not [item for item in items if isinstance(item, Outline)]


async def test_plan_of_a_model_is_replaced_where_nothing_is_told_yet() -> None:
    """The engine knows only scenes of its stock."""
    items = await _attempt(_writer(_Engine(_PIECES)), replace(_ASSIGNMENT, outline=Outline(setting="a lighthouse")))

    assert [_OUTLINE] == [item for item in items if isinstance(item, Outline)]


async def test_wish_that_is_not_understood_is_reported_without_its_words() -> None:
    """By its reason."""
    items = await _attempt(_writer(_Engine(_PIECES, understood=False)))
    (notice,) = (item for item in items if isinstance(item, Notice))

    assert "WISH_NOT_UNDERSTOOD" == notice.reason
    assert _ASSIGNMENT.wish not in notice.message


async def test_engine_gets_every_wish_and_what_is_out() -> None:
    """Nothing that was asked for is dropped on the way to the writer."""
    engine = _Engine()
    await _attempt(
        _writer(engine),
        Assignment(
            story_id="id",
            child=_ASSIGNMENT.child,
            wish="a dragon",
            moral="kindness",
            theme="the sea",
            length_minutes=3,
            seed=7,
            title_so_far="Mia",
            written_so_far="Once.",
        ),
    )

    brief = OfflineBrief(
        name="Mia",
        age=6,
        gender="female",
        interests=("dragons",),
        wish="a dragon",
        moral="kindness",
        theme="the sea",
        language_code="en",
        length_minutes=3,
        seed=7,
    )
    assert [(brief, "Mia", "Once.")] == engine.asked


async def test_engine_gets_hero_and_parent() -> None:
    """And no age where nobody said one."""
    engine = _Engine()
    await _attempt(
        _writer(engine),
        Assignment(
            story_id="id",
            child=Listener(name="Mia"),
            kind="combined",
            hero=Protagonist(
                name="Robin",
                gender="male",
                appearance="red cape",
                personality_traits=("brave",),
                strengths=("flying",),
                interests=("pancakes",),
            ),
            parent=Parent(title="The Owl", text="It slept."),
            seed=7,
        ),
    )

    ((brief, _, _),) = engine.asked
    assert (None, "combined") == (brief.age, brief.kind)
    assert (
        Protagonist(
            name="Robin",
            gender="male",
            appearance="red cape",
            personality_traits=("brave",),
            strengths=("flying",),
            interests=("pancakes",),
        )
        == brief.hero
    )
    assert Parent(title="The Owl", text="It slept.") == brief.sequel


async def test_kind_that_the_language_does_not_tell_is_refused_with_those_that_it_does() -> None:
    """The engine's own refusal becomes LANGUAGE_UNSUPPORTED too, and says what can be had."""

    def refuse() -> Iterator[Piece]:
        yield from ()
        raise StoryUnsupported("xx", frozenset({"hero"}), frozenset({"sequel"}))

    with pytest.raises(DomainError) as caught:
        await _attempt(_writer(_Engine(refuse())))

    assert caught.value.code == grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.reason == "LANGUAGE_UNSUPPORTED"
    assert caught.value.metadata == {"language": "xx", "supported_kinds": "child, sequel"}


async def test_engine_runs_off_the_event_loop() -> None:
    """The computing is done in another thread."""
    engine = _Engine(_PIECES)
    await _attempt(_writer(engine))

    assert threading.get_ident() not in engine.threads


async def test_pace_is_that_of_the_words() -> None:
    """At two words a second, five words take 2.5 s and two words 1 s."""
    naps = _Naps()
    await _attempt(_writer(_Engine(_PIECES), words_per_second=2, naps=naps))

    assert [2.5, 1.0] == naps.seconds


async def test_without_a_pace_all_comes_at_once() -> None:
    """Nobody waits who did not ask to."""
    naps = _Naps()
    await _attempt(_writer(_Engine(_PIECES), naps=naps))

    assert [] == naps.seconds


async def test_leaving_a_paced_attempt_stops_it() -> None:
    """After the first sentence nobody sleeps for the second."""
    naps = _Naps()
    async with aclosing(
        _writer(_Engine(_PIECES), words_per_second=2, naps=naps).write(_ASSIGNMENT, model="offline")
    ) as attempt:
        async for item in attempt:
            if isinstance(item, AttemptText):
                break

    assert [2.5] == naps.seconds


async def test_language_that_it_can_not_write_is_refused_with_those_that_it_can() -> None:
    """The engine's own refusal becomes LANGUAGE_UNSUPPORTED."""

    def refuse() -> Iterator[Piece]:
        yield from ()
        raise LanguageUnsupported(("en",))

    with pytest.raises(DomainError) as caught:
        await _attempt(_writer(_Engine(refuse())))

    assert caught.value.reason == "LANGUAGE_UNSUPPORTED"
    assert caught.value.metadata == {"supported_languages": "en"}


async def test_engine_that_does_not_stop_is_stopped() -> None:
    """The text that is held is bounded: one sentence beyond the limit is enough to know."""
    items = await _attempt(_writer(_Engine(repeat(Piece("text", "x" * 1000)))))

    assert MAX_CONTENT_LENGTH // 1000 + 1 == sum(isinstance(item, AttemptText) for item in items)


async def test_engine_that_is_stuck_is_given_up() -> None:
    """An answer that does not come in time is a typed failure, and the thread is told to stop."""
    hold, ended = threading.Event(), threading.Event()

    def stick() -> Iterator[Piece]:
        hold.wait(30)
        try:
            while True:
                yield Piece("text", "")
        finally:
            ended.set()

    writer = EmbeddedWriter(_Engine(stick()), engine_version="1", idle_timeout=0.05)
    with pytest.raises(DomainError) as caught:
        await _attempt(writer)
    hold.set()

    assert caught.value.metadata == {"kind": "TIMEOUT"}
    assert ended.wait(30)


def test_seed_is_the_given_one_or_that_of_the_story() -> None:
    """Without a seed the story's id decides, always in the same way and within 63 bits."""
    one = Assignment(story_id="01890000-0000-7000-8000-000000000001", child=_ASSIGNMENT.child)
    other = Assignment(story_id="01890000-0000-7000-8000-000000000002", child=_ASSIGNMENT.child)

    assert seed_of(_ASSIGNMENT) == 7
    assert seed_of(one) == 8426139843097649311
    assert seed_of(one) != seed_of(other)
    assert 0 <= seed_of(other) < 2**63
