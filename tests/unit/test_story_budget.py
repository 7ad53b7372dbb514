"""The calls that a story may take: over random failing upstreams, in one run and in several that are killed."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from support.random_upstream import RandomUpstream
from support.story_models import TEXT, TITLE, VirtualService, virtual_service
from support.virtual_runs import VirtualRuns

from standins.virtual_time import run_virtually
from story_service.answer.titles import fallback_ending
from tale.common.v1 import common_pb2

READY, FAILED = common_pb2.STORY_STATE_READY, common_pb2.STORY_STATE_FAILED
ENDED = (READY, FAILED)
MOST, IN_A_ROW = 8, 4


def _lines(story: common_pb2.Story, *, since: int) -> list[common_pb2.Attempt]:
    return [line for line in story.attempts[since:] if line.kind == common_pb2.ATTEMPT_KIND_MODEL_CALL]


def _counted(lines: Sequence[common_pb2.Attempt]) -> int:
    """Calls that count: all but probes after a wait that cost nothing."""
    return sum("probe" not in line.metadata or line.metadata.get("billed") != "false" for line in lines)


def _longest_row(lines: Sequence[common_pb2.Attempt]) -> int:
    """The most calls of one model in a row that may have been billed and released no text."""
    longest, row = 0, Counter[str]()
    for line in lines:
        row[line.model] = 0 if line.characters else row[line.model] + (line.metadata.get("billed") != "false")
        longest = max(longest, row[line.model])
    return longest


async def _one(service: VirtualService, seed: int, *, wait: float) -> None:
    upstream, dice = RandomUpstream(seed), Random(seed)
    service.upstream.default = upstream.answer
    # Each story has models of its own, whose circuits are closed.
    models = [f"story{seed}/m{number}" for number in range(dice.randint(1, 3))]
    runs = VirtualRuns(service.app.servicer, provider_wait=wait, model=models[0], fallback_models=models[1:])
    for _ in range(2):
        before, kills = len(runs.story.attempts), dice.choice([0, 0, 1, 3])
        upstream.given.clear()
        while runs.story.state not in ENDED:
            await runs.run(killed_after=dice.uniform(0, 60) if kills > 0 else None)
            kills -= 1
        _check(runs.story, _lines(runs.story, since=before), upstream, wait=wait)
        if runs.story.state == READY:
            break
        runs.retry()


def _check(
    story: common_pb2.Story, lines: Sequence[common_pb2.Attempt], upstream: RandomUpstream, *, wait: float
) -> None:
    what = (upstream.given, [(line.model, line.reason, line.characters, dict(line.metadata)) for line in lines])
    # As the provider sees it.
    assert sum(billed for _, billed in upstream.given) <= MOST, what
    assert wait or len(upstream.given) <= MOST, what
    # As the ledger does.
    assert len(lines) == len(upstream.given), what
    assert _counted(lines) <= MOST, what
    assert _longest_row(lines) <= IN_A_ROW, what

    assert TEXT.startswith(story.content.removesuffix(f"\n\n{fallback_ending('en')}")) or upstream.strange, what
    assert not story.content or TITLE == story.title
    reasons = {problem.reason for problem in story.problems} - {"MODEL_FALLBACK", "WAITING_FOR_PROVIDER"}
    if story.state == READY:
        assert reasons <= {"ENDING_MISSING", "SHORTER_THAN_ASKED"}, (reasons, what)
    else:
        # A story for which no call could be made any more, or yet.
        unknown = {"UPSTREAM_UNAVAILABLE"} if lines else {"CIRCUIT_OPEN"}
        assert reasons <= upstream.reasons | unknown, (reasons, what)
        assert reasons, what


@pytest.mark.parametrize("wait", [0.0, 600.0])
def test_no_upstream_makes_a_story_take_more_calls_than_it_may(tmp_path: Path, wait: float) -> None:
    """Nor lose or double text, nor fail for anything but what the upstream did."""

    async def scene() -> None:
        async with virtual_service(tmp_path) as service:
            for seed in range(20):
                await _one(service, seed, wait=wait)

    run_virtually(scene())


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("wait", [0.0, 600.0])
def test_none_of_thousands_of_upstreams_does(tmp_path: Path, wait: float) -> None:
    """As above."""

    async def scene() -> None:
        async with virtual_service(tmp_path) as service:
            for seed in range(1_000, 4_000):
                await _one(service, seed, wait=wait)

    run_virtually(scene())
