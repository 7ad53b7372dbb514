"""Lines of an archive: what a store cannot take is refused with its place."""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from servicekit.ids import new_id
from storage_service.exchange.lines import Entry, ExchangeError, from_entries, to_entries
from storage_service.records import OwnedProfile, StoredRequest, Tombstone
from tale.common.v1 import common_pb2

Field: TypeAlias = Literal["id", "revision", "create_time", "update_time"]
FIELDS: Final[tuple[Field, ...]] = ("id", "revision", "create_time", "update_time")

NOW = Timestamp(seconds=1_700_000_000)
CHILD = common_pb2.Child(id=new_id(), name="Mia", revision=1, create_time=NOW, update_time=NOW)
TOMBSTONE = {"kind": "tombstone", "resource_id": new_id(), "owner": "mia", "delete_time": 1}
REQUEST = {
    "kind": "request",
    "owner": "mia",
    "request_id": "r",
    "rpc": "CreateChild",
    "fingerprint": b64encode(bytes(32)).decode(),
    "resource_id": new_id(),
    "create_time": 1,
}


def child_line(*without: Field, owner: object = "mia", **more: object) -> Mapping[str, object]:
    """A line of a child that lacks the fields `without`."""
    child = common_pb2.Child()
    child.CopyFrom(CHILD)
    for field in without:
        child.ClearField(field)
    return {"kind": "child", "owner": owner, "profile": b64encode(child.SerializeToString()).decode(), **more}


def test_entries_come_back_as_they_were() -> None:
    """Each kind."""
    entries: list[Entry] = [
        OwnedProfile("mia", CHILD),
        StoredRequest("mia", "r", "CreateChild", bytes(32), CHILD.id, 1),
        Tombstone(new_id(), "mia", 2),
    ]
    assert entries == to_entries(from_entries(entries), "records/1")


@pytest.mark.parametrize(
    "line",
    [
        # The former layout had the id and the times beside the profile.
        child_line(*FIELDS, id=new_id(), revision=3, create_time=1),
        child_line(unknown=1),
        *(child_line(field) for field in FIELDS),
        *(child_line(owner=owner) for owner in ("", None, 1, "a\0b", "a\ud800b")),
        {**child_line(), "profile": 1},
        {**child_line(), "kind": ["child"]},
        {"kind": "tombstone", "id": new_id(), "owner": "mia", "delete_time": 1},
        *({**TOMBSTONE, "delete_time": time} for time in ("soon", None, -1, 1.5, True, 1 << 62)),
        *({**TOMBSTONE, "resource_id": one} for one in ([1], None, "", "../x")),
        *({**REQUEST, "fingerprint": one} for one in (None, "", "AAAA")),
        *({**REQUEST, field: 1} for field in ("owner", "request_id", "rpc", "resource_id")),
        {**REQUEST, "create_time": "soon"},
    ],
)
def test_record_that_no_store_can_take_is_refused_with_its_line(line: Mapping[str, Any]) -> None:
    """Of another layout, or of wrong types."""
    good = from_entries([Tombstone(new_id(), "mia", 2)])
    with pytest.raises(ExchangeError, match=r"^records/7, line 2: a record "):
        to_entries(good + json.dumps(line).encode() + b"\n", "records/7")
