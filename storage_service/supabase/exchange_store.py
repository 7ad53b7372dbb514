"""The ExchangeStore in Supabase."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from typing import Any, Final

from servicekit.errors import DomainError
from storage_service.exchange.ports import Line
from storage_service.records import Blob, ObjectKey, ObjectKind
from storage_service.supabase import refusals
from storage_service.supabase.audio_rows import from_audio
from storage_service.supabase.connection import Connection
from storage_service.supabase.exchange_lines import from_line, to_line
from storage_service.supabase.exchange_stories import from_record, segments_of
from storage_service.supabase.rows import from_attempts, from_problems, to_record
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_FIRST: Final = ("children", "heroes", "requests")
# Tombstones come after all else: whatever was deleted while it was read has one.
_LAST: Final = ("tombstones",)
_PAGE: Final = 500


class SupabaseExchangeStore:
    """Carries over what the schema `tales` stores; see ExchangeStore for the methods."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lines(self) -> AsyncGenerator[Sequence[Line], None]:
        """Children, heroes and requests."""
        return self._lines(_FIRST)

    def last_lines(self) -> AsyncGenerator[Sequence[Line], None]:
        """Tombstones."""
        return self._lines(_LAST)

    async def _lines(self, tables: Sequence[str]) -> AsyncGenerator[Sequence[Line], None]:
        for table in tables:
            after: Mapping[str, Any] | None = None
            while page := await self._connection.rpc("export_rows", table=table, after=after, most=_PAGE):
                yield [to_line(table, row) for row in page]
                after = page[-1]

    async def stories(self) -> AsyncGenerator[tuple[storage_pb2.StoryRecord, Blob | None], None]:
        """All stories, by id."""
        after: str | None = None
        while page := await self._connection.rpc("export_story_ids", after=after, most=_PAGE):
            for one in page:
                whole = await self.story(one["owner"], one["id"])
                if whole is not None:
                    yield whole
            after = page[-1]["id"]

    async def story(self, owner: str, story_id: str) -> tuple[storage_pb2.StoryRecord, Blob | None] | None:
        """A story, None where it is gone."""
        try:
            return await self._whole(owner, story_id)
        except DomainError as error:
            if error.reason != "STORY_NOT_FOUND":
                raise
        return None

    async def keep_lines(self, lines: Sequence[Line]) -> int:
        """Stores what is new."""
        return int(await self._connection.rpc("import_rows", rows=[from_line(line) for line in lines]))

    async def missing(self, story_ids: Collection[str]) -> Collection[str]:
        """Returns those that are neither stored nor deleted."""
        return set(await self._connection.rpc("missing_stories", story_ids=sorted(story_ids)))

    async def keep_story(self, record: storage_pb2.StoryRecord, key: ObjectKey | None) -> bool:
        """Stores a story."""
        repeated: list[bool] = []
        answer = await self._connection.rpc(
            "import_story",
            on_retry=lambda: repeated.append(True),
            story=from_record(record),
            segments=[] if key is None else segments_of(record.story.audio),
            attempts=from_attempts(record.story.attempts),
            problems=from_problems(record.story.problems),
            audio=None if key is None else _audio(record.story.audio, key),
        )
        refusals.check(answer, record.story.id)
        # The first try may have stored it, and its answer was lost.
        return answer["created"] or bool(repeated)

    async def _whole(self, owner: str, story_id: str) -> tuple[storage_pb2.StoryRecord, Blob | None]:
        row = await self._connection.rpc("export_story", owner=owner, story_id=story_id)
        refusals.check(row, story_id)
        record, object_id = to_record(row), row["object_id"]
        if object_id is None:
            return record, None
        audio = record.story.audio
        return record, Blob(ObjectKey(ObjectKind.AUDIO, object_id), audio.size_bytes, audio.sha256)


def _audio(audio: common_pb2.StoryAudio, key: ObjectKey) -> dict[str, Any]:
    bare = common_pb2.StoryAudio()
    bare.CopyFrom(audio)
    bare.ClearField("segments")
    return {**from_audio(bare, key), "segment_count": len(audio.segments)}
