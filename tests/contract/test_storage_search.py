"""Every StoryStore finds stories by words in the same way.

Where stores may differ is named here: PostgreSQL leaves out words that a language has everywhere ("the"), knows the
forms of more languages and of words in quotes, and takes accents for letters of their own; see `embedded`.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.storage_stores import EMBEDDED, Stores, adapter_of

from servicekit.ids import new_id
from standins.storage_kit import LEASE, ManualClock, checkpoint, lease_token, new_story, write_held
from storage_service.ports import StoryStore
from storage_service.records import Cancel, Narrate, Position, Rate, Retry
from storage_service.stories import states
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

ME, OTHER = "mia", "ben|google:4711"
ALL_THERE = (
    "dragon",
    "DRAGON",
    "cave dragon",
    "dragon, cave!",
    '"sleepy dragon"',
    "lighthouse",
    "lighthouse dragon",
    "dragon -knight",
    '-"dragon sleepy"',
    "-knight",
    "moonlit 7",
    "dragons caves nights",
)
NOT_THERE = (
    "knight",
    "dragon knight",
    "drag",
    "agon",
    '"dragon sleepy"',
    "dragon -cave",
    "lighthouse -dragon",
    '-"moonlit cave"',
)
ODD = (
    '"',
    '""',
    "'",
    "a'b",
    '"dragon',
    'dragon"',
    "dragon AND",
    "NOT dragon",
    "NEAR(dragon cave)",
    "NEAR(x",
    "a OR b",
    "title:dragon",
    "{title}: x",
    "dragon*",
    "^dragon",
    "(dragon",
    "dragon)",
    "dragon + cave",
    "- -",
    "--dragon",
    "dragon:*",
    "a & b | !c <-> d",
    "\\",
    "%_",
    "; DROP TABLE stories; --",
    "🐉",
    "\u0301",
    "ё",
    "x" * 200,
    "а" * 200,  # noqa: RUF001 - Cyrillic
    "слово " * 33,
    " ",
)
# Russian letters look like Latin ones.
RUSSIAN = {
    "Драконы спали в большой пещере.": ("дракон", "пещера драконы", "БОЛЬШАЯ"),
    "Маленькая девочка нашла котёнка.": ("девочки", "маленький"),
    "У кота была шляпа.": ("кот", "шляпы коты"),  # noqa: RUF001
}


@pytest.fixture
def store(stores: Stores) -> StoryStore:
    """The store of the stories."""
    return stores.stories


@pytest.fixture(params=EMBEDDED)
async def embedded(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[StoryStore]:
    """Those whose words are folded more."""
    async with adapter_of(request)(tmp_path, clock) as adapter:
        yield adapter.stories


async def begun(store: StoryStore, owner: str = ME, **changes: object) -> str:
    """Id of a new story that is leased."""
    record, _ = await store.create(owner, new_story(lease=LEASE, narrate=False, **changes))  # type: ignore[arg-type]
    return record.story.id


async def kept(store: StoryStore, made: storage_pb2.StoryCheckpoint) -> None:
    """A checkpoint that holds."""
    (result,) = await write_held(store, made)
    assert "" == result.error.reason


async def told(store: StoryStore, text: str, title: str = "T", owner: str = ME, **changes: object) -> str:
    """Id of a story of that text, kept in two pieces that may cut a word."""
    story_id = await begun(store, owner, **changes)
    half = len(text) // 2
    await kept(store, checkpoint(story_id, state=states.WRITING, title=title, text=(0, text[:half])))
    await kept(store, checkpoint(story_id, state=states.READY, text=(half, text[half:]), content_complete=True))
    return story_id


async def found(store: StoryStore, query: str, owner: str = ME, **chosen: object) -> list[str]:
    """Ids of what is found."""
    wanted = common_pb2.StoryFilter(query=query, **chosen)  # type: ignore[arg-type]
    return [one.id for one in await store.list_page(owner, wanted, limit=10, after=None)]


async def test_all_words_must_be_there(store: StoryStore) -> None:
    """In any case and order, in title or text, next to each other in quotes; and not those after a minus."""
    story_id = await told(store, "A sleepy dragon was asleep for 7 nights in a moonlit cave.", "The Lighthouse")
    assert {query: [story_id] for query in ALL_THERE} == {query: await found(store, query) for query in ALL_THERE}


async def test_what_is_not_there_is_not_found(store: StoryStore) -> None:
    """Neither a word too many nor a part of a word finds a story."""
    await told(store, "A sleepy dragon was asleep for 7 nights in a moonlit cave.", "The Lighthouse")
    assert {query: [] for query in NOT_THERE} == {query: await found(store, query) for query in NOT_THERE}


async def test_russian_words_are_found_in_their_forms(store: StoryStore) -> None:
    """The ending does not matter."""
    expected = {}
    for text, queries in RUSSIAN.items():
        story_id = await told(store, text, "Сказка", language_code="ru")
        expected.update({query: [story_id] for query in queries})
    await told(store, "Который час? Категория, дракула, пещерный.", "Другая", language_code="ru")
    assert expected == {query: await found(store, query) for query in expected}


@pytest.mark.parametrize(
    ("text", "query"),
    [("Émile sat in a café.", "emile cafe"), ("Ёжик шёл в лес.", "ежик"), ("Ежик шел в лес.", "ёжик шёл")],
)
async def test_accents_do_not_matter(embedded: StoryStore, text: str, query: str) -> None:
    """People leave them out."""
    story_id = await told(embedded, text, language_code="ru")
    assert [story_id] == await found(embedded, query)


async def test_the_newest_is_found_first(store: StoryStore, clock: ManualClock) -> None:
    """In title and text alike."""
    fox = await told(store, "A fox met a dragon by the sea.", "Captain Fox")
    clock.advance(1)
    owl = await told(store, "An owl watched the dragon sleep.", "The Owl")
    expected = {"dragon": [owl, fox], "DRAGON Sea": [fox], "captain dragon": [fox], "owl": [owl], "fox owl": []}
    assert expected == {query: await found(store, query) for query in expected}


async def test_words_of_other_languages_are_found(store: StoryStore) -> None:
    """Whatever they are written in, and also where the list is bound to one language."""
    russian = await told(store, "Сова и дракон жили возле моря.", "Сова", language_code="ru")
    german = await told(store, "Eine Eule träumte von der Höhle.", "Die Eule", language_code="de")
    assert [[russian], [russian], [german], []] == [
        await found(store, "дракон"),
        await found(store, "ДРАКОН", language_code="ru"),
        await found(store, "höhle"),
        await found(store, "дракон", language_code="de"),
    ]


async def test_no_query_is_an_error(store: StoryStore) -> None:
    """Whatever is typed is taken for words."""
    await told(store, "A sleepy dragon in a cave.")
    for query in ODD:
        assert [] == await found(store, f"{query} mermaid")
        assert 1 >= len(await found(store, query))


async def test_without_a_word_nothing_is_found(store: StoryStore) -> None:
    """Marks alone choose nothing."""
    await told(store, "A sleepy dragon in a cave.")
    assert [[]] * 5 == [await found(store, query) for query in ("!?", '"..."', "-", '"" -""', '-"')]


async def test_a_story_is_found_once_it_is_told(store: StoryStore) -> None:
    """Not while it is written; also when its run has failed or was stopped; not any more while it is tried again."""
    story_id = await begun(store)
    await kept(store, checkpoint(story_id, state=states.WRITING, title="T", text=(0, "A dragon ")))
    assert [] == await found(store, "dragon")
    await kept(store, checkpoint(story_id, state=states.FAILED))
    assert [story_id] == await found(store, "dragon")
    await store.update(ME, story_id, Retry(lease=LEASE), expected_revision=None)
    assert [] == await found(store, "dragon")
    await kept(store, checkpoint(story_id, text=(9, "and an owl.")))
    await store.update(ME, story_id, Cancel(), expected_revision=None)
    assert [story_id] == await found(store, "owl")


async def test_what_comes_after_the_text_changes_nothing(stores: Stores) -> None:
    """A title that comes late is found; rating, audio and telling again leave the story where it is."""
    store = stores.stories
    story_id = await begun(store)
    await kept(store, checkpoint(story_id, state=states.NARRATING, text=(0, "A dragon."), content_complete=True))
    assert [story_id] == await found(store, "dragon")
    await kept(store, checkpoint(story_id, title="The Lighthouse"))
    audio = common_pb2.StoryAudio(audio_id=new_id(), size_bytes=1, sha256=bytes(32))
    await store.attach_audio(story_id, await lease_token(store, story_id), audio, await stores.audio_key())
    await kept(store, checkpoint(story_id, state=states.READY))
    await store.update(ME, story_id, Rate(9), expected_revision=None)
    await store.update(ME, story_id, Narrate(common_pb2.VoiceSelection(), lease=LEASE), expected_revision=None)
    assert [[story_id]] * 3 == [await found(store, query) for query in ("lighthouse", "dragon", "dragon lighthouse")]
    await store.update(ME, story_id, Cancel(), expected_revision=None)
    assert [story_id] == await found(store, "lighthouse")


async def test_a_story_that_is_gone_is_not_found(stores: Stores) -> None:
    """Deleted, expired, or of a child that was erased."""
    store = stores.stories
    child = await stores.profiles.create(ME, common_pb2.Child(name="Mia", age=6), None)
    deleted, expired = await told(store, "A dragon."), await told(store, "A dragon.")
    await told(store, "A dragon.", child_id=child.id)
    await store.delete(ME, deleted)
    await stores.removals.erase_child(ME, child.id)
    assert [expired] == await found(store, "dragon")
    await stores.removals.expire(1 << 60, most=10)
    assert [] == await found(store, "dragon")
    await stores.removals.scrub()
    again = await told(store, "A dragon.")
    assert [again] == await found(store, "dragon")


async def test_each_owner_finds_their_own(store: StoryStore) -> None:
    """Whatever the owner is called, and whoever they are called like."""
    mine, theirs = await told(store, "A dragon."), await told(store, "A dragon.", owner=OTHER)
    assert ([mine], [theirs]) == (await found(store, "dragon"), await found(store, "dragon", OTHER))
    assert [] == await found(store, "dragon", "ben|google")
    assert [] == await found(store, "z6d6961z")


async def test_words_and_other_filters_hold_together(store: StoryStore) -> None:
    """Each narrows what the others leave."""
    owl = await told(store, "A dragon and an owl.", language_code="de")
    await told(store, "An owl.", language_code="de")
    await told(store, "A dragon.", language_code="en")
    assert [owl] == await found(store, "dragon", language_code="de")
    assert [] == await found(store, "dragon", language_code="de", min_rating=1)


async def test_pages_of_a_search_stay_where_they_were(store: StoryStore, clock: ManualClock) -> None:
    """Newest first, several of one moment too, neither repeated nor skipped while stories arrive."""
    ids = []
    for number in range(7):
        clock.advance(number % 3 == 0)
        ids.append(await told(store, "A dragon."))
        await told(store, "An owl.")
    expected = [*sorted(ids[:3]), *sorted(ids[3:6]), ids[6]][::-1]
    seen: list[str] = []
    after = None
    wanted = common_pb2.StoryFilter(query="dragon")
    while page := await store.list_page(ME, wanted, limit=2, after=after):
        seen += [summary.id for summary in page]
        after = Position(page[-1].create_time.ToMicroseconds(), page[-1].id)
        clock.advance(1)
        await told(store, "A dragon.")
    assert expected == seen
