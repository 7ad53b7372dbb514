"""What a cache holds, in the order of use."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

MAX_AUDIOS: Final = 1_000
"""Checksums noted for one segment: where a file's bytes depend on the place, each place has its own."""
MAX_STORIES: Final = 1_000
"""Stories noted for one segment. A segment that more use (a title, a formula) says nothing about any of them."""


@dataclass(slots=True)
class IndexEntry:
    """A cached object: its size in bytes, checksums of its audio in hexadecimal, and the stories that used it."""

    size: int = 0
    audios: set[str] = field(default_factory=set)
    stories: set[str] = field(default_factory=set)


class LruIndex:
    """Sizes and uses of cached objects; the longest unused comes first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, IndexEntry] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def used(self, key: str, size: int) -> IndexEntry:
        """Note that the object of `key` was used just now and has `size` bytes."""
        entry = self._entries.setdefault(key, IndexEntry())
        self.bytes += size - entry.size
        entry.size = size
        self._entries.move_to_end(key)
        return entry

    def found(self, key: str, entry: IndexEntry) -> None:
        """Note an object that a listing showed, as used longer ago than all that is known."""
        known = self._entries.get(key)
        if known is not None:
            known.stories |= entry.stories
            known.audios |= entry.audios
            return
        self._entries[key] = entry
        self._entries.move_to_end(key, last=False)
        self.bytes += entry.size

    def known(self, key: str) -> IndexEntry | None:
        """Return the object of `key`; None where it is not known."""
        return self._entries.get(key)

    def drop(self, key: str) -> IndexEntry:
        """Take the object of `key` out; an empty entry where it is not known."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return IndexEntry()
        self.bytes -= entry.size
        return entry

    def oldest(self) -> str | None:
        """Key of the object that was not used for the longest time."""
        return next(iter(self._entries), None)
