"""The ExchangeStore in Supabase."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from storage_service.exchange.lines import PAGE, Line
from storage_service.messages import without_segments
from storage_service.records import Blob, ObjectKey, ObjectKind
from storage_service.supabase.connection import SupabaseStore
from storage_service.supabase.profiles import SET_BY_US, from_profile, to_profile
from storage_service.supabase.rows import from_attempts, from_problems, to_record
from storage_service.supabase.segments import from_audio
from storage_service.supabase.stories import from_record, segments_of
from storage_service.supabase.wire import encoded, from_base64, to_base64, to_time_text, to_timestamp
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_TABLES: Final = {"child": "children", "hero": "heroes", "request": "requests", "tombstone": "tombstones"}
_TIMES: Final = {"create_time": "created_at", "update_time": "updated_at", "delete_time": "deleted_at"}
_FIELDS: Final = {
    "child": ("id", "owner", "revision", "create_time", "update_time"),
    "hero": ("id", "owner", "revision", "create_time", "update_time"),
    "request": ("owner", "request_id", "rpc", "resource_id", "create_time"),
    "tombstone": ("owner", "delete_time"),
}


class SupabaseExchangeStore(SupabaseStore):
    """Carries over what the schema `tales` stores; see ExchangeStore for the methods."""

    async def lines(self, kind: str, after: Line | None) -> Sequence[Line]:
        """Lines of a kind."""
        start = None if after is None else _from_line(after)["row"]
        page = await self._connection.rpc("export_rows", table=_TABLES[kind], after=start, most=PAGE)
        return [_to_line(kind, row) for row in page]

    async def story_ids(self, after: str) -> Sequence[tuple[str, str]]:
        """Stories, by id."""
        page = await self._connection.rpc("export_story_ids", after=after or None, most=PAGE)
        return [(one["owner"], one["id"]) for one in page]

    async def story(self, owner: str, story_id: str) -> tuple[storage_pb2.StoryRecord, Blob | None]:
        """A story."""
        row = await self._connection.rpc("export_story", story_id, owner=owner, story_id=story_id)
        record, object_id = to_record(row), row["object_id"]
        if object_id is None:
            return record, None
        audio = record.story.audio
        return record, Blob(ObjectKey(ObjectKind.AUDIO, object_id), audio.size_bytes, audio.sha256)

    async def keep_lines(self, lines: Sequence[Line]) -> int:
        """Stores what is new."""
        return int(await self._connection.rpc("import_rows", rows=[_from_line(line) for line in lines]))

    async def missing(self, story_ids: Collection[str]) -> Collection[str]:
        """Returns those that are neither stored nor deleted."""
        return set(await self._connection.rpc("missing_stories", story_ids=sorted(story_ids)))

    async def keep_story(self, record: storage_pb2.StoryRecord, key: ObjectKey | None) -> bool:
        """Stores a story."""
        repeated: list[bool] = []
        answer = await self._connection.rpc(
            "import_story",
            record.story.id,
            on_retry=lambda: repeated.append(True),
            story=from_record(record),
            segments=[] if key is None else segments_of(record.story.audio),
            attempts=from_attempts(record.story.attempts),
            problems=from_problems(record.story.problems),
            audio=None if key is None else _audio(record.story.audio, key),
        )
        # The first try may have stored it, and its answer was lost.
        return answer["created"] or bool(repeated)


def _audio(audio: common_pb2.StoryAudio, key: ObjectKey) -> dict[str, Any]:
    return {**from_audio(without_segments(audio), key), "segment_count": len(audio.segments)}


def _to_line(kind: str, row: Mapping[str, Any]) -> Line:
    """A row of `tales.export_rows`."""
    line: Line = {"kind": kind}
    for name in _FIELDS[kind]:
        line[name] = to_timestamp(row[_TIMES[name]]).ToMicroseconds() if name in _TIMES else row[name]
    match kind:
        case "request":
            line["fingerprint"] = to_base64(bytes.fromhex(row["fingerprint"].removeprefix("\\x")))
        case "tombstone":
            line["id"] = row["resource_id"]
        case _:
            profile = to_profile(common_pb2.Child, row) if kind == "child" else to_profile(common_pb2.Hero, row)
            for field in SET_BY_US:
                profile.ClearField(field)  # type: ignore[arg-type]  # both messages have them
            line["profile"] = encoded(profile)
    return line


def _from_line(line: Line) -> dict[str, Any]:
    """One of the rows of `tales.import_rows`."""
    kind = line["kind"]
    row: dict[str, Any] = {
        _TIMES.get(name, name): to_time_text(line[name]) if name in _TIMES else line[name] for name in _FIELDS[kind]
    }
    match kind:
        case "request":
            row["fingerprint"] = f"\\x{from_base64(line['fingerprint']).hex()}"
        case "tombstone":
            row["resource_id"] = line["id"]
        case _:
            message = common_pb2.Child if kind == "child" else common_pb2.Hero
            row |= from_profile(message.FromString(from_base64(line["profile"])))
    return {"table": _TABLES[kind], "row": row}
