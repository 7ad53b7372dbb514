"""A hundred thousand stories in PostgreSQL: what is asked for often stays quick."""

import statistics
import time
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from support.postgres_store import over_postgres

from standins.storage_kit import LEASE, ManualClock
from storage_service import states
from storage_service.supabase.migrating import migrate
from storage_service.supabase.story_store import SupabaseStoryStore
from tale.common.v1 import common_pb2

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

MANY = 100_000
MOST_SECONDS = 0.020
_FILL = """
insert into tales.stories (
    id, owner, state, kind, child_name, language_code, length_minutes, narrate, title, content, content_complete,
    created_at, updated_at, ended_at, rating, spec, story, voice
  )
  select gen_random_uuid(), case when n %% 2 = 0 then 'mia' else 'owner-' || n %% 500 end,
    case when n %% 100 = 1 then 'PENDING' else 'READY' end, 'CHILD', 'Child ' || n %% 7,
    case when n %% 3 = 0 then 'ru' else 'en' end, 5, true, 'The dragon and number ' || n,
    repeat('Once upon a time a small dragon slept in castle ' || n %% 977 || ' by the sea. ', 12), n %% 100 <> 1,
    now() - n * interval '1 s', now(), case when n %% 100 <> 1 then now() end, nullif(n %% 11, 0), '', '', ''
  from generate_series(1, %s) as n
"""


async def median(call: Callable[[], Awaitable[object]], times: int = 25) -> float:
    """Seconds that half of the calls take at most."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


async def test_lists_searches_and_claims_stay_quick(database: str) -> None:
    """Each under 20 ms in the median, for an owner of half of all stories."""
    await migrate(database, lambda _: None)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute(_FILL, [MANY])
        await connection.execute("vacuum analyze tales.stories")
    async with over_postgres(database, ManualClock(int(time.time() * 1_000_000)), connections=1) as connected:
        stories = SupabaseStoryStore(connected)

        def page(**chosen: object) -> Callable[[], Awaitable[object]]:
            asked = common_pb2.StoryFilter(**chosen)  # type: ignore[arg-type]
            return lambda: stories.list_page("mia", asked, limit=21, after=None)

        asked = {
            "all": page(),
            "child": page(child_name="Child 3"),
            "language": page(language_code="ru"),
            "none in this state": page(states=[states.FAILED]),
            "some states": page(states=[states.READY, states.PENDING]),
            "rating": page(min_rating=10),
            "everything": page(min_rating=9, child_name="Child 2", language_code="en", states=[states.READY]),
            "a word of all": page(query="dragon"),
            "a word of few": page(query="500"),
            "a word of none": page(query="unicorn"),
            "words of few": page(query="castle 500"),
            "a word in a language": page(query="sleep", language_code="en"),
            "claim": lambda: stories.claim(LEASE, most=10, story_ids=()),
        }
        taken = {name: await median(call) for name, call in asked.items()}
    assert {} == {name: seconds for name, seconds in taken.items() if seconds > MOST_SECONDS}
