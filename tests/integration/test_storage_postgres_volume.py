"""A hundred thousand stories and segments in PostgreSQL: what is called often goes by an index."""

import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import cast

import psycopg
import pytest
from support.postgres_store import PostgresClient, over_postgres

from standins.storage_kit import LEASE, ManualClock
from storage_service.stories import states
from storage_service.supabase.audio import SupabaseObjectNotes, SupabaseSegmentStore
from storage_service.supabase.connection import Connection
from storage_service.supabase.schema import migrate
from storage_service.supabase.stories import SupabaseStoryStore
from tale.common.v1 import common_pb2
from tale.storage.v1 import segment_pb2, storage_pb2

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

MANY = 100_000
MOST_ROWS = 10_000
"""A scan of all stories reads ten times as many."""
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
_FILL_SEGMENTS = """
with noted as (
  insert into tales.objects (object_id, kind, state, changed_at)
    select md5(n::text)::uuid, 'segment', 'STORED', now() from generate_series(1, %(count)s) as n
), counted as (
  insert into tales.segment_total (size_bytes) values (%(count)s * 100)
)
insert into tales.segments (key, object_id, size_bytes, sha256, segment, last_used_at)
  select encode(sha256(n::text::bytea), 'hex'), md5(n::text)::uuid, 100, sha256(n::text::bytea), '',
    now() - n * interval '1 s'
  from generate_series(1, %(count)s) as n
"""


_READ = """
select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_user_tables where schemaname = 'tales'
"""


async def rows_read(database: str, connection: Connection, call: Callable[[], Awaitable[object]]) -> int:
    """Rows of tables that a call reads, by an index or not."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as statistics:

        async def total() -> int:
            # Otherwise the session that counted reports at most once a second.
            (session,) = cast("PostgresClient", await connection.client()).idle
            await session.execute("select pg_stat_force_next_flush()")
            row = await (await statistics.execute(_READ)).fetchone()
            assert row is not None
            return int(row[0])

        before = await total()
        await call()
        return await total() - before


async def test_frequent_calls_read_few_rows(database: str) -> None:
    """For an owner of half of all stories. How long they take is measured by the benchmarks."""
    await migrate(database, lambda _: None)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute(_FILL, [MANY])
        await connection.execute(_FILL_SEGMENTS, {"count": MANY})
        await connection.execute("vacuum analyze")
        rows = await connection.execute("select id::text from tales.stories limit 1000")
        positions = [
            storage_pb2.StoryPosition(story_id=story_id, state=states.READY, text_length=65_536)
            async for (story_id,) in rows
        ]
    async with over_postgres(database, ManualClock(int(time.time() * 1_000_000)), connections=1) as connected:
        stories = SupabaseStoryStore(connected)
        segments, objects = SupabaseSegmentStore(connected), SupabaseObjectNotes(connected)
        wanted = [segment_pb2.SegmentLookup(key=hashlib.sha256(str(n).encode()).hexdigest()) for n in range(1, 51)]

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
            "follow a thousand": lambda: stories.follow(positions, max_bytes=1 << 20),
            "objects to remove": lambda: objects.take_deleted(grace=0, most=500),
            "segments": lambda: segments.find(wanted),
            "evict": lambda: segments.evict((MANY - 1) * 100),
        }
        await connected.rpc("schema_version")
        read = {name: await rows_read(database, connected, call) for name, call in asked.items()}
    assert {} == {name: count for name, count in read.items() if count > MOST_ROWS}
