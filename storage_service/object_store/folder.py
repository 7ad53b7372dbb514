"""The ObjectStore in files of a folder."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import structlog

from servicekit.settings import ConfigurationError
from storage_service.errors import audio_corrupt, audio_url_unsupported, storage_unavailable
from storage_service.object_store.folder_files import NewFile, read_range
from storage_service.ports import ANY_BYTES, BlobsLostError, Upload
from storage_service.records import Blob, Digest, ObjectKey, ObjectKind, SignedUrl

P = ParamSpec("P")
T = TypeVar("T")

_log: Final = structlog.stdlib.get_logger("storage_service.object_store")

_BLOCK: Final = 1 << 20


class FolderObjects:
    """Stores objects in files under `root`, for their owner alone; see ObjectStore for the methods.

    Objects of the kinds `fsync` survive the machine, the others the process. All work on files happens on `threads`
    threads. `variable` is what an operator sets to choose the folder.
    """

    def __init__(
        self, root: Path, *, fsync: Collection[ObjectKind], threads: int = 4, variable: str = "TALE_DATA_DIR"
    ) -> None:
        self._root = root
        self._fsync = frozenset(fsync)
        self._variable = variable
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="object-files")

    async def open(self) -> None:
        """Makes the folder; ConfigurationError where it cannot be."""
        try:
            await asyncio.to_thread(self._root.mkdir, mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"{self._variable} must be a folder that the service can write to ({error.strerror}: {self._root})"
            ) from error

    async def close(self) -> None:
        """Waits for what the threads still do."""
        await asyncio.to_thread(self._threads.shutdown)

    async def settle(self) -> None:
        """A file is discarded as its upload is left, after the thread that writes it."""

    @asynccontextmanager
    async def upload(self, key: ObjectKey, *, content_type: str = ANY_BYTES) -> AsyncGenerator[Upload, None]:
        """Takes a file in."""
        del content_type
        upload = _Upload(self, self.new_file(key))
        try:
            yield upload
        finally:
            if upload.started and not upload.published:
                await self.discard(upload.file)

    async def read(self, blob: Blob, *, offset: int = 0, limit: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes of a file, in blocks of 1 MiB."""
        end = blob.size if limit is None else min(blob.size, offset + limit)
        path = self.path_of(blob.key)
        sha256 = hashlib.sha256() if offset == 0 and end == blob.size else None
        position = offset

        def read_block() -> bytes:
            block = read_range(path, blob.size, position, min(end, position + _BLOCK))
            if sha256 is not None:
                sha256.update(block)
                if position + len(block) == end and sha256.digest() != blob.sha256:
                    return b""
            return block

        while position < end:
            block = await self.run(read_block)
            if not block:
                raise audio_corrupt()
            position += len(block)
            yield block

    async def remove(self, keys: Collection[ObjectKey]) -> None:
        """Removes files."""
        paths = [self.path_of(key) for key in keys]
        if paths:
            await self.run(_unlink, paths)

    async def url(self, blob: Blob, *, expiry: int) -> SignedUrl:
        """There is none."""
        del blob, expiry
        raise audio_url_unsupported()

    def path_of(self, key: ObjectKey) -> Path:
        """The file of an object."""
        return self._root / key.path

    def new_file(self, key: ObjectKey) -> NewFile:
        """The file of an object that is to be written."""
        return NewFile(self.path_of(key), fsync=key.kind in self._fsync)

    async def discard(self, file: NewFile) -> None:
        """Removes a file that is not whole, even where its caller is gone and a thread is still at work for it."""
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._threads, file.discard))

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `work` on a thread; UNAVAILABLE / STORAGE_UNAVAILABLE where the medium fails."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, lambda: work(*args, **kwargs))
        except OSError as error:
            _log.error("a file of the store fails", errno=error.errno, error=error.strerror)
            raise storage_unavailable() from error


class FolderComposer:
    """Composes from one folder into another, or the same; see Composer. The kernel copies where it can."""

    def __init__(self, segments: FolderObjects, audio: FolderObjects) -> None:
        self._segments = segments
        self._audio = audio

    async def compose(self, key: ObjectKey, blobs: Sequence[Blob], *, content_type: str) -> Digest:
        """Appends the files one after the other, in one piece of work on a thread."""
        del content_type
        file = self._audio.new_file(key)

        def work() -> Digest:
            lost = [blob for blob in blobs if not file.append_copy(self._segments.path_of(blob.key), blob)]
            if lost:
                raise BlobsLostError(lost)
            return file.finish([], None)

        whole = False
        try:
            digest = await self._audio.run(work)
            whole = True
        finally:
            if not whole:
                await self._audio.discard(file)
        return digest


class _Upload:
    """A file on its way in. Up to 1 MiB waits in memory."""

    def __init__(self, files: FolderObjects, file: NewFile) -> None:
        self.file = file
        self.started = False
        self.published = False
        self._files = files
        # Blocks, not a bytearray: that one moves all its bytes each time it grows.
        self._waiting: list[bytes] = []
        self._size = 0

    async def write(self, data: bytes) -> None:
        """Adds bytes."""
        self._waiting.append(data)
        self._size += len(data)
        if self._size > _BLOCK:
            self.started = True
            waiting, self._waiting, self._size = self._waiting, [], 0
            await self._files.run(self.file.write, waiting)

    async def publish(self, expected: Digest | None = None) -> Digest:
        """Writes the rest and closes the file."""
        self.started = True
        digest = await self._files.run(self.file.finish, self._waiting, expected)
        self.published = True
        return digest


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
