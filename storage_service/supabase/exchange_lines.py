"""Rows that are no stories, as they are carried elsewhere and back."""

from collections.abc import Mapping
from typing import Any, Final

from storage_service.exchange.ports import Line
from storage_service.supabase.profile_rows import SET_BY_US, from_profile, to_profile
from storage_service.supabase.wire import from_base64, to_base64, to_time_text, to_timestamp
from tale.common.v1 import common_pb2

_TABLES: Final = {
    "child": "children",
    "hero": "heroes",
    "request": "requests",
    "tombstone": "tombstones",
}


def to_line(table: str, row: Mapping[str, Any]) -> Line:
    """A row of `tales.export_rows`."""
    match table:
        case "requests":
            return {
                "kind": "request",
                **{name: row[name] for name in ("owner", "request_id", "rpc", "resource_id")},
                "fingerprint": _base64(row["fingerprint"]),
                "create_time": _micros(row["created_at"]),
            }
        case "tombstones":
            times = {"delete_time": _micros(row["deleted_at"])}
            return {"kind": "tombstone", "id": row["resource_id"], "owner": row["owner"], **times}
    return _from_profile_row(table, row)


def from_line(line: Line) -> dict[str, Any]:
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


def _from_profile_row(table: str, row: Mapping[str, Any]) -> Line:
    profile: common_pb2.Child | common_pb2.Hero
    if table == "children":
        kind, profile = "child", to_profile(common_pb2.Child, row)
    else:
        kind, profile = "hero", to_profile(common_pb2.Hero, row)
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
