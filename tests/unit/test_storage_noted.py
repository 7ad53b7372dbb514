"""Objects are noted ahead, handed out while they are fresh, and given up where nothing comes of them."""

import asyncio
from collections.abc import Collection, Sequence
from types import SimpleNamespace

import pytest

from servicekit.errors import DomainError, unavailable
from servicekit.ids import new_id
from standins.storage_kit import MemoryObjects
from storage_service.audio.noted import GRACE, NotedObjects
from storage_service.records import ObjectKey, ObjectKind


class Notes:
    """Notes in memory; with `stored` some that a record refers to."""

    def __init__(self) -> None:
        self.calls = 0
        self.deleted: list[ObjectKey] = []
        self.stored: set[ObjectKey] = set()
        self.fails = False

    async def note(self, kind: ObjectKind, count: int) -> Sequence[ObjectKey]:
        """New ones."""
        self.calls += 1
        await asyncio.sleep(0)
        return [ObjectKey(kind, new_id()) for _ in range(count)]

    async def mark_deleted(self, keys: Collection[ObjectKey]) -> Collection[ObjectKey]:
        """All but the stored ones."""
        if self.fails:
            raise unavailable("STORAGE_UNAVAILABLE", "Not now.")
        marked = [key for key in keys if key not in self.stored]
        self.deleted += marked
        return marked

    async def take_deleted(self, *, grace: int, most: int, after: str = "") -> Sequence[ObjectKey]:
        """Those that were marked."""
        assert grace == GRACE
        found = sorted(self.deleted, key=lambda key: key.object_id)
        return [key for key in found if key.object_id > after][:most]

    async def remove_notes(self, keys: Collection[ObjectKey]) -> None:
        """And are gone then."""
        self.deleted = [key for key in self.deleted if key not in keys]


@pytest.fixture
def notes() -> Notes:
    """The notes."""
    return Notes()


@pytest.fixture
def files() -> MemoryObjects:
    """The bytes."""
    return MemoryObjects()


@pytest.fixture
def objects(notes: Notes, files: MemoryObjects) -> NotedObjects:
    """Both kinds in one store."""
    return NotedObjects(notes, {ObjectKind.SEGMENT: files, ObjectKind.AUDIO: files})


async def take(objects: NotedObjects, kind: ObjectKind = ObjectKind.SEGMENT) -> ObjectKey:
    """An object whose upload succeeds."""
    async with objects.new(kind) as key:
        return key


async def test_one_transaction_notes_many(objects: NotedObjects, notes: Notes) -> None:
    """However many ask at once; no object is handed out twice."""
    keys = await asyncio.gather(*(take(objects) for _ in range(40)))
    assert len(set(keys)) == 40
    assert notes.calls == 2
    assert (await take(objects, ObjectKind.AUDIO)).kind is ObjectKind.AUDIO


async def test_old_notes_are_not_begun_with(
    objects: NotedObjects, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload must end before its note does; a clock that was set back says nothing of their age."""
    now = 0.0
    monkeypatch.setattr("storage_service.audio.noted.time", SimpleNamespace(time=lambda: now))
    await take(objects)
    now = 1_199.0
    await take(objects)
    assert notes.calls == 1
    now = 1_201.0
    await take(objects)
    assert notes.calls == 2
    now = 0.0
    await take(objects)
    assert notes.calls == 3


async def test_what_fails_is_removed_at_once(objects: NotedObjects, notes: Notes, files: MemoryObjects) -> None:
    """Bytes and note."""
    with pytest.raises(RuntimeError):
        await fail(objects, files)
    assert files.stored == {}
    assert notes.deleted == []


async def test_what_was_stored_after_all_stays(objects: NotedObjects, notes: Notes, files: MemoryObjects) -> None:
    """Where the answer was lost, but the record is there."""
    with pytest.raises(RuntimeError):
        await fail(objects, files, notes)
    assert len(files.stored) == 1


async def test_what_cannot_be_removed_goes_later(objects: NotedObjects, notes: Notes, files: MemoryObjects) -> None:
    """The failure of the upload is what its caller learns."""
    notes.fails = True
    with pytest.raises(RuntimeError):
        await fail(objects, files)
    (key,) = files.stored
    notes.fails = False
    notes.deleted.append(key)
    assert await objects.remove_deleted() == 1
    assert files.stored == {}
    assert notes.deleted == []


async def test_removing_says_where_it_fails(objects: NotedObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    """`remove` raises; `drop` leaves it to later."""

    async def refuse(*_: object) -> None:
        raise unavailable("STORAGE_UNAVAILABLE", "Not now.")

    monkeypatch.setattr(MemoryObjects, "remove", refuse)
    key = await take(objects)
    with pytest.raises(DomainError, match="STORAGE_UNAVAILABLE"):
        await objects.remove([key])
    await objects.drop([key])


async def test_an_object_that_stays_holds_up_no_other(
    objects: NotedObjects, notes: Notes, files: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does one kind hold up the other; the next sweep tries again."""
    stuck, *others = [await take(objects, kind) for kind in (ObjectKind.AUDIO, ObjectKind.AUDIO, ObjectKind.SEGMENT)]
    files.stored = dict.fromkeys([stuck, *others], b"bytes")
    notes.deleted = [stuck, *others]
    remove = MemoryObjects.remove

    async def refuse(store: MemoryObjects, keys: Collection[ObjectKey]) -> None:
        if stuck in keys:
            raise unavailable("STORAGE_UNAVAILABLE", "Not now.")
        await remove(store, keys)

    monkeypatch.setattr(MemoryObjects, "remove", refuse)
    with pytest.raises(DomainError, match="STORAGE_UNAVAILABLE"):
        await objects.remove_deleted()
    assert list(files.stored) == notes.deleted == [stuck]


async def test_a_cancelled_upload_is_removed_once_its_write_has_ended(
    objects: NotedObjects, notes: Notes, files: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write goes on without its caller, and nothing would know of its bytes."""
    begun, ended, removed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def settle(_: MemoryObjects) -> None:
        await ended.wait()

    async def note_removal(keys: Collection[ObjectKey]) -> None:
        await Notes.remove_notes(notes, keys)
        removed.set()

    async def upload() -> None:
        async with objects.new(ObjectKind.SEGMENT) as key:
            files.stored[key] = b"bytes"
            begun.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(MemoryObjects, "settle", settle)
    monkeypatch.setattr(notes, "remove_notes", note_removal)
    uploading = asyncio.create_task(upload())
    await begun.wait()
    uploading.cancel()
    await asyncio.wait([uploading])
    assert len(files.stored) == 1
    ended.set()
    async with asyncio.timeout(10):
        await removed.wait()
    assert files.stored == {}


async def fail(objects: NotedObjects, files: MemoryObjects, notes: Notes | None = None) -> None:
    """Stores bytes, then fails; with `notes` after their record was added."""
    async with objects.new(ObjectKind.SEGMENT) as key:
        files.stored[key] = b"bytes"
        if notes is not None:
            notes.stored.add(key)
        raise RuntimeError
