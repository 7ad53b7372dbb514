"""A place for audio that is given by AUDIO_STORE_URL belongs to one store of records, and only that one sweeps it.

Anybody can name the same place with another database, an empty one too, to which all that is there would be stray. So
the place is marked with the id of its store: an object `.tale-store`, `{"store_id": …}`.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol, TypeAlias

import structlog

from storage_service.ports import ANY_BYTES, AudioStore, KnownAudio, Upload
from storage_service.records import AudioKey, KeptAudio, SignedUrl

_log: Final = structlog.stdlib.get_logger("storage_service.audio_ownership")

MARK: Final = ".tale-store"
"""The name of the mark, at the top of the place."""

StoreId: TypeAlias = Callable[[], Awaitable[str]]
"""Tells the id of the store of records, which stays the same for good."""


class MarkedAudioStore(AudioStore, Protocol):
    """Keeps bytes of audio in a place that has a mark."""

    async def mark(self) -> bytes | None:
        """The mark; None where there is none."""

    async def set_mark(self, data: bytes) -> None:
        """Marks the place anew."""

    async def some_keys(self) -> Collection[AudioKey]:
        """Keys of at most 500 things that are there, of any age; none where there are none."""


class OwnedAudio:
    """An AudioStore that sweeps its place only where the mark names the store of records; see AudioStore.

    A place without a mark is taken where nothing is in it that the store of records does not know, as far as the first
    500 things tell.
    """

    def __init__(self, files: MarkedAudioStore, store_id: StoreId) -> None:
        self._files = files
        self._store_id = store_id
        self._told = False

    async def open(self) -> None:
        """Makes the place usable."""
        await self._files.open()

    async def close(self) -> None:
        """Gives up what `open` took."""
        await self._files.close()

    def upload(self, key: AudioKey, *, content_type: str = ANY_BYTES) -> AbstractAsyncContextManager[Upload]:
        """Takes bytes in."""
        return self._files.upload(key, content_type=content_type)

    def read(self, kept: KeptAudio, *, offset: int, limit: int | None) -> AsyncGenerator[bytes, None]:
        """The bytes."""
        return self._files.read(kept, offset=offset, limit=limit)

    async def remove(self, keys: Collection[AudioKey]) -> None:
        """Removes bytes."""
        await self._files.remove(keys)

    async def sweep(self, known: KnownAudio, *, grace: int) -> int:
        """Removes what nobody knows; nothing where the place is not ours, which is told once."""
        if await self._is_ours(known):
            self._told = False
            return await self._files.sweep(known, grace=grace)
        if not self._told:
            self._told = True
            _log.error(
                "audio is not swept: its place belongs to another store",
                mend="name another place by AUDIO_STORE_URL; or, where no other store uses this one, take it over by"
                " `python -m storage_service adopt-audio`, and what this store does not know will be removed",
            )
        return 0

    async def url(self, kept: KeptAudio, *, expiry: int) -> SignedUrl:
        """An address for the bytes."""
        return await self._files.url(kept, expiry=expiry)

    async def adopt(self) -> None:
        """Marks the place as that of this store, whosever it was."""
        await self._files.set_mark(json.dumps({"store_id": await self._store_id()}).encode())

    async def _is_ours(self, known: KnownAudio) -> bool:
        mark = await self._files.mark()
        if mark is not None:
            return _named(mark) == await self._store_id()
        there = await self._files.some_keys()
        if there and set(there).difference(await known(there)):
            return False
        await self.adopt()
        return True


def _named(mark: bytes) -> str | None:
    try:
        read = json.loads(mark)
    except ValueError:
        return None
    named = read.get("store_id") if isinstance(read, dict) else None
    return named if isinstance(named, str) else None
