"""How long stories become, whatever a model's habits are: their outlines, their scenes, and what is said of them."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.openrouter_fake import (
    DONE,
    Answer,
    Call,
    Cut,
    Finish,
    Pause,
    Usage,
    broken_off,
    error,
    pieces,
    story,
    stream,
)
from support.story_models import Telling, VirtualService, virtual_service

from offline_writer import Outline, Scene
from servicekit.errors import DomainError
from standins.scene_writer import ENDING, Habits, written
from standins.virtual_time import run_virtually
from story_service.answer.outline import read_outline
from story_service.answer.sentences import count_words
from story_service.answer.titles import fallback_ending
from story_service.assignment import Assignment, Listener
from story_service.generation.length_guard import LengthGuard

_OWN = Habits()
_THOUSAND = Habits(most_words=1_000)
_THREE_HUNDRED = Habits(most_words=300)
_TWICE = Habits(factor=2.0)
_SHORTER = "SHORTER_THAN_ASKED"


def _prompt(call: Call) -> str:
    return "\n".join(message["content"] for message in call.body["messages"])


def _answerer(habits: Habits) -> Callable[[Call], Answer]:
    return lambda call: story(written(_prompt(call), habits), size=200)


def _told(folder: Path, answer: Callable[[Call], Answer], **spec: Any) -> tuple[Telling, list[Call]]:
    """Returns what came of one story, and the calls for it."""

    async def scene() -> tuple[Telling, list[Call]]:
        async with virtual_service(folder) as service:
            service.upstream.default = answer
            return await service.tell(**spec), service.upstream.calls

    return run_virtually(scene())


def _words(telling: Telling) -> int:
    return count_words(telling.text)


def _reasons(telling: Telling) -> list[str]:
    return [problem.reason for problem in telling.warnings]


@pytest.mark.parametrize("minutes", [1, 2, 5, 6, 10, 20, 30])
@pytest.mark.parametrize("habits", [_OWN, _THOUSAND, _THREE_HUNDRED, _TWICE], ids=["own", "1000", "300", "twice"])
@pytest.mark.sampled(5)
def test_story_has_its_length_or_says_so(tmp_path: Path, habits: Habits, minutes: int) -> None:
    """Within 85 to 120 per cent, within the budget of calls, with one ending at its end."""
    telling, calls = _told(tmp_path, _answerer(habits), length_minutes=minutes)
    share = _words(telling) / (150 * minutes)

    assert telling.whole.content_length == len(telling.text)
    assert share <= 1.2
    assert (share < 0.85) == (_SHORTER in _reasons(telling))
    assert share >= 0.85 or (habits is _THREE_HUNDRED and minutes in {4, 5})
    assert set(_reasons(telling)) <= {_SHORTER}
    assert len(calls) <= 8 + (0 if minutes < 6 else 1 + len(telling.outlines[-1].scenes))
    assert 1 == telling.text.count(ENDING)
    assert telling.text.endswith(ENDING)


def _is_plan(call: Call) -> bool:
    return "plan the rest" in _prompt(call)


def _cut(share: float, *steps: Any) -> Callable[[Call], Answer]:
    """Returns what has each answer cut, and then gives `steps`; a plan is never cut."""

    def answers(call: Call) -> Answer:
        text = written(_prompt(call), _OWN)
        return story(text, size=200) if _is_plan(call) else stream(*pieces(text[: int(len(text) * share)]), *steps)

    return answers


def _without_an_ending(call: Call) -> Answer:
    return story(written(_prompt(call), Habits(factor=5)).removesuffix(ENDING), size=200)


def _with_the_end(call: Call) -> Answer:
    text = written(_prompt(call), Habits(always_ends=True))
    return story(text if _is_plan(call) else f"{text}\n\nThe end.", size=200)


_LIMIT = (Finish("length"), Usage(None), DONE)
_STOP = (Finish(), Usage(None), DONE)


@pytest.mark.parametrize("minutes", [1, 5, 10, 20, 30])
@pytest.mark.parametrize(
    ("answers", "ends"),
    [
        (_answerer(Habits(factor=5)), True),
        (_answerer(Habits(factor=5, most_words=400)), True),
        (_answerer(_TWICE), True),
        (_with_the_end, True),
        (_without_an_ending, False),
        *((_cut(share, *_LIMIT), False) for share in (0.3, 0.6, 0.75, 0.9)),
        *((_cut(share, *_STOP), False) for share in (0.3, 0.6, 0.75, 0.9)),
        *((_cut(share), False) for share in (0.75, 0.9)),
    ],
    ids=[
        "5x",
        "5x400",
        "2x",
        "end",
        "no-end",
        *(f"{how}{share}" for how in ("limit", "stop") for share in (30, 60, 75, 90)),
        "cut75",
        "cut90",
    ],
)
@pytest.mark.sampled(10)
def test_story_ends_whatever_a_model_does(
    tmp_path: Path, answers: Callable[[Call], Answer], minutes: int, *, ends: bool
) -> None:
    """With the model's own ending where it wrote one, else with a good night and the problem that says so."""
    told: dict[str, Any] = {"story_id": "01a22d00-f1c8-7307-b0a3-6546159b3c99", "provider_wait": 600}
    telling, calls = _told(tmp_path, answers, length_minutes=minutes, **told)
    reasons, own = set(_reasons(telling)) - {"WAITING_FOR_PROVIDER"}, telling.text.removesuffix(fallback_ending("en"))
    share = count_words(own) / (150 * minutes)

    assert telling.whole.content_length == len(telling.text)
    assert _words(telling) <= 1.2 * 150 * minutes
    assert (share < 0.85) == (_SHORTER in reasons)
    assert len(calls) <= 8 + (0 if minutes < 6 else 1 + len(telling.outlines[-1].scenes))
    if ends:
        assert telling.text.endswith(ENDING)
        assert "ENDING_MISSING" not in reasons
    assert ("ENDING_MISSING" in reasons) == telling.text.endswith(f".\n\n{fallback_ending('en')}")
    assert telling.text[-1] == "."


@pytest.mark.parametrize("minutes", [1, 5, 10])
def test_model_that_writes_one_sentence_writes_no_story(tmp_path: Path, minutes: int) -> None:
    """Nothing of it is heard, and it is not paid more than twice."""

    def sentence(call: Call) -> Answer:
        text = written(_prompt(call), _OWN)
        return story(text if _is_plan(call) else text[: text.index(".") + 1], size=200)

    telling, calls = _told(tmp_path, sentence, length_minutes=minutes)

    assert "UPSTREAM_UNAVAILABLE" == telling.failure.reason
    assert "" == telling.text
    assert 2 == len(calls)


@pytest.mark.parametrize("steps", [(), _LIMIT], ids=["cut", "limit"])
def test_outage_leaves_a_story_that_can_be_continued(tmp_path: Path, steps: tuple[Any, ...]) -> None:
    """A connection or a bound of tokens cuts it at a third, and the server is silent then: it is not ended there."""

    async def scene() -> tuple[Telling, Telling]:
        async with virtual_service(tmp_path) as service:
            upstream = service.upstream
            upstream.default = lambda call: stream(Pause(300)) if upstream.calls[1:] else _cut(0.3, *steps)(call)
            first = await service.tell(length_minutes=5)
            upstream.default = _answerer(_OWN)
            # Its circuit breaker was opened.
            await asyncio.sleep(120)
            return first, await service.tell(first.text, length_minutes=5, title=first.title)

    first, second = run_virtually(scene())

    assert "UPSTREAM_UNAVAILABLE" == first.failure.reason
    assert 0.2 * 750 < _words(first) < 0.4 * 750
    assert [] == first.warnings
    assert second.text.startswith(first.text)
    assert second.text.endswith(ENDING)
    assert _words(second) >= 0.85 * 750


def test_good_night_is_said_once(tmp_path: Path) -> None:
    """By a run that continues one that was killed behind it, too."""

    async def scene() -> tuple[Telling, Telling]:
        async with virtual_service(tmp_path) as service:
            service.upstream.default = _cut(0.6, *_LIMIT)
            first = await service.tell(length_minutes=1)
            return first, await service.tell(first.text, length_minutes=1, title=first.title)

    first, second = run_virtually(scene())

    assert first.text.endswith(fallback_ending("en"))
    assert first.text == second.text
    assert [] == second.outcomes


@pytest.mark.parametrize("minutes", range(1, 31))
@pytest.mark.sampled(7)
def test_model_that_writes_a_thousand_words_reaches_every_length(tmp_path: Path, minutes: int) -> None:
    """Without an extension."""
    telling, calls = _told(tmp_path, _answerer(_THOUSAND), length_minutes=minutes)

    assert 0.85 <= _words(telling) / (150 * minutes) <= 1.2
    assert [] == telling.warnings
    assert len(calls) == (1 if minutes < 6 else 1 + len(telling.outlines[-1].scenes))


@pytest.mark.parametrize("habits", [_THOUSAND, Habits(lines=True), Habits(plans=False)], ids=["json", "lines", "none"])
def test_long_story_follows_an_outline(tmp_path: Path, habits: Habits) -> None:
    """It is made behind the first scene, each scene knows its place, and where each ended is said."""
    telling, calls = _told(tmp_path, _answerer(habits), length_minutes=10)
    drawn, titled, first_ended, first, *_, last = telling.outlines
    opening, plan, *prompts = [_prompt(call) for call in calls]
    text = telling.text[: first.scenes[0].end]

    assert "outline" in telling.events[: telling.events.index("delta")]
    assert [500] == [each.words for each in drawn.scenes]
    assert ("", telling.title) == (drawn.title, titled.title)
    assert [len(text)] == [each.end for each in first_ended.scenes]
    assert "Write scene 1 of 3" in opening
    assert text.rpartition("\n\n")[2] in plan
    assert [500, 500, 500] == [each.words for each in first.scenes]
    assert [len(text), 0, 0] == [each.end for each in first.scenes]
    ends = [each.end for each in last.scenes]
    assert ends == sorted(ends)
    assert ends[-1] == len(telling.text)
    assert all(telling.text[end : end + 2].isspace() or end == len(telling.text) for end in ends)
    assert last.title == telling.title
    assert first.plot_shape
    assert first.mood
    assert [2, 3] == [
        next(number for number in (1, 2, 3) if f"Write scene {number} of 3" in prompt) for prompt in prompts
    ]
    assert [True, True, False] == ["It does not end the story" in prompt for prompt in (opening, *prompts)]
    for scene, prompt in zip(first.scenes[1:], prompts, strict=True):
        assert scene.purpose in prompt
    assert all(scene.purpose for scene in first.scenes[1:]) == habits.plans


def test_structured_outline_is_asked_for_where_it_is_taken(tmp_path: Path) -> None:
    """A server that refuses the field is asked once without it, whatever it says, and scenes never have it."""

    def refuses(call: Call) -> Answer:
        if "response_format" in call.body:
            return error(400, message="Bad request")
        return story(written(_prompt(call), Habits(lines=True)), size=200)

    telling, calls = _told(tmp_path, refuses, length_minutes=6)

    assert telling.whole.content_length == len(telling.text)
    assert [False, True, False, False] == ["response_format" in call.body for call in calls]
    assert all(scene.purpose for scene in telling.outlines[-1].scenes[1:])


def test_short_story_has_its_plot_place_and_mood_drawn(tmp_path: Path) -> None:
    """One call; the outline comes before the text, and again with the title."""
    telling, calls = _told(tmp_path, _answerer(_OWN), length_minutes=5)
    first, titled = telling.outlines

    assert 1 == len(calls)
    assert telling.events.index("outline") < telling.events.index("title")
    assert first.plot_shape
    assert first.setting in _prompt(calls[0])
    assert ("", telling.title) == (first.title, titled.title)
    assert titled.setting == first.setting


def test_short_answer_is_continued_before_its_ending(tmp_path: Path) -> None:
    """Once; the next call gets the text without its ending, which is heard once."""
    habits = iter([Habits(factor=0.5), _OWN])
    telling, calls = _told(tmp_path, lambda call: story(written(_prompt(call), next(habits)), size=200))

    assert 2 == len(calls)
    assert ENDING not in _prompt(calls[1])
    assert 1 == telling.text.count(ENDING)
    assert [] == telling.warnings
    assert ["", ""] == [attempt.reason for attempt in telling.attempts.values()]


@pytest.mark.parametrize(
    "second",
    [
        lambda _: error(503),
        lambda _: error(401),
        lambda _: story("I'm sorry, but I can't write this story. It goes against my guidelines."),
        lambda _: story(""),
        lambda _: stream(Cut()),
    ],
    ids=["down", "key", "refused", "empty", "cut"],
)
def test_story_that_is_not_extended_has_its_own_ending(tmp_path: Path, second: Callable[[Call], Answer]) -> None:
    """And says how many words it has."""
    calls: list[Call] = []

    def answers(call: Call) -> Answer:
        calls.append(call)
        return second(call) if len(calls) > 1 else story(written(_prompt(call), Habits(factor=0.5)), size=200)

    telling, _ = _told(tmp_path, answers, length_minutes=2)

    assert telling.whole.content_length == len(telling.text)
    assert telling.text.endswith(ENDING)
    (problem,) = (each for each in telling.warnings if each.reason == _SHORTER)
    assert {"words_asked": "300", "words_written": f"{_words(telling)}"}.items() <= dict(problem.metadata).items()
    assert problem.remedy


@pytest.mark.parametrize("cut", [lambda text: stream(*pieces(text)), lambda text: broken_off(text, 502)])
def test_cut_answer_loses_nothing_that_was_held(tmp_path: Path, cut: Callable[[str], Answer]) -> None:
    """What may have been an ending was none."""
    whole = written("Length: about 300 The first line is the title alone", _OWN)
    begun = whole[: whole.index(ENDING) - 2]

    def answers(call: Call) -> Answer:
        continued = "Its text so far" in _prompt(call)
        return story(written(_prompt(call), _OWN)) if continued else cut(begun)

    telling, calls = _told(tmp_path, answers, length_minutes=3)

    assert 2 == len(calls)
    assert telling.text.startswith(begun.partition("\n\n")[2][:-150])


def test_only_the_end_of_a_short_passage_is_held() -> None:
    """Never its first words, a quarter of the others, at most what an ending has; nothing once it is long enough."""
    sentence = " ".join(["word"] * 9) + " end."
    whole = Assignment(story_id="s", child=Listener(name="Mia"), length_minutes=10, title_so_far="T", extendable=True)
    guard = LengthGuard(replace(whole, outline=Outline(scenes=(Scene(words=1_500), Scene(words=1)))))
    held, released = [], 0
    for number in range(1, 150):
        released += 10 * len(guard.feed([sentence]))
        held.append(10 * number - released)

    assert [0, 0, 0] == held[:3]
    assert all(few <= max(0, (10 * at - 30) / 4) + 10 for at, few in enumerate(held, 1))
    assert 120 == max(held)
    assert {0} == set(held[128:])


def test_scene_that_ends_too_early_is_extended_and_no_later_scene_goes_without(tmp_path: Path) -> None:
    """Where calls are few, they are for the scenes."""

    async def scene() -> tuple[Telling, int]:
        async with virtual_service(tmp_path, max_calls=1) as service:
            service.upstream.default = _answerer(_THREE_HUNDRED)
            return await service.tell(length_minutes=10), len(service.upstream.calls)

    telling, calls = run_virtually(scene())

    assert calls == 5
    assert telling.text.endswith(ENDING)
    assert _SHORTER in _reasons(telling)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9])
def test_killed_story_continues_with_its_scene(tmp_path: Path, share: float) -> None:
    """The outline and the text say which it is; no outline that was made is made again, and the length is kept."""

    async def scene() -> tuple[Telling, Telling, list[str]]:
        async with virtual_service(tmp_path) as service:
            service.upstream.default = _answerer(_THOUSAND)
            first = await service.tell(length_minutes=20)
            text = first.text[: int(len(first.text) * share)]
            text = text[: text.rfind(".") + 1]
            outline = next(
                each for each in reversed(first.outlines) if max(scene.end for scene in each.scenes) <= len(text)
            )
            service.upstream.calls.clear()
            how: dict[str, Any] = {"outline": outline, "length_minutes": 20, "title": first.title}
            return first, await service.tell(text, **how), [_prompt(call) for call in service.upstream.calls]

    first, second, prompts = run_virtually(scene())
    ends = [each.end for each in first.outlines[-1].scenes]

    assert 0.85 <= _words(second) / 3_000 <= 1.2
    assert 1 == second.text.count(ENDING)
    assert (not share) == any("plan the rest" in prompt for prompt in prompts)
    begun = len(second.text) * share
    number = sum(end <= begun for end in ends) + 1
    assert any(f"Write scene {at} of 5" in prompts[0] for at in (number, number + 1))
    if share:
        assert [each.purpose for each in second.outlines[-1].scenes] == [
            each.purpose for each in first.outlines[-1].scenes
        ]


def test_story_killed_behind_its_last_scene_is_complete(tmp_path: Path) -> None:
    """No ending is paid and heard a second time."""

    async def scene() -> tuple[Telling, Telling, int]:
        async with virtual_service(tmp_path) as service:
            service.upstream.default = _answerer(_THOUSAND)
            first = await service.tell(length_minutes=10)
            service.upstream.calls.clear()
            how: dict[str, Any] = {"outline": first.outlines[-1], "length_minutes": 10, "title": first.title}
            return first, await service.tell(first.text, **how), len(service.upstream.calls)

    first, second, calls = run_virtually(scene())

    assert 0 == calls
    assert first.text == second.text
    assert first.whole.content_sha256 == second.whole.content_sha256
    assert [] == second.warnings


@pytest.mark.parametrize(
    "item", ["{}. ", "**Scene {} – ", "- ", "Сцена {}. ", "场景{}\uff1a", "第{}幕\uff1a", "シーン{}\uff1a"]
)
def test_lines_of_an_outline_are_read_in_every_language(item: str) -> None:
    """Whatever stands in front of a scene."""
    scenes = [f"{item.format(number)}They go there and see it." for number in (1, 2, 3)]
    outline = read_outline("\n".join(["Title: A", "Place: a lake", "Companion: -", "Gift: a shell", *scenes]))

    assert ["They go there and see it."] * 3 == [scene.purpose for scene in outline.scenes]
    assert "a lake" == outline.setting


def test_words_of_later_scenes_follow_those_of_earlier_ones(tmp_path: Path) -> None:
    """What one scene has too much, the others have less."""
    telling, calls = _told(tmp_path, _answerer(_TWICE), length_minutes=30)
    ends = [0, *(each.end for each in telling.outlines[-1].scenes)]
    words = [count_words(telling.text[start:end]) for start, end in pairwise(ends)]

    assert 8 == len(words)
    assert sum(words) <= 4_500 * 1.2
    assert len(calls) <= 17


def test_cost_limit_counts_the_scenes_that_come(tmp_path: Path) -> None:
    """A story that it cannot pay for is refused before its outline is paid."""
    telling, calls = _told(
        tmp_path, _answerer(_THOUSAND), length_minutes=30, model="openai/gpt-4o-mini", max_cost_usd=0.003
    )

    assert isinstance(telling.error, DomainError)
    assert "COST_LIMIT" == telling.error.reason
    assert [] == calls


def test_embedded_writer_continues_a_story_of_scenes(tmp_path: Path) -> None:
    """To a calm end, where the model fails in the middle of a scene."""

    async def scene(service: VirtualService) -> Telling:
        count = 0

        def answers(call: Call) -> Answer:
            nonlocal count
            count += 1
            return error(401) if count > 3 else story(written(_prompt(call), _THOUSAND), size=200)

        service.upstream.default = answers
        return await service.tell(length_minutes=10, fallback_models=["offline"])

    async def all_of_it() -> Telling:
        async with virtual_service(tmp_path) as service:
            return await scene(service)

    telling = run_virtually(all_of_it())

    assert telling.whole.embedded
    assert "offline" == telling.whole.model
    assert 0.8 <= _words(telling) / 1_500 <= 1.2


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        ("Scene {}: The Boat\n\n", ""),
        ("## Scene {}\n\n", ""),
        ("**Scene Two – The Boat**\n\n", ""),
        ("Chapter {} of 3\n\n", ""),
        ("第{}场 —\n\n", ""),
        ("The Boat on the Lake\n\n", ""),
        ("{}. ", ""),
        ("Scene {}: ", ""),
        ("", "\n\n(End of scene {})"),
        ("", "\n\n*To be continued in the next scene…*"),
        ("", "\n\nThe End"),
        ("", "\n\nGood night, sleep tight."),
    ],
)
@pytest.mark.sampled(5)
def test_nothing_of_how_scenes_are_told_apart_is_heard(tmp_path: Path, before: str, behind: str) -> None:
    """No heading, no number, and no farewell before the last scene."""

    def framed(call: Call) -> Answer:
        prompt = _prompt(call)
        text = written(prompt, _OWN)
        number = next((number for number in (1, 2, 3) if f"Write scene {number} of 3" in prompt), 0)
        if not number:
            return story(text, size=200)
        last = "" if number == 3 and "night" in behind else behind.format(number)
        return story(f"{before.format(number)}{text}{last}", size=200)

    telling, calls = _told(tmp_path, framed, length_minutes=10)

    assert 4 == len(calls)
    assert [] == telling.warnings
    assert not any(heard in telling.text.casefold() for heard in ("scene", "chapter", "第", "boat on", "the end"))
    assert not any(f"{number}." in telling.text for number in (1, 2, 3))
    assert 1 == telling.text.casefold().count("good night")
    assert telling.text.endswith(ENDING)


def test_letter_at_the_start_of_a_scene_has_its_greeting(tmp_path: Path) -> None:
    """A line that ends with a mark is no heading."""

    def letter(call: Call) -> Answer:
        text = written(_prompt(call), _OWN)
        return story(f"Dear Mia,\n\n{text}" if "Write scene 2" in _prompt(call) else text, size=200)

    telling, _ = _told(tmp_path, letter, length_minutes=10)

    assert "\n\nDear Mia," in telling.text


def test_extension_that_cannot_be_paid_is_left_out(tmp_path: Path) -> None:
    """The scene has its own ending then, and the other scenes are written."""
    telling, calls = _told(
        tmp_path,
        lambda call: story(written(_prompt(call), _THREE_HUNDRED), size=200, cost=0.001),
        length_minutes=10,
        model="openai/gpt-4o-mini",
        max_cost_usd=0.0056,
        # What a prompt has, and with it its cost, is drawn by the id.
        story_id="01a22d00-f1c8-7307-b0a3-6546159b3c99",
    )

    assert telling.whole.content_length == len(telling.text)
    assert 4 == len(calls)
    assert [_SHORTER] == _reasons(telling)
    assert telling.text.endswith(ENDING)


@pytest.mark.parametrize("share", [0.6, 0.9])
def test_answers_that_are_cut_write_no_scene_twice(tmp_path: Path, share: float) -> None:
    """A scene that has nearly all its words is followed by the next one, though every answer is cut at its length."""

    def cut(call: Call) -> Answer:
        text = written(_prompt(call), _OWN)
        if "plan the rest" in _prompt(call):
            return story(text, size=200)
        return stream(*pieces(text[: int(len(text) * share)]), Finish("length"), Usage(None), DONE)

    telling, calls = _told(tmp_path, cut, length_minutes=10, seed=1)
    asked = [re.findall(r"Write scene (\d) of", _prompt(call)) for call in calls]

    assert 0.85 <= _words(telling) / 1_500 <= 1.2
    assert sorted(filter(None, asked)) == list(filter(None, asked))
    assert set(_reasons(telling)) <= {"ENDING_MISSING"}


def test_answers_that_are_always_cut_early_give_what_they_have(tmp_path: Path) -> None:
    """Each scene gets its share of the calls, and the record says what the story lacks."""

    def cut(call: Call) -> Answer:
        text = written(_prompt(call), _OWN)
        if "plan the rest" in _prompt(call):
            return story(text, size=200)
        return stream(*pieces(text[: int(len(text) * 0.3)]), Finish("length"), Usage(None), DONE)

    telling, calls = _told(tmp_path, cut, length_minutes=10)

    assert telling.error is None
    assert telling.whole.content_length == len(telling.text)
    assert {"ENDING_MISSING", _SHORTER} == set(_reasons(telling))
    assert any("Write scene 3 of 3" in _prompt(call) for call in calls)
    assert len(calls) <= 12
    assert telling.text.endswith(".")


@pytest.mark.parametrize(
    "plan",
    [
        lambda _, each: each,
        lambda purposes, _: "\n".join(f"{number}. {each}" for number, each in enumerate(purposes, 1)),
        lambda purposes, _: "\n".join(f"Scene {number}: {each}" for number, each in enumerate(purposes, 1)),
        lambda _, each: f"**Plan**\nPlace: a lake\nCompanion: -\nGift: a shell\n- {each}\n\n---",
        lambda *_: "**Scene 2 — the pond**",
    ],
    ids=["purpose", "numbered", "scenes", "labelled", "heading"],
)
def test_outline_that_a_scene_repeats_is_not_heard(tmp_path: Path, plan: Callable[[list[str], str], str]) -> None:
    """Nothing of it, whatever stands before its lines; the scene is as it is without."""

    def repeats(call: Call) -> Answer:
        prompt = _prompt(call)
        number = re.search(r"Write scene (\d) of", prompt)
        purposes = re.findall(r"^\d+\. <data>(.*)</data>", prompt, re.MULTILINE)
        text = written(prompt, _OWN)
        if number is None or not purposes:
            return story(text, size=200)
        return story(f"{plan(purposes, purposes[int(number[1]) - 2])}\n\n{text}", size=200)

    told = "01a22d00-f1c8-7307-b0a3-6546159b3c99"
    telling, _ = _told(tmp_path, repeats, length_minutes=10, story_id=told)
    plain, _ = _told(tmp_path / "plain", _answerer(_OWN), length_minutes=10, story_id=told)

    assert plain.text == telling.text
    assert [] == telling.warnings
