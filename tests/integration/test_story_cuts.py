"""A stream that is cut anywhere goes on with another model, and nobody hears the seam."""

from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from itertools import count
from typing import Final

import pytest
from support.openrouter_fake import Answer, Cut, broken_off, pieces, stream
from support.story_models import SENTENCES, TEXT, TITLE, WHOLE, StoryServer, Telling, goes_on, joined, story_server

_POSITIONS: Final = [round(n * len(WHOLE) / 20) for n in range(20)]
_CUTS: Final[Mapping[str, Callable[[str], Answer]]] = {
    "end without a finish reason": lambda said: stream(*pieces(said)),
    "error in the stream": lambda said: broken_off(said, 502),
    "broken connection": lambda said: stream(*pieces(said), Cut()),
}
_NUMBERS: Final = count()


@pytest.fixture(scope="module")
async def writing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StoryServer]:
    """One story service for all cuts; each asks for models of its own, whose circuits are closed."""
    async with story_server(tmp_path_factory.mktemp("data")) as running:
        yield running


async def _cut(writing: StoryServer, answer: Answer, *, overlap: int = 0) -> Telling:
    number = next(_NUMBERS)
    writing.upstream.answer(answer)
    writing.upstream.default = partial(goes_on, overlap=overlap)
    return await writing.tell(model=f"cut/m{number}", fallback_models=[f"other/m{number}"])


@pytest.mark.parametrize("position", _POSITIONS)
@pytest.mark.parametrize("way", _CUTS)
async def test_cut_stream_goes_on_without_a_seam(writing: StoryServer, way: str, position: int) -> None:
    """Wherever and however it is cut: what is delivered only grows, and each sentence is told once, in its place."""
    billed, calls = writing.upstream.total_cost, len(writing.upstream.calls)
    telling = await _cut(writing, _CUTS[way](WHOLE[:position]))
    whole = telling.whole

    assert (TITLE, TEXT) == (telling.title, telling.text)
    assert len(TEXT) == whole.content_length
    assert calls + 2 == len(writing.upstream.calls)
    # Where no text was out, the same model was asked again.
    assert ["MODEL_FALLBACK"] * (len(telling.started) - 1) == [warning.reason for warning in telling.warnings]
    assert pytest.approx(writing.upstream.total_cost - billed) == telling.cost
    if whole.usage.cost_known:
        assert pytest.approx(telling.cost) == whole.usage.cost_usd


@pytest.mark.parametrize("position", _POSITIONS)
@pytest.mark.parametrize("overlap", [2])
async def test_what_the_next_model_says_again_is_trimmed(writing: StoryServer, position: int, overlap: int) -> None:
    """However many of the last sentences the next model repeats, they are heard once."""
    telling = await _cut(writing, stream(*pieces(WHOLE[:position])), overlap=overlap)

    assert TEXT == telling.text
    assert telling.whole.content_length == len(TEXT)


@pytest.mark.parametrize("told", range(0, len(SENTENCES), 2))
async def test_story_that_another_process_began_is_fallback_notice(writing: StoryServer, told: int) -> None:
    """The request brings what is out: no title comes, offsets go on, and the digest is that of the whole."""
    writing.upstream.default = goes_on
    telling = await writing.tell(joined(told), model=f"late/m{told}")

    assert TEXT == telling.text
    assert (TITLE if not told else "") == telling.title
    assert ["started"] == telling.events[:1]


@pytest.mark.parametrize("position", range(0, len(TITLE) + 1, 3))
async def test_attempt_that_is_cut_in_its_title_starts_afresh(writing: StoryServer, position: int) -> None:
    """Nothing is out, so the next model begins the story, and its title is the one."""
    telling = await _cut(writing, stream(*pieces(TITLE[:position], size=5)))

    assert (TITLE, TEXT) == (telling.title, telling.text)
    assert "so far" not in writing.upstream.calls[-1].body["messages"][-1]["content"]
