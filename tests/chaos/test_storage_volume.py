"""A hundred thousand stories in the embedded store: what is asked for often goes by an index."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest

from standins.storage_kit import LEASE
from standins.storage_volume import NEWEST, OWNER, fill
from storage_service.embedded.database import Database, Transaction
from storage_service.embedded.search import list_stories
from storage_service.embedded.stories import claim_stories
from storage_service.records import Position
from storage_service.stories import states
from tale.common.v1 import common_pb2

T = TypeVar("T")

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

MANY = 100_000
STEP = 100
MOST_STEPS = 50_000
"""Of SQLite's machine. A look at every story would take above a million."""


@pytest.fixture(scope="module")
async def database(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    """The store, filled once."""
    path = tmp_path_factory.mktemp("many") / "tale.sqlite3"
    await fill(path, MANY, words=120)
    it = Database(path, sync="normal", readers=1)
    await it.open()
    yield it
    await it.close()


def counted(work: Callable[[sqlite3.Connection], T]) -> Callable[[sqlite3.Connection], tuple[T, int]]:
    """What `work` gives, and the steps that it took."""

    def run(connection: sqlite3.Connection) -> tuple[T, int]:
        steps = 0

        def step() -> int:
            nonlocal steps
            steps += STEP
            return 0

        connection.set_progress_handler(step, STEP)
        try:
            return work(connection), steps
        finally:
            connection.set_progress_handler(None, 0)

    return run


MIDDLE = Position(NEWEST - MANY // 2 * 1_000_000, "0")
LISTS = {
    "all": (common_pb2.StoryFilter(), None, 21),
    "all, from the middle on": (common_pb2.StoryFilter(), MIDDLE, 21),
    "a child's": (common_pb2.StoryFilter(child_name="Child 3"), None, 21),
    "a child's, of which there is none": (common_pb2.StoryFilter(child_name="Nobody"), None, 0),
    "in a language": (common_pb2.StoryFilter(language_code="ru"), None, 21),
    "in a state, of which there is none": (common_pb2.StoryFilter(states=[states.FAILED]), None, 0),
    "in one state": (common_pb2.StoryFilter(states=[states.READY]), None, 21),
    "in any of two states": (common_pb2.StoryFilter(states=[states.READY, states.FAILED]), None, 21),
    "best rated": (common_pb2.StoryFilter(min_rating=9), None, 21),
    "a word of all": (common_pb2.StoryFilter(query="dragon"), None, 21),
    "a word of all, from the middle on": (common_pb2.StoryFilter(query="dragon"), MIDDLE, 21),
    "a word of few": (common_pb2.StoryFilter(query="lighthouse"), None, 21),
    "a word of one": (common_pb2.StoryFilter(query="number4242 dragon"), None, 1),
    "a word of none": (common_pb2.StoryFilter(query="unicorn"), None, 0),
    "a word of somebody else": (common_pb2.StoryFilter(query="number4241 dragon"), None, 0),
    "all but a word": (common_pb2.StoryFilter(query="dragon -lighthouse"), None, 21),
    "a word and a child": (common_pb2.StoryFilter(query="dragon", child_name="Child 2"), None, 21),
}


def begun(connection: sqlite3.Connection) -> Transaction:
    """A transaction at the time of the newest story."""
    return Transaction(connection, NEWEST)


@pytest.mark.parametrize("what", LISTS)
async def test_a_page_costs_no_more_than_a_page(database: Database, what: str) -> None:
    """Whatever is asked, no list looks at every story."""
    chosen, after, expected = LISTS[what]
    page, steps = await database.read(
        counted(lambda connection: list_stories(begun(connection), OWNER, chosen, limit=21, after=after))
    )
    assert expected == len(page)
    assert steps < MOST_STEPS


async def test_a_claim_costs_no_more_than_its_stories(database: Database) -> None:
    """The oldest unfinished ones, found without a look at the others."""
    claimed, steps = await database.write(
        counted(lambda connection: claim_stories(begun(connection), LEASE, most=10, story_ids=()))
    )
    assert 10 == len(claimed)
    assert steps < MOST_STEPS


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        ("SELECT id FROM stories s WHERE owner = 'a' ORDER BY create_time DESC, id DESC", "stories_by_owner"),
        (
            "SELECT id FROM stories s WHERE owner = 'a' AND child_name = 'x' ORDER BY create_time DESC, id DESC",
            "stories_by_child_name",
        ),
        (
            "SELECT id FROM stories s WHERE owner = 'a' AND state = 6 ORDER BY create_time DESC, id DESC",
            "stories_by_state",
        ),
        ("SELECT id FROM stories WHERE state IN (1, 2, 3) ORDER BY create_time, id LIMIT 9", "stories_unfinished"),
        ("SELECT id FROM stories s WHERE search_id = 7", "stories_by_search"),
        (
            "UPDATE objects SET state = 'DELETED' WHERE state <> 'STORED' AND state = 'NOTED' AND note_time < 7",
            "objects_to_settle",
        ),
        ("SELECT object_id FROM objects WHERE state <> 'STORED' AND state = 'DELETED' LIMIT 9", "objects_to_settle"),
        ("SELECT key FROM segments ORDER BY last_used LIMIT 9", "segments_by_use"),
    ],
)
async def test_indexes_are_used(database: Database, sql: str, index: str) -> None:
    """And nothing is sorted."""
    plan = await database.read(
        lambda connection: " ".join(row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}"))
    )
    assert index in plan
    assert "TEMP B-TREE" not in plan


async def test_a_filter_that_fits_nothing_looks_at_the_owners_stories_alone(database: Database) -> None:
    """Where there is no index for it, what others have costs nothing."""
    chosen = common_pb2.StoryFilter(language_code="fr")
    page, steps = await database.read(
        counted(lambda connection: list_stories(begun(connection), "owner-1", chosen, limit=21, after=None))
    )
    assert [] == list(page)
    assert steps < MOST_STEPS
