"""The HistoryStore in Supabase: requests that can be repeated, and tombstones of what was deleted."""

from collections.abc import Collection, Sequence
from typing import Any

from storage_service.records import SCAN_PAGE, StoredRequest, Tombstone
from storage_service.supabase.connection import SupabaseStore
from storage_service.supabase.rows import from_base64, to_hex, to_microseconds, to_time_text


class SupabaseHistoryStore(SupabaseStore):
    """Stores requests and tombstones in the schema `tales`; see HistoryStore for the methods."""

    async def scan_requests(self, after: StoredRequest | None) -> Sequence[StoredRequest]:
        """Returns requests, by owner and request id."""
        return [
            StoredRequest(
                row["owner"],
                row["request_id"],
                row["rpc"],
                from_base64(row["fingerprint"]),
                row["resource_id"],
                to_microseconds(row["created_at"]),
            )
            for row in await self._scan("requests", after and _request(after))
        ]

    async def scan_tombstones(self, after: Tombstone | None) -> Sequence[Tombstone]:
        """Returns tombstones, by id."""
        return [
            Tombstone(row["resource_id"], row["owner"], to_microseconds(row["deleted_at"]))
            for row in await self._scan("tombstones", after and _tombstone(after))
        ]

    async def known_stories(self, story_ids: Collection[str]) -> frozenset[str]:
        """Returns which are stored or deleted."""
        return frozenset(await self._connection.rpc("known_stories", ids=list(story_ids)))

    async def restore(self, requests: Sequence[StoredRequest], tombstones: Sequence[Tombstone]) -> int:
        """Stores what is not known."""
        count = 0
        if requests:
            count += await self._connection.rpc("restore_rows", table="requests", rows=list(map(_request, requests)))
        if tombstones:
            count += await self._connection.rpc(
                "restore_rows", table="tombstones", rows=list(map(_tombstone, tombstones))
            )
        return count

    async def _scan(self, table: str, after: dict[str, Any] | None) -> Any:
        return await self._connection.rpc("scan_rows", table=table, after=after, most=SCAN_PAGE)


def _request(request: StoredRequest) -> dict[str, Any]:
    row = request._asdict()
    created_at = to_time_text(row.pop("create_time"))
    return {**row, "fingerprint": to_hex(request.fingerprint), "created_at": created_at}


def _tombstone(tombstone: Tombstone) -> dict[str, Any]:
    resource_id, owner, delete_time = tombstone
    return {"resource_id": resource_id, "owner": owner, "deleted_at": to_time_text(delete_time)}
