"""The migrations of the store on a plain PostgreSQL: applied, and their rules."""

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from servicekit.ids import new_id
from servicekit.settings import ConfigurationError
from storage_service.supabase import schema as migrating
from storage_service.supabase.schema import SCHEMA_VERSION, Migration, migrate, migrations

MANY = 10_000
ZEROS = "A" * 43 + "="
"""A SHA-256 in base64."""
STORY = {
    "kind": "CHILD",
    "language_code": "en",
    "length_minutes": 5,
    "narrate": True,
    "embedded_parts": [],
    "child_name": "Mia",
    "spec": "",
    "story": "",
    "voice": "",
}


def silent(line: str) -> None:
    """Hears what is told."""
    del line


@pytest.fixture(scope="module")
def schema(postgres: str) -> str:
    """Connection string of a database with the schema."""
    asyncio.run(migrate(postgres, silent))
    return postgres


@pytest.fixture
def connection(schema: str) -> Iterator[psycopg.Connection[Any]]:
    """A transaction of its own, undone at the end."""
    with psycopg.connect(schema) as opened:
        yield opened
        opened.rollback()


def create(connection: psycopg.Connection[Any], **changes: object) -> dict[str, Any]:
    """What `tales.create_story` answers."""
    story = json.dumps({**STORY, "id": new_id(), **changes})
    row = connection.execute("select tales.create_story('mia', %s, '[]', null, null)", [story]).fetchone()
    assert row is not None
    answer: dict[str, Any] = row[0]
    return answer


def create_child(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """What `tales.create_profile` answers."""
    created = connection.execute("select tales.create_profile('mia', 'child', %s, 'Mia', '', null)", [new_id()])
    row = created.fetchone()
    assert row is not None
    answer: dict[str, Any] = row[0]
    return answer


@pytest.mark.parametrize("output", ["hex", "escape"])
def test_profiles_and_requests_are_base64_whatever_the_output_of_bytea(
    connection: psycopg.Connection[Any], output: str
) -> None:
    """Read, listed, in a story and in an export."""
    connection.execute(f"set local bytea_output = {output}")
    child, request = new_id(), json.dumps({"rpc": "CreateChild", "id": new_id(), "fingerprint": ZEROS})
    made = "select tales.create_profile('mia', 'child', %s, 'Mia', 'CgNNaWE=', %s)"
    ((created,),) = connection.execute(made, [child, request])
    ((listed,),) = connection.execute("select tales.list_profiles('mia', 'child', 5, null)")
    ((profiles,),) = connection.execute("select tales.scan_rows('profiles', null, 500)")
    ((requests,),) = connection.execute("select tales.scan_rows('requests', null, 500)")
    story = create(connection, child_id=child)["record"]
    assert created == story["child"]
    assert "CgNNaWE=" == created["profile"]
    assert created in listed
    assert created in profiles
    assert {ZEROS} == {one["fingerprint"] for one in requests if one["resource_id"] == child}


# Migrating.


async def test_a_migration_is_applied_once_and_noted_as_the_cli_notes_it(database: str) -> None:
    """The second time there is nothing to do."""
    told: list[str] = []
    known = migrations()
    assert len(known) == await migrate(database, told.append)
    assert [f"applied {one.version}_{one.name}" for one in known] == told
    assert 0 == await migrate(database, told.append)
    with psycopg.connect(database) as connection:
        noted = connection.execute(
            "select version, name, statements from supabase_migrations.schema_migrations order by version"
        ).fetchall()
        version = connection.execute("select tales.schema_version()").fetchone()
    assert [(one.version, one.name, [one.sql]) for one in known] == noted
    assert (SCHEMA_VERSION,) == version


async def test_two_who_migrate_at_once_wait_for_each_other(database: str) -> None:
    """Each migration is applied by one of them."""
    counts = await asyncio.gather(migrate(database, silent), migrate(database, silent))
    assert sorted([0, len(migrations())]) == sorted(counts)


async def test_a_migration_that_fails_leaves_nothing(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those before it stay, and the next run goes on from there."""
    good = Migration("20260101000000", "good", "create table a (b integer);")
    bad = Migration("20260101000001", "bad", "create table c (d integer); select nonsense;")
    monkeypatch.setattr(migrating, "migrations", lambda: [good, bad])
    with pytest.raises(ConfigurationError, match=r"SUPABASE_DB_URL: the database refuses a migration \(42703\)"):
        await migrate(database, silent)
    with psycopg.connect(database) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    assert [("a",)] == tables
    monkeypatch.setattr(migrating, "migrations", lambda: [good, bad._replace(sql="create table c (d integer);")])
    assert 1 == await migrate(database, silent)


async def test_a_database_with_the_earlier_trigger_of_usage_gets_the_present_one(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Usage is counted at the end of a transaction, under a lock, whichever version of the migrations came first."""
    known = migrations()
    with monkeypatch.context() as earlier:
        earlier.setattr(migrating, "migrations", lambda: known[:-1])
        await migrate(database, silent)
    with psycopg.connect(database) as connection:
        before = usage_counter(connection)
        connection.execute("drop trigger story_attempts_usage on tales.story_attempts")
        connection.execute(
            "create or replace function tales.count_attempt() returns trigger language plpgsql"
            " as 'begin return null; end'"
        )
        connection.execute(
            "create trigger story_attempts_usage after insert or update on tales.story_attempts"
            " for each row execute function tales.count_attempt()"
        )
    assert 1 == await migrate(database, silent)
    with psycopg.connect(database) as connection:
        assert before == usage_counter(connection)


def usage_counter(connection: psycopg.Connection[Any]) -> tuple[str, str]:
    """The trigger that counts usage, and its function."""
    row = connection.execute(
        "select pg_get_triggerdef(oid), pg_get_functiondef(tgfoid) from pg_trigger"
        " where tgname = 'story_attempts_usage'"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize("url", ["nonsense", "postgresql://me:secret@127.0.0.1:1/x"])
async def test_a_database_that_is_not_there_is_said_in_one_line(url: str) -> None:
    """With the variable, and without the password."""
    with pytest.raises(ConfigurationError, match="SUPABASE_DB_URL must be the connection string") as caught:
        await migrate(url, silent)
    assert "secret" not in str(caught.value)


# Who may do what.


def test_nobody_but_the_service_role_gets_in(connection: psycopg.Connection[Any]) -> None:
    """Row-level security is on for every table; visitors may read no table and call no function."""
    tables = connection.execute(
        "select relname, relrowsecurity from pg_class where relnamespace = 'tales'::regnamespace and relkind = 'r'"
    ).fetchall()
    assert {True} == {protected for _, protected in tables}
    for role in ("anon", "authenticated"):
        allowed = connection.execute(
            "select has_schema_privilege(%(role)s, 'tales', 'usage'),"
            " (select count(*) from pg_class where relnamespace = 'tales'::regnamespace and relkind = 'r'"
            "   and has_table_privilege(%(role)s, oid, 'select, insert, update, delete')),"
            " (select count(*) from pg_proc where pronamespace = 'tales'::regnamespace"
            "   and has_function_privilege(%(role)s, oid, 'execute'))",
            {"role": role},
        ).fetchone()
        assert (False, 0, 0) == allowed


def test_the_service_role_can_do_its_work(connection: psycopg.Connection[Any]) -> None:
    """Its policies let it at every row."""
    connection.execute("set local role service_role")
    assert create(connection)["created"]
    assert (1,) == connection.execute("select count(*) from tales.stories where owner = 'mia'").fetchone()
    made = create_child(connection)
    assert "Mia" == made["name"]
    assert 1 == made["revision"]


def test_autovacuum_waits_for_no_share_of_a_table(connection: psycopg.Connection[Any]) -> None:
    """One deletion is enough, in the tables of long texts too."""
    rows = connection.execute(
        "select c.relname, c.reloptions from pg_class c where c.relnamespace = 'tales'::regnamespace"
        " and c.relkind = 'r' union all select c.relname || ' (toast)', t.reloptions from pg_class c"
        " join pg_class t on t.oid = c.reltoastrelid where c.relnamespace = 'tales'::regnamespace"
    ).fetchall()
    at_once = {"autovacuum_vacuum_scale_factor=0", "autovacuum_vacuum_threshold=0"}
    set_so = {name for name, options in rows if at_once <= set(options or ())}
    assert {
        "profiles",
        "profiles (toast)",
        "stories",
        "stories (toast)",
        "story_segments",
        "segments",
        "objects",
    } <= set_so


ACROSS_OWNERS = {
    "claim_stories",
    "checkpoint_stories",
    "release_stories",
    "follow_stories",
    "load_manifest",
    "attach_audio",
    "find_segments",
    "add_segment",
    "get_segment",
    "drop_segment",
    "evict_segments",
    "note_objects",
    "mark_deleted",
    "take_deleted",
    "remove_notes",
    "expire_stories",
    "schema_version",
    "scan_rows",
    "restore_rows",
    "scan_stories",
    "known_stories",
    "restore_story",
}
"""What runs, the voice service, housekeeping and operators call."""


def called() -> set[str]:
    """The functions of the schema that the program calls."""
    folder = Path(migrating.__file__).parent
    text = "".join(file.read_text() for file in folder.glob("*.py"))
    return set(re.findall(r"rpc\(\s*\"(\w+)\"", text))


def test_no_query_of_a_caller_runs_without_an_owner(connection: psycopg.Connection[Any]) -> None:
    """Each function that the program calls takes the owner, but for those of runs, housekeeping and operators."""
    rows = connection.execute(
        "select proname from pg_proc where pronamespace = 'tales'::regnamespace and 'p_owner' = any (proargnames)"
    ).fetchall()
    assert called() - ACROSS_OWNERS == called() & {name for (name,) in rows}
    assert ACROSS_OWNERS <= called()


# The rules.


@pytest.mark.parametrize(
    "change",
    [
        "rating = 0",
        "rating = 11",
        "state = 'DONE'",
        "state = 'READY'",
        "state = 'CANCELLED'",
        "kind = 'DRAGON'",
        "language_code = ''",
        "language_code = 'english language'",
        "length_minutes = 31",
        "length_minutes = 0",
        "content = repeat('x', 65537)",
        "title = repeat('x', 501)",
        "revision = 0",
        "owner = ''",
        "parent_story_id = id",
        "ended_at = now()",
        "content_complete = true, state = 'READY', ended_at = now(), lease_expires_at = now()",
    ],
)
def test_a_story_that_breaks_a_rule_is_refused(connection: psycopg.Connection[Any], change: str) -> None:
    """Whoever writes it."""
    story_id = create(connection)["record"]["id"]
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(sql.SQL("update tales.stories set {} where id = %s").format(sql.SQL(change)), [story_id])


@pytest.mark.parametrize(
    "change", ["name = ''", "name = repeat('x', 101)", "owner = ''", "kind = 'dragon'", "revision = 0"]
)
def test_a_profile_that_breaks_a_rule_is_refused(connection: psycopg.Connection[Any], change: str) -> None:
    """Whatever program writes it; the rules of its other fields are those of the .proto."""
    create_child(connection)
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(sql.SQL("update tales.profiles set {}").format(sql.SQL(change)))


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("story_attempts", {"attempt_id": "A", "kind": "", "provider": "", "model": "", "outcome": "STARTED"}),
        ("story_problems", {"reason": "", "problem": ""}),
        ("story_segments", {"audio_id": "A", "position": 0, "key": "", "sha256": "H", "audio_end": 1, "segment": ""}),
        ("segment_uses", {"key": "0" * 64}),
        ("story_audio", {"audio_id": "A", "object_id": "A", "sha256": "H", "audio": ""}),
    ],
)
def test_what_belongs_to_a_story_comes_and_goes_with_it(
    connection: psycopg.Connection[Any], table: str, values: dict[str, object]
) -> None:
    """Nothing is stored of a story that is not there."""
    story_id = create(connection)["record"]["id"]
    object_id = new_id()
    connection.execute("select tales.note_objects('segment', array[%s::uuid, %s::uuid])", [story_id, object_id])
    segment = json.dumps({"key": "0" * 64, "object_id": object_id, "size_bytes": 1, "sha256": ZEROS, "segment": ""})
    connection.execute("select tales.add_segment(%s, null)", [segment])
    numbers = {
        "story_attempts": ("cost_usd",),
        "story_audio": ("size_bytes", "duration_us", "segment_count"),
        "story_segments": ("text_end",),
    }
    texts = {"story_attempts": ("reason", "attempt"), "story_audio": ("content_type",)}
    row = {
        "story_id": story_id,
        **{name: {"A": story_id, "H": bytes(32)}.get(str(value), value) for name, value in values.items()},
        **dict.fromkeys(numbers.get(table, ()), 0),
        **dict.fromkeys(texts.get(table, ()), ""),
        **({"cost_known": False} if table == "story_attempts" else {}),
    }
    insert = sql.SQL("insert into {} ({}) values ({})").format(
        sql.Identifier("tales", table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(map(sql.Placeholder, row)),
    )
    count = sql.SQL("select count(*) from {}").format(sql.Identifier("tales", table))
    connection.execute(insert, row)
    assert (1,) == connection.execute(count).fetchone()
    connection.execute("delete from tales.stories where id = %s", [story_id])
    assert (0,) == connection.execute(count).fetchone()
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        connection.execute(insert, row)


def test_a_change_by_hand_is_told_by_its_time(connection: psycopg.Connection[Any]) -> None:
    """A new title is one; taking or giving back a lease is none."""
    story_id = create(connection)["record"]["id"]

    def updated() -> Any:
        return connection.execute("select updated_at from tales.stories where id = %s", [story_id]).fetchone()

    connection.execute("set local tales.now = '2027-01-01T00:00:00Z'")
    before = updated()
    connection.execute("update tales.stories set lease_token = 2, lease_expires_at = now() where id = %s", [story_id])
    assert before == updated()
    connection.execute("update tales.stories set title = 'T' where id = %s", [story_id])
    assert before != updated()


@pytest.mark.parametrize(
    ("language_code", "content", "query"),
    [
        ("en", "Two dragons were sleeping.", "dragon sleeps"),
        ("ru", "Драконы спали в пещере.", "дракон пещера"),
        ("de-AT", "Die Drachen schliefen in ihren Höhlen.", "Höhle"),
        ("zz", "Drako dormis.", "drako"),
    ],
)
def test_words_are_found_in_the_forms_of_their_language(
    connection: psycopg.Connection[Any], language_code: str, content: str, query: str
) -> None:
    """By the language of each story, whether the list is bound to one or not."""
    story_id = create(connection, language_code=language_code)["record"]["id"]
    create(connection)
    connection.execute(
        "update tales.stories set content = %s, content_complete = true where id = %s", [content, story_id]
    )
    for chosen in ({"query": query}, {"query": query, "language_code": language_code}):
        row = connection.execute("select tales.list_stories('mia', %s, 10, null)", [json.dumps(chosen)]).fetchone()
        assert row is not None
        assert [story_id] == [found["id"] for found in row[0]]


# Claims.


def keep_many(url: str, count: int) -> None:
    """Stories that nobody holds."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "insert into tales.stories (id, owner, state, kind, language_code, length_minutes, narrate, created_at,"
            " updated_at, spec, story, voice)"
            " select gen_random_uuid(), 'mia', 'PENDING', 'CHILD', 'en', 5, true, now() + n * interval '1 ms', now(),"
            " '', '', '' from generate_series(1, %s) as n",
            [count],
        )


def claim_all(url: str, most: int) -> list[str]:
    """Ids of what a claimer gets until nothing is left."""
    claimed: list[str] = []
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            row = connection.execute("select tales.claim_stories(600000000, %s)", [most]).fetchone()
            assert row is not None
            if not row[0]:
                return claimed
            claimed += [story["id"] for story in row[0]]


async def test_two_claimers_never_get_the_same(database: str) -> None:
    """Of ten thousand stories each goes to one of them, and none is left."""
    await migrate(database, silent)
    await asyncio.to_thread(keep_many, database, MANY)
    with ThreadPoolExecutor(2) as claimers:
        answers = [claimers.submit(claim_all, database, most) for most in (20, 33)]
        one, other = [await asyncio.wrap_future(answer) for answer in answers]
    assert (MANY, MANY) == (len(one) + len(other), len({*one, *other}))
    assert one
    assert other
    with psycopg.connect(database) as connection:
        tokens = connection.execute("select lease_token, pickup_count from tales.stories").fetchall()
    assert {0} == {pickups for _, pickups in tokens}
    # Of 44 random bits: no two stories share one, nor a range of small numbers.
    assert MANY == len({token for token, _ in tokens})
    assert max(token for token, _ in tokens) > 1 << 40


async def test_a_row_that_somebody_is_at_is_passed_over(database: str) -> None:
    """A claimer waits for nobody."""
    await migrate(database, silent)
    await asyncio.to_thread(keep_many, database, 3)
    with psycopg.connect(database) as slow:
        row = slow.execute("select id::text from tales.stories order by created_at, id limit 1 for update").fetchone()
        assert row is not None
        claimed = await asyncio.to_thread(claim_all, database, 10)
        assert (2, False) == (len(claimed), row[0] in claimed)
        slow.rollback()
    assert [row[0]] == await asyncio.to_thread(claim_all, database, 10)


async def test_the_role_of_the_service_reaches_nothing_but_its_own(database: str) -> None:
    """Its schema and the files of its bucket; no table of the project, no other bucket, and it makes and drops none."""
    storage = """
    create schema storage;
    create table storage.buckets (id text primary key, name text, public boolean);
    create table storage.objects (bucket_id text, name text);
    alter table storage.buckets enable row level security;
    alter table storage.objects enable row level security;
    insert into storage.buckets values ('others', 'others', false);
    insert into storage.objects values ('others', 'secret'), ('tales', 'audio');
    create table public.customers (name text);
    grant select on public.customers to service_role;
    """
    with psycopg.connect(database) as connection:
        connection.execute("do $$ begin create role service_role nologin; exception when others then end $$")
        connection.execute(storage)
    await migrate(database, silent)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("set role tales_service")
        assert create(connection)
        members = "select pg_has_role('tales_service', 'service_role', 'member')"
        assert [(False,)] == connection.execute(members).fetchall()
        assert [("audio",)] == connection.execute("select name from storage.objects").fetchall()
        assert [("tales",)] == connection.execute("select id from storage.buckets").fetchall()
        for refused in (
            "select * from public.customers",
            "insert into storage.objects values ('others', 'mine')",
            "insert into storage.buckets values ('mine', 'mine', true)",
            "update storage.buckets set public = true",
            "alter table tales.stories disable row level security",
            "drop table tales.stories",
            "create table tales.mine (a text)",
            "create schema mine",
            "create role mine",
            "set session_replication_role = 'replica'",
            "copy (select 1) to '/tmp/mine'",
            "select * from supabase_migrations.schema_migrations",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused)
