"""The ExchangeStore in Supabase."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from storage_service.exchange.lines import PAGE, Line
from storage_service.messages import without_segments
from storage_service.records import Blob, ObjectKey, ObjectKind
from storage_service.supabase.audio_rows import from_audio
from storage_service.supabase.connection import SupabaseStore
from storage_service.supabase.exchange_stories import from_record, segments_of
from storage_service.supabase.profiles import SET_BY_US, from_profile, to_profile
from storage_service.supabase.rows import from_attempts, from_problems, to_record
from storage_service.supabase.wire import from_base64, to_base64, to_time_text, to_timestamp
from tale.common.v1 import common_pb2
from tale.storage.v1 import storage_pb2

_TABLES: Final = {
    "child": "children",
    "hero": "heroes",
    "request": "requests",
    "tombstone": "tombstones",
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
    match kind:
        case "request":
            return {
                "kind": "request",
                **{name: row[name] for name in ("owner", "request_id", "rpc", "resource_id")},
                "fingerprint": _base64(row["fingerprint"]),
                "create_time": _micros(row["created_at"]),
            }
        case "tombstone":
            times = {"delete_time": _micros(row["deleted_at"])}
            return {"kind": "tombstone", "id": row["resource_id"], "owner": row["owner"], **times}
    return _from_profile_row(kind, row)


def _from_line(line: Line) -> dict[str, Any]:
    """One of the rows of `tales.import_rows`."""
    kind = line["kind"]
    match kind:
        case "request":
            row = {
                **{name: line[name] for name in ("owner", "request_id", "rpc", "resource_id")},
                "fingerprint": _hex(line["fingerprint"]),
                "created_at": to_time_text(line["create_time"]),
            }
        case "tombstone":
            times = {"deleted_at": to_time_text(line["delete_time"])}
            row = {"resource_id": line["id"], "owner": line["owner"], **times}
        case _:
            row = _to_profile_row(line)
    return {"table": _TABLES[kind], "row": row}


def _from_profile_row(kind: str, row: Mapping[str, Any]) -> Line:
    profile = to_profile(common_pb2.Child, row) if kind == "child" else to_profile(common_pb2.Hero, row)
    for field in SET_BY_US:
        profile.ClearField(field)  # type: ignore[arg-type]  # both messages have them
    return {
        "kind": kind,
        **{name: row[name] for name in ("id", "owner", "revision")},
        "create_time": _micros(row["created_at"]),
        "update_time": _micros(row["updated_at"]),
        "profile": to_base64(profile.SerializeToString()),
    }


def _to_profile_row(line: Line) -> dict[str, Any]:
    message = common_pb2.Child if line["kind"] == "child" else common_pb2.Hero
    return {
        **from_profile(message.FromString(from_base64(line["profile"]))),
        **{name: line[name] for name in ("id", "owner", "revision")},
        "created_at": to_time_text(line["create_time"]),
        "updated_at": to_time_text(line["update_time"]),
    }


def _micros(text: str) -> int:
    return to_timestamp(text).ToMicroseconds()


def _base64(hexadecimal: str) -> str:
    return to_base64(bytes.fromhex(hexadecimal.removeprefix("\\x")))


def _hex(text: str) -> str:
    return f"\\x{from_base64(text).hex()}"
