"""Every StoryStore finds stories by words in the same way."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.storage_kit import LEASE, ManualClock, checkpoint, new_story
from support.storage_stores import SEARCHING, adapter_of

from storage_service import states
from storage_service.ports import StoryStore
from storage_service.records import Cancel, Position
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

ME, OTHER = "mia", "ben"


@pytest.fixture
def clock() -> ManualClock:
    """Storage's clock."""
    return ManualClock()


@pytest.fixture(params=SEARCHING)
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[StoryStore]:
    """Each adapter in turn."""
    async with adapter_of(request)(tmp_path, clock) as stores:
        yield stores.stories


async def told(store: StoryStore, title: str, text: str, *, owner: str = ME, language_code: str = "en") -> str:
    """Id of a story that is ready, without sound."""
    new = new_story(lease=LEASE, narrate=False, language_code=language_code)
    await store.create(owner, new)
    end = checkpoint(new.story_id, state=states.READY, title=title, text=(0, text), content_complete=True)
    await kept(store, end)
    return new.story_id


async def kept(store: StoryStore, one: storage_pb2.StoryCheckpoint) -> None:
    """A checkpoint that holds."""
    (result,) = await store.checkpoint(LEASE.duration, [one])
    assert "" == result.error.reason


async def found(store: StoryStore, query: str, owner: str = ME, **chosen: object) -> list[str]:
    """Ids of the stories that a query finds."""
    asked = common_pb2.StoryFilter(query=query, **chosen)  # type: ignore[arg-type]
    return [summary.id for summary in await store.list_page(owner, asked, limit=10, after=None)]


async def test_words_are_found_in_title_and_text(store: StoryStore, clock: ManualClock) -> None:
    """All of them, in any case and order, in the newest story first."""
    fox = await told(store, "Captain Fox", "A fox met a dragon by the sea.")
    clock.advance(1)
    owl = await told(store, "The Owl", "An owl watched the dragon sleep.")
    cases = {
        "dragon": [owl, fox],
        "DRAGON Sea": [fox],
        "captain dragon": [fox],
        "owl": [owl],
        "fox owl": [],
        "unicorn": [],
    }
    assert cases == {query: await found(store, query) for query in cases}


async def test_words_in_quotes_stand_together_and_others_must_not_be_there(store: StoryStore) -> None:
    """As search engines have it."""
    story_id = await told(store, "The Owl", "A sleepy dragon and a wide awake owl.")
    cases = {
        '"sleepy dragon"': [story_id],
        '"dragon sleepy"': [],
        "dragon -owl": [],
        "dragon -unicorn": [story_id],
    }
    assert cases == {query: await found(store, query) for query in cases}


@pytest.mark.parametrize("query", ['"', "'", "-", "()", "& | !", "dragon:*", "a OR b", "NEAR(x", "%", "\\", "*", "^x"])
async def test_no_query_is_an_error(store: StoryStore, query: str) -> None:
    """Marks that mean something to the index mean nothing here, or find nothing."""
    await told(store, "The Owl", "An owl.")
    assert [] == await found(store, query)


async def test_words_of_other_languages_are_found(store: StoryStore) -> None:
    """Whatever they are written in, and also where the list is bound to one language."""
    russian = await told(store, "Сова", "Сова и дракон жили возле моря.", language_code="ru")
    german = await told(store, "Die Eule", "Eine Eule träumte von der Höhle.", language_code="de")
    assert ([russian], [russian], [german]) == (
        await found(store, "дракон"),
        await found(store, "ДРАКОН", language_code="ru"),
        await found(store, "höhle"),
    )
    assert [] == await found(store, "дракон", language_code="de")


async def test_a_query_is_one_of_the_terms_of_a_filter(store: StoryStore, clock: ManualClock) -> None:
    """All that is set must hold, for the owner alone, and pages go on where they ended."""
    stories = []
    for _ in range(5):
        stories.append(await told(store, "The Owl", "An owl."))
        clock.advance(1)
    theirs = await told(store, "The Owl", "An owl.", owner=OTHER)
    assert [theirs] == await found(store, "owl", owner=OTHER)
    assert [] == await found(store, "owl", child_name="Nobody")
    chosen = common_pb2.StoryFilter(query="owl", states=[states.READY])
    seen: list[str] = []
    after = None
    while page := await store.list_page(ME, chosen, limit=2, after=after):
        seen += [summary.id for summary in page]
        after = Position(page[-1].create_time.ToMicroseconds(), page[-1].id)
    assert stories[::-1] == seen


async def test_a_story_is_found_once_its_text_is_whole_or_its_run_has_ended(store: StoryStore) -> None:
    """And not any more once it is deleted."""
    whole, cancelled, failed = [new_story(lease=LEASE) for _ in range(3)]
    for new in (whole, cancelled, failed):
        await store.create(ME, new)
        await kept(store, checkpoint(new.story_id, title="The Owl", text=(0, "An owl and a bear.")))
    assert [] == await found(store, "owl")
    await kept(store, checkpoint(whole.story_id, content_complete=True))
    await store.update(ME, cancelled.story_id, Cancel(), expected_revision=None)
    await kept(store, checkpoint(failed.story_id, state=states.FAILED))
    expected = {whole.story_id, cancelled.story_id, failed.story_id}
    assert expected == set(await found(store, "bear owl"))
    await store.delete(ME, failed.story_id)
    assert expected - {failed.story_id} == set(await found(store, "bear"))
