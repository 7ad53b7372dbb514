"""The AudioStore in files: `<root>/<last two hex digits of the story>/<story id>.<object id>`."""

import asyncio
import stat
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple, NoReturn, ParamSpec, TypeVar

from servicekit.ids import is_id, new_id
from servicekit.settings import ConfigurationError
from storage_service.audio_ownership import MARK
from storage_service.embedded.failures import from_os_error
from storage_service.embedded.file_parts import PartFile, SourceFile
from storage_service.errors import audio_corrupt, audio_url_unsupported
from storage_service.ports import ANY_BYTES, Clock, KnownAudio, Upload
from storage_service.records import AudioKey, Digest, KeptAudio, SignedUrl

P = ParamSpec("P")
T = TypeVar("T")

_PART: Final = ".part"
_BATCH: Final = 500


class AudioFiles:
    """Keeps audio in files under `root`, for their owner alone; see AudioStore for the methods.

    A file gets its name only when it is whole and on the medium. All work on files happens on `threads` threads.
    `variable` is what an operator sets to choose the folder.
    """

    def __init__(self, root: Path, clock: Clock, *, threads: int = 4, variable: str = "TALE_DATA_DIR") -> None:
        self._root = root
        self._variable = variable
        self._clock = clock
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="audio-files")

    async def open(self) -> None:
        """Makes the folder; ConfigurationError where it can not be."""
        try:
            await asyncio.to_thread(self._root.mkdir, mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"{self._variable} must be a folder that the service can write to ({error.strerror}: {self._root})"
            ) from error

    async def close(self) -> None:
        """Waits for what the threads still do."""
        await asyncio.to_thread(self._threads.shutdown)

    @asynccontextmanager
    async def upload(self, key: AudioKey, *, content_type: str = ANY_BYTES) -> AsyncGenerator[Upload, None]:
        """Takes a file in."""
        del content_type
        path = self._path(key)
        part = PartFile(path.with_name(path.name + _PART))
        try:
            await self._run(part.create)
            yield _Upload(self, part, path)
        finally:
            await self._settle(part.discard)

    async def read(self, kept: KeptAudio, *, offset: int, limit: int | None) -> AsyncGenerator[bytes, None]:
        """The bytes of a file, in blocks of 1 MiB."""
        size = kept.audio.size_bytes
        end = size if limit is None else min(size, offset + limit)
        source = SourceFile(self._path(kept.key), size)
        try:
            position = offset
            while position < end:
                block = await self._run(source.read, position, end)
                if not block:
                    raise audio_corrupt(kept.key.story_id)
                position += len(block)
                if position == size and offset == 0 and source.sha256() != kept.audio.sha256:
                    raise audio_corrupt(kept.key.story_id)
                yield block
        finally:
            await self._settle(source.close)

    async def remove(self, keys: Collection[AudioKey]) -> None:
        """Removes files."""
        for key in keys:
            await self._run(self._path(key).unlink, missing_ok=True)

    async def sweep(self, known: KnownAudio, *, grace: int) -> int:
        """Removes files that nobody knows, and parts that nobody will end, folder by folder.

        What does not look like ours is left alone.
        """
        newest = self._clock.now() - grace
        removed = 0
        for folder in await self._run(self._folders):
            old = [found for found in await self._run(_files_of, folder) if found.time < newest]
            for start in range(0, len(old), _BATCH):
                batch = old[start : start + _BATCH]
                whole = [found.key for found in batch if not found.is_part]
                kept = await known(whole) if whole else ()
                stale = [found.path for found in batch if found.is_part or found.key not in kept]
                await self._run(_unlink, stale)
                removed += len(stale)
        return removed

    async def mark(self) -> bytes | None:
        """What says whose the folder is."""
        return await self._run(_read_if_there, self._root / MARK)

    async def set_mark(self, data: bytes) -> None:
        """Says whose the folder is."""
        part = PartFile(self._root / f"{MARK}.{new_id()}{_PART}")
        try:
            await self._run(part.create)
            await self._run(part.write, data)
            await self._run(part.publish, self._root / MARK)
        finally:
            await self._settle(part.discard)

    async def some_keys(self) -> Collection[AudioKey]:
        """Keys of some files."""
        keys: list[AudioKey] = []
        for folder in await self._run(self._folders):
            keys += [found.key for found in await self._run(_files_of, folder) if not found.is_part]
            if len(keys) >= _BATCH:
                break
        return keys[:_BATCH]

    async def url(self, kept: KeptAudio, *, expiry: int) -> SignedUrl:
        """There is none."""
        del kept, expiry
        raise audio_url_unsupported()

    def _folders(self) -> list[Path]:
        return sorted(path for path in self._root.glob("??") if path.is_dir())

    def _path(self, key: AudioKey) -> Path:
        if not (is_id(key.story_id) and is_id(key.object_id)):
            raise ValueError("audio is named by two UUIDv7")
        return self._root / key.story_id[-2:] / f"{key.story_id}.{key.object_id}"

    async def _settle(self, close: Callable[[], None]) -> None:
        # A thread may still be at work for a caller who is gone; this waits until it is done.
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._threads, close))

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, lambda: work(*args, **kwargs))
        except OSError as error:
            _fail(error)


class _Upload:
    """A file on its way in."""

    def __init__(self, files: AudioFiles, part: PartFile, path: Path) -> None:
        self._files = files
        self._part = part
        self._path = path

    async def write(self, data: bytes) -> None:
        """Adds bytes."""
        await self._files._run(self._part.write, data)  # noqa: SLF001 - one class in two halves

    async def digest(self) -> Digest:
        """Size and hash so far."""
        return self._part.digest()

    async def publish(self) -> None:
        """Gives the file its name once it is on the medium."""
        await self._files._run(self._part.publish, self._path)  # noqa: SLF001


class _Found(NamedTuple):
    """A file of ours; `time` of its last change is microseconds since the Unix epoch."""

    path: Path
    key: AudioKey
    is_part: bool
    time: int


def _files_of(folder: Path) -> list[_Found]:
    return [found for path in folder.iterdir() if (found := _look_at(path)) is not None]


def _look_at(path: Path) -> _Found | None:
    whole = path.name.removesuffix(_PART)
    story_id, _, object_id = whole.partition(".")
    if not (is_id(story_id) and is_id(object_id)):
        return None
    try:
        found = path.lstat()
    except FileNotFoundError:
        # It was removed or got its name meanwhile.
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return _Found(path, AudioKey(story_id, object_id), whole != path.name, found.st_mtime_ns // 1_000)


def _read_if_there(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _fail(error: OSError) -> NoReturn:
    raise from_os_error(error) from error
