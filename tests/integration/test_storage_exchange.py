"""Export and import: everything stored goes from one set-up to another, and a damaged file does no harm."""

import asyncio
import hashlib
import io
import json
import re
import tarfile
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from unittest.mock import Mock

import pytest
from pydantic import SecretStr
from support.moto_s3 import ACCESS_KEY_ID, S3, SECRET
from support.storage_stores import reason_of

from servicekit.ids import new_id
from servicekit.metrics import Metrics
from standins.storage_kit import (
    FINGERPRINT,
    LEASE,
    SECOND,
    ManualClock,
    add_segments,
    checkpoint,
    lease_token,
    narration,
    new_story,
    speech,
    write_held,
)
from storage_service.audio.noted import NotedObjects
from storage_service.backends import Backend, make_backend
from storage_service.commands import run_command
from storage_service.exchange.exporting import all_stories, export_to
from storage_service.exchange.importing import import_from
from storage_service.exchange.lines import Counts, ExchangeError
from storage_service.ports import HistoryStore, ObjectStore, StoryStore
from storage_service.records import (
    Cancel,
    ObjectKey,
    ObjectKind,
    Rate,
    RepeatKey,
    StoredAudio,
    StoredRequest,
    UnfinishedAudio,
)
from storage_service.settings import StorageSettings
from storage_service.stories import states
from storage_service.stories.housekeeper import Remover
from storage_service.supabase.connection import Connection
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

if TYPE_CHECKING:
    from support.supabase_lite import Lite

ME, OTHER = "mia", "ben"
AUDIO = bytes(range(256)) * 8_000
TEXT = "Once upon 🐉 a\u2028time.\n"

SetUp: TypeAlias = Callable[[pytest.FixtureRequest, Path], Awaitable[StorageSettings]]


async def embedded(request: pytest.FixtureRequest, folder: Path) -> StorageSettings:
    """SQLite and files."""
    del request
    return StorageSettings(data_dir=folder)


async def embedded_with_s3(request: pytest.FixtureRequest, folder: Path) -> StorageSettings:
    """SQLite, and audio in an object store."""
    server: S3 = request.getfixturevalue("moto_s3")
    return StorageSettings(
        data_dir=folder,
        audio_store_url=f"s3://{await server.make_bucket()}/tales",
        aws_endpoint_url_s3=server.url,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SecretStr(SECRET),
    )


async def in_supabase(request: pytest.FixtureRequest, folder: Path) -> StorageSettings:
    """A Supabase that is empty."""
    del folder
    lite: Lite = request.getfixturevalue("supabase_lite")
    connection = Connection(lite.config())
    await (await connection.client()).rpc("empty", {})
    await connection.close()
    return StorageSettings(backend="supabase", supabase_url=lite.url, supabase_key=SecretStr(lite.key))


@asynccontextmanager
async def opened(settings: StorageSettings, clock: ManualClock | None = None) -> AsyncIterator[Backend]:
    """A backend that is open."""
    backend = make_backend(settings, clock or ManualClock(), Metrics())
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


def files(backend: Backend) -> ObjectStore:
    """Where its audio is."""
    return backend.objects[ObjectKind.AUDIO]


def objects(backend: Backend) -> NotedObjects:
    """Its objects."""
    return NotedObjects(backend.records.objects, backend.objects)


async def imported_from(file: Path, backend: Backend) -> Counts:
    """What of a file was new."""
    return await import_from(file, backend.records, files(backend), objects(backend))


async def keep_audio(backend: Backend, story_id: str, audio_id: str, data: bytes = AUDIO) -> ObjectKey:
    """Gives a story its audio."""
    (key,) = await backend.records.objects.note(ObjectKind.AUDIO, 1)
    async with files(backend).upload(key, content_type="audio/mpeg") as upload:
        await upload.write(data)
        await upload.publish()
    audio = common_pb2.StoryAudio(
        audio_id=audio_id, content_type="audio/mpeg", size_bytes=len(data), sha256=hashlib.sha256(data).digest()
    )
    audio.duration.FromSeconds(7)
    audio.metadata.update({"bit_rate": 128, "names": ["a", None, 0.1]})
    await backend.records.stories.attach_audio(
        story_id, await lease_token(backend.records.stories, story_id), audio, key
    )
    return key


async def checked(backend: Backend, made: storage_pb2.StoryCheckpoint) -> None:
    """A checkpoint that holds."""
    (result,) = await write_held(backend.records.stories, made)
    assert "" == result.error.reason


async def told(backend: Backend, owner: str = ME, **changes: object) -> str:
    """A story with everything that a story can have."""
    record, _ = await backend.records.stories.create(owner, new_story(lease=LEASE, **changes))  # type: ignore[arg-type]
    story_id, audio_id = record.story.id, new_id()
    generation = storage_pb2.GenerationRecord(model_used="offline")
    generation.usage.CopyFrom(common_pb2.Usage(prompt_tokens=3, completion_tokens=7, cost_usd=0.1 + 0.2))
    generation.full_response.add().update({"id": "gen-1", "n": 1e-7})
    generation.generation_info.update({"latency": 12})
    attempt = common_pb2.Attempt(attempt_id=new_id(), provider="offline", cost_usd=1 / 3)
    spoken = speech([10, 10], story_id, characters=len(TEXT))
    await add_segments(backend.records.segments, backend.records.objects, spoken, story_id)
    await checked(
        backend,
        checkpoint(
            story_id,
            state=states.NARRATING,
            title="The Lighthouse",
            text=(0, TEXT),
            content_complete=True,
            generation=generation,
            narration=narration(audio_id),
            segments=[one.place for one in spoken],
            attempts=[attempt],
            problems=[common_pb2.Problem(reason="VOICE_SLOW", metadata={"a": "1"})],
            embedded_parts=["writer"],
            outline=common_pb2.StoryOutline(
                title="The Light", scenes=[common_pb2.OutlineScene(purpose="They set out.")]
            ),
        ),
    )
    await keep_audio(backend, story_id, audio_id)
    await checked(backend, checkpoint(story_id, state=states.READY))
    await backend.records.stories.update(owner, story_id, Rate(9), expected_revision=None)
    return story_id


async def fill(backend: Backend, clock: ManualClock) -> dict[str, str]:
    """Things of every kind, by name."""
    stores, stories = backend.records, backend.records.stories
    child = await stores.profiles.create(ME, common_pb2.Child(name="Mia", age=6), RepeatKey("c-1", FINGERPRINT))
    hero = await stores.profiles.create(OTHER, common_pb2.Hero(name="Cat", strengths=["brave"]), None)
    gone_child = await stores.profiles.create(ME, common_pb2.Child(name="Zoe", age=6), None)
    ids = {"child": child.id, "hero": hero.id, "gone child": gone_child.id}
    ids["ready"] = await told(backend, child_id=child.id, request_id="r-1")
    clock.advance(1)
    ids["of ben"] = await told(backend, OTHER, hero_id=hero.id)
    ids["sequel"] = (await stories.create(ME, new_story(parent_story_id=ids["ready"])))[0].story.id
    running, _ = await stories.create(ME, new_story(lease=LEASE))
    ids["running"] = running.story.id
    spoken = speech([10], "running")
    await add_segments(stores.segments, stores.objects, spoken, ids["running"])
    begun = checkpoint(ids["running"], state=states.WRITING, title="T", text=(0, "A fox "), narration=narration())
    begun.segments.extend(one.place for one in spoken)
    await checked(backend, begun)
    cancelled, _ = await stories.create(ME, new_story())
    await stories.update(ME, cancelled.story.id, Cancel(), expected_revision=None)
    ids["cancelled"] = cancelled.story.id
    ids["gone"] = await told(backend, request_id="r-2")
    await stories.delete(ME, ids["gone"])
    await told(backend, child_id=gone_child.id)
    await stores.removals.erase_child(ME, gone_child.id)
    clock.advance(1)
    return ids


async def everything(backend: Backend) -> tuple[list[Any], list[storage_pb2.StoryRecord]]:
    """All that is stored, less what a move leaves behind: leases, and narrations in progress."""
    stores = backend.records
    lines = [
        *await stores.profiles.scan(""),
        *await stores.history.scan_requests(None),
        *await stores.history.scan_tombstones(None),
    ]
    records = []
    async for record, _ in all_stories(stores.stories):
        record.run.ClearField("lease_expire_time")
        record.run.ClearField("narration")
        record.run.ClearField("segments")
        records.append(record)
    return lines, records


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (source, target)
        for source in (embedded, embedded_with_s3, in_supabase)
        for target in (embedded, embedded_with_s3, in_supabase)
        # There is one Supabase.
        if (source, target) != (in_supabase, in_supabase)
    ],
)
@pytest.mark.sampled(3)
async def test_export_carries_everything_to_another_store(
    request: pytest.FixtureRequest, tmp_path: Path, source: SetUp, target: SetUp
) -> None:
    """Of every owner, with audio, ledger, segments, requests and tombstones; a second import changes nothing."""
    clock, file = ManualClock(), tmp_path / "tales.tar"
    there = await target(request, tmp_path / "b")
    async with opened(await source(request, tmp_path / "a"), clock) as old:
        ids = await fill(old, clock)
        expected = await everything(old)
        exported = await export_to(file, old.records, files(old))
    async with opened(there, clock) as new:
        assert exported == await imported_from(file, new)
        assert Counts() == await imported_from(file, new)
        assert expected == await everything(new)
        kept = await new.records.stories.find_audio(ME, ids["ready"], "")
        assert isinstance(kept, StoredAudio)
        assert AUDIO == b"".join([block async for block in files(new).read(kept.blob)])
    assert (5, 2, 2 * len(AUDIO)) == (exported.stories, exported.audio, exported.audio_bytes)
    assert [] == leftovers(tmp_path)


def leftovers(folder: Path) -> list[str]:
    """Archives that were not finished."""
    return [path.name for path in folder.rglob("*.part")]


def damage(folder: Path) -> None:
    """Changes the one file of audio."""
    (audio,) = (folder / "audio").glob("*/*")
    audio.write_bytes(AUDIO[:-1] + b"?")


async def test_imported_stories_can_be_continued(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Runs are picked up at once and narrate again, requests are known, deleted stays deleted, words are found."""
    clock, file = ManualClock(), tmp_path / "tales.tar"
    async with opened(await embedded(request, tmp_path / "a"), clock) as old:
        ids = await fill(old, clock)
        token = await lease_token(old.records.stories, ids["running"])
        await export_to(file, old.records, files(old))
    async with opened(await embedded(request, tmp_path / "b"), clock) as new:
        await imported_from(file, new)
        stories = new.records.stories
        claimed = {one.story_id: one for one in await stories.claim(SECOND, most=10, story_ids=())}
        assert {ids["running"]: 0, ids["sequel"]: 0} == {
            story_id: one.pickup_count for story_id, one in claimed.items()
        }
        # An old run that still lives is fenced off.
        assert claimed[ids["running"]].lease_token > token
        run = (await stories.get(ME, ids["running"], full=False)).run
        assert not run.HasField("narration")
        assert not run.segments
        spoken = speech([10], "anew")
        await add_segments(new.records.segments, new.records.objects, spoken, ids["running"])
        anew = checkpoint(ids["running"], text=(6, "slept."), content_complete=True, narration=narration())
        anew.segments.extend(one.place for one in spoken)
        await checked(new, anew)
        assert [ids["running"]] == [
            one.id
            for one in await stories.list_page(ME, common_pb2.StoryFilter(query="fox slept"), limit=9, after=None)
        ]
        again, is_new = await stories.create(ME, new_story(request_id="r-1"))
        assert (ids["ready"], False) == (again.story.id, is_new)
        assert "STORY_DELETED" == await reason_of(stories.create(ME, new_story(request_id="r-2")))
        assert "CHILD_NOT_FOUND" == await reason_of(new.records.profiles.get(ME, common_pb2.Child, ids["gone child"]))
        for name in ("ready", "running"):
            await stories.delete(ME, ids[name])


async def test_import_changes_nothing_that_is_stored_or_deleted(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """An old export neither brings back what was deleted since nor takes back what was changed."""
    file, clock = tmp_path / "tales.tar", ManualClock()
    async with opened(await embedded(request, tmp_path / "a"), clock) as home:
        ids = await fill(home, clock)
        await export_to(file, home.records, files(home))
        await home.records.stories.update(ME, ids["ready"], Rate(1), expected_revision=None)
        await home.records.stories.delete(OTHER, ids["of ben"])
        await home.records.profiles.delete(ME, common_pb2.Child, ids["child"])
        expected = await everything(home)
        assert Counts() == await imported_from(file, home)
        assert expected == await everything(home)


@pytest.mark.parametrize("set_up", [embedded, in_supabase])
async def test_import_uploads_no_audio_of_what_is_stored_or_was_erased(
    request: pytest.FixtureRequest, tmp_path: Path, set_up: SetUp
) -> None:
    """The bytes of an erased child are at no time there again."""
    file = tmp_path / "tales.tar"
    async with opened(await set_up(request, tmp_path / "a")) as home:
        mia = await home.records.profiles.create(ME, common_pb2.Child(name="Mia"), None)
        erased = await told(home, child_id=mia.id)
        stored = await told(home)
        counts = await export_to(file, home.records, files(home))
        await remover(home).erase_child(ME, mia.id)
        target = Mock(wraps=files(home))
        assert Counts() == await import_from(file, home.records, target, objects(home))
        assert frozenset({erased, stored}) == await home.records.history.known_stories([erased, stored, new_id()])
    assert 2 == counts.audio
    target.upload.assert_not_called()


# What happens while it is exported.


class ChangingStories:
    """The stories of a backend; something happens once each was read in full, the first time."""

    def __init__(self, stories: StoryStore, change: Callable[[str], Awaitable[object]]) -> None:
        self._stories = stories
        self._change = change
        self._read: set[str] = set()
        self.scan = stories.scan

    async def get(self, owner: str, story_id: str, *, full: bool) -> storage_pb2.StoryRecord:
        """Returns a story as it was before the change; that of a story with audio comes after its audio."""
        record = await self._stories.get(owner, story_id, full=full)
        if not record.story.HasField("audio"):
            await self._happen(story_id)
        return record

    async def find_audio(self, owner: str, story_id: str, audio_id: str) -> StoredAudio | UnfinishedAudio | None:
        """Returns the audio as it was before the change."""
        found = await self._stories.find_audio(owner, story_id, audio_id)
        await self._happen(story_id)
        return found

    async def _happen(self, story_id: str) -> None:
        if story_id not in self._read:
            self._read.add(story_id)
            await self._change(story_id)


class ChangingHistory:
    """The history of a backend; something happens once all requests were read."""

    def __init__(self, history: HistoryStore, change: Callable[[], Awaitable[object]]) -> None:
        self._history = history
        self._change = change
        self.scan_tombstones = history.scan_tombstones

    async def scan_requests(self, after: StoredRequest | None) -> Sequence[StoredRequest]:
        """Returns requests; the change comes with the last, empty page."""
        page = await self._history.scan_requests(after)
        if not page:
            await self._change()
        return page


def remover(backend: Backend) -> Remover:
    """Removes files as well."""
    return Remover(backend.records.stories, backend.records.removals, objects(backend))


@pytest.mark.parametrize("skip_damaged", [False, True])
@pytest.mark.parametrize("set_up", [embedded, in_supabase])
async def test_export_survives_deletions_and_new_narrations(
    request: pytest.FixtureRequest, tmp_path: Path, set_up: SetUp, *, skip_damaged: bool
) -> None:
    """Deleted: it is left out, and its tombstone comes. Told again: with the audio that it has by then."""
    file, said = tmp_path / "tales.tar", list[str]()
    async with opened(await set_up(request, tmp_path / "a")) as old:
        ids = [(await old.records.stories.create(ME, new_story(lease=LEASE, request_id=f"r-{n}")))[0] for n in range(4)]
        deleted, again, other, bare = (record.story.id for record in ids)
        keys = {story_id: await keep_audio(old, story_id, new_id()) for story_id in (deleted, again, other)}

        async def change(story_id: str) -> None:
            if story_id in {deleted, bare}:
                await remover(old).delete_story(ME, story_id)
            elif story_id == again:
                await keep_audio(old, story_id, new_id(), b"new")
                await files(old).remove([keys[again]])

        stories = cast("StoryStore", ChangingStories(old.records.stories, change))
        changing = replace(old.records, stories=stories)
        counts = await export_to(file, changing, files(old), skip_damaged=skip_damaged, report=said.append)
        assert ((3, 2), []) == ((counts.stories, counts.audio), said)
    async with opened(await embedded(request, tmp_path / "b")) as new:
        imported = await imported_from(file, new)
        assert (2, 2) == (imported.stories, imported.audio)
        assert {again, other} == {record.story.id async for record, _ in all_stories(new.records.stories)}
        kept = await new.records.stories.find_audio(ME, again, "")
        assert isinstance(kept, StoredAudio)
        assert b"new" == b"".join([block async for block in files(new).read(kept.blob)])
        for number in (0, 3):
            assert "STORY_DELETED" == await reason_of(
                new.records.stories.create(ME, new_story(request_id=f"r-{number}", fingerprint=b"x" * 32))
            )
        assert Counts() == await imported_from(file, new)


@pytest.mark.parametrize(("source", "target"), [(embedded, embedded), (embedded, in_supabase), (in_supabase, embedded)])
async def test_import_erases_what_was_erased_during_the_export(
    request: pytest.FixtureRequest, tmp_path: Path, source: SetUp, target: SetUp
) -> None:
    """The file has the profile and its tombstone: the tombstone wins, and not even a hash of the request is stored."""
    file = tmp_path / "tales.tar"
    there = await target(request, tmp_path / "b")
    async with opened(await source(request, tmp_path / "a")) as old:
        profiles = old.records.profiles
        mia = await profiles.create(ME, common_pb2.Child(name="Mia"), RepeatKey("c-1", FINGERPRINT))
        zoe = await profiles.create(ME, common_pb2.Child(name="Zoe"), RepeatKey("c-2", FINGERPRINT))
        story_id = await told(old, child_id=zoe.id)
        history = ChangingHistory(old.records.history, lambda: remover(old).erase_child(ME, zoe.id))
        changing = replace(old.records, history=cast("HistoryStore", history))
        await export_to(file, changing, files(old))
    async with opened(there) as new:
        for _ in range(2):
            await imported_from(file, new)
            assert [mia] == await new.records.profiles.list_page(ME, common_pb2.Child, limit=9, after=None)
        assert "CHILD_DELETED" == await reason_of(
            new.records.profiles.create(ME, common_pb2.Child(), RepeatKey("c-2", b"x" * 32))
        )
        assert "STORY_DELETED" == await reason_of(new.records.stories.create(ME, new_story(story_id=story_id)))


# Files that are not what they should be.


@pytest.fixture
async def exported(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    """An export of one told story and a child."""
    file = tmp_path / "good.tar"
    async with opened(await embedded(request, tmp_path / "source")) as old:
        await old.records.profiles.create(ME, common_pb2.Child(name="Mia", age=6), None)
        await told(old)
        await export_to(file, old.records, files(old))
    return await asyncio.to_thread(file.read_bytes)


def changed(data: bytes, change: Callable[[tarfile.TarInfo, bytes], tuple[str, bytes] | None]) -> bytes:
    """The archive with its members as `change` makes them; None leaves one out."""
    made = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=made, mode="w") as new:
        for info in old:
            source = old.extractfile(info)
            assert source is not None
            result = change(info, source.read())
            if result is not None:
                member = tarfile.TarInfo(result[0])
                member.size = len(result[1])
                new.addfile(member, io.BytesIO(result[1]))
    return made.getvalue()


async def failed_import(backend: Backend, file: Path, data: bytes) -> str:
    """What an import of `data` says."""
    await asyncio.to_thread(file.write_bytes, data)
    with pytest.raises(ExchangeError) as caught:
        await imported_from(file, backend)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_import_reports_a_cut_file_and_can_be_repeated(
    request: pytest.FixtureRequest, tmp_path: Path, exported: bytes
) -> None:
    """Wherever it is cut: no half of a story, and the whole file makes it good."""
    file = tmp_path / "cut.tar"
    async with opened(await embedded(request, tmp_path / "b")) as new:
        for length in (*range(0, 12_000, 1_337), len(exported) // 2, len(exported) - 12_000, len(exported) - 10_300):
            assert str(await failed_import(new, file, exported[:length]))
            async for record, key in all_stories(new.records.stories):
                assert (key is not None) == record.story.HasField("audio")
        await asyncio.to_thread(file.write_bytes, exported)
        await imported_from(file, new)
        assert 1 == len((await everything(new))[1])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda i, d: (i.name, d[:-1] + b"?" if i.name.startswith("audio/") else d), "does not have the size and SHA"),
        (lambda i, d: None if i.name.startswith("audio/") else (i.name, d), "the audio of story .* is missing"),
        (lambda i, d: None if i.name.startswith("stories/") else (i.name, d), "belongs to no story before it"),
        (lambda i, d: None if i.name.startswith("records/") else (i.name, d), "does not hold what its end says"),
        (lambda i, d: None if i.name == "end.json" else (i.name, d), "the file is cut"),
        (lambda i, d: None if i.name == "tale-export.json" else (i.name, d), "is no export of this service"),
        (
            lambda i, d: (i.name, d.replace(b'"version": 2', b'"version": 1')),
            "has version 1 .* reads version 2: import",
        ),
        (lambda i, d: (i.name.replace("end.json", "odd.json"), d), "does not know .odd.json."),
        (lambda i, d: (i.name, d.replace(b'"kind":"child"', b'"kind":"dog"')), "a kind that this version does not"),
        (lambda i, d: (i.name, d.replace(b'{"kind"', b'{kind"')), "jsonl, line 1: this is not JSON"),
        (lambda i, d: (i.name, b"[]\n" if i.name.startswith("stories/") else d), "this is not a record"),
        (lambda i, d: (i.name, d.replace(b'"lease_token":', b'"leese_token":')), "a story that this version cannot"),
        (lambda i, d: (i.name, d.replace(b'"owner":"mia","run"', b'"run"')), "a story without an id or an owner"),
    ],
)
async def test_import_refuses_a_changed_file(
    request: pytest.FixtureRequest, tmp_path: Path, exported: bytes, change: Any, line: str
) -> None:
    """In one line that says what is wrong; nothing of the story is stored."""
    async with opened(await embedded(request, tmp_path / "b")) as new:
        said = await failed_import(new, tmp_path / "bad.tar", changed(exported, change))
        assert re.search(line, said)
        assert all([key is not None async for _, key in all_stories(new.records.stories)])


async def test_import_refuses_a_file_of_another_kind(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Nothing, text, and a file that is not there."""
    async with opened(await embedded(request, tmp_path / "b")) as new:
        for data in (b"", b"this is no archive" * 100):
            assert "is no export" in await failed_import(new, tmp_path / "x.tar", data)
        with pytest.raises(ExchangeError, match="cannot be read: No such file"):
            await imported_from(tmp_path / "missing.tar", new)


async def test_export_reports_damaged_audio_or_leaves_it_out(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """An export is whole or it is none, unless the operator says that stories may go without it."""
    file, settings = tmp_path / "tales.tar", await embedded(request, tmp_path / "a")
    async with opened(settings) as old:
        story_id = await told(old)
        await asyncio.to_thread(damage, settings.folder)
        with pytest.raises(ExchangeError, match=f"story {story_id}: its audio is missing or damaged.*--skip-damaged"):
            await export_to(file, old.records, files(old))
        assert (False, []) == (file.exists(), leftovers(tmp_path))
        said: list[str] = []
        counts = await export_to(file, old.records, files(old), skip_damaged=True, report=said.append)
        assert ((1, 0), [f"story {story_id}: its audio is damaged and is left out"]) == (
            (counts.stories, counts.audio),
            said,
        )
    async with opened(await embedded(request, tmp_path / "b")) as new:
        assert 1 == (await imported_from(file, new)).stories
        assert None is await new.records.stories.find_audio(ME, story_id, "")


async def test_export_reports_a_file_that_cannot_be_created(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Before anything is read."""
    async with opened(await embedded(request, tmp_path / "a")) as old:
        with pytest.raises(ExchangeError, match="cannot be written: No such file"):
            await export_to(tmp_path / "no" / "x.tar", old.records, files(old))


async def test_export_and_import_stream_audio(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A file of audio goes through in pieces, whatever its size."""
    file, size = tmp_path / "tales.tar", 48 << 20
    async with opened(await embedded(request, tmp_path / "a")) as old:
        record, _ = await old.records.stories.create(ME, new_story(lease=LEASE))
        await keep_audio(old, record.story.id, new_id(), bytes(size))
        async with opened(await embedded(request, tmp_path / "b")) as new:
            tracemalloc.start()
            await export_to(file, old.records, files(old))
            await imported_from(file, new)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    assert size < file.stat().st_size
    assert peak < 16 << 20


async def test_export_and_import_commands_report_the_result(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a service that runs; the exit code and one line say how it went."""
    async with opened(await embedded(request, tmp_path / "a")) as old:
        await told(old)
    for name in ("AUDIO_STORE_URL", "STORAGE_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    file = str(tmp_path / "tales.tar")
    for folder, command, expected in (
        ("a", ["export", file], (0, f"exported 1 stories, 1 audio files ({len(AUDIO)} bytes) and 0 other records")),
        ("b", ["import", file], (0, f"imported 1 stories, 1 audio files ({len(AUDIO)} bytes) and 0 other records;")),
        ("b", ["import", f"{file}.not"], (1, f"storage: {file}.not cannot be read: No such file")),
    ):
        monkeypatch.setenv("TALE_DATA_DIR", str(tmp_path / folder))
        code = await asyncio.to_thread(run_command, command)
        captured = capsys.readouterr()
        assert expected[0] == code
        assert (captured.out + captured.err).startswith(expected[1])
    with tarfile.open(file) as archive:
        assert ["tale-export.json", "stories", "audio", "end.json"] == [
            name.partition("/")[0] for name in archive.getnames()
        ]
        head = archive.extractfile("tale-export.json")
        assert head is not None
        assert {"format": "tale-export", "version": 2} == json.load(head)
