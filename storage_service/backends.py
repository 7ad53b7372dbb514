"""Builds the stores that the settings name."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from servicekit.app import Description
from servicekit.metrics import Metrics
from servicekit.resilience.manager import BreakerManager
from servicekit.resilience.outgoing import AuditLog
from storage_service.embedded.audio import SqliteObjectNotes, SqliteSegmentStore
from storage_service.embedded.database import Database
from storage_service.embedded.history import SqliteHistoryStore
from storage_service.embedded.profiles import SqliteProfileStore
from storage_service.embedded.removals import SqliteRemovalStore
from storage_service.embedded.stories import SqliteStoryStore
from storage_service.object_store.bucket import Bucket, BucketObjects
from storage_service.object_store.config import AUDIO, SEGMENTS, BucketConfig, Place, places_of
from storage_service.object_store.errors import PROVIDER as OBJECT_STORE
from storage_service.object_store.folder import FolderObjects
from storage_service.ports import Clock, ObjectStore, Records
from storage_service.records import ObjectKind
from storage_service.settings import StorageSettings
from storage_service.supabase.audio import SupabaseObjectNotes, SupabaseRemovalStore, SupabaseSegmentStore
from storage_service.supabase.bucket import ObjectBucket
from storage_service.supabase.config import config_of
from storage_service.supabase.connection import Connection
from storage_service.supabase.errors import PROVIDER
from storage_service.supabase.history import SupabaseHistoryStore
from storage_service.supabase.profiles import SupabaseProfileStore
from storage_service.supabase.stories import SupabaseStoryStore
from storage_service.upstream import breaker_config
from tale.common.v1 import status_pb2

_EMBEDDED: Final = status_pb2.EmbeddedPart(
    part="store",
    implementation="sqlite",
    environment_variables=["STORAGE_BACKEND, SUPABASE_URL and SUPABASE_KEY"],
)


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Returns microseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1_000

    def steady(self) -> int:
        """Returns microseconds that no setting of the clock changes."""
        return time.monotonic_ns() // 1_000


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What calls to stores behind a network share: circuit breakers, and an audit log for each provider."""

    circuits: BreakerManager
    audit: Callable[[str], AuditLog]


@dataclass(frozen=True, slots=True)
class Backend:
    """Records, an object store for each kind of object, what is described of them, and circuit breakers if any."""

    records: Records
    objects: Mapping[ObjectKind, ObjectStore]
    describe: Callable[[], Description]
    circuits: BreakerManager | None = None
    database: Database | None = None
    """That of the embedded store."""

    async def open(self) -> None:
        """Opens the records, then the object stores."""
        await self.records.stories.open()
        for store in set(self.objects.values()):
            await store.open()

    async def close(self) -> None:
        """Closes the object stores, then the records."""
        for store in set(self.objects.values()):
            await store.close()
        await self.records.stories.close()


def make_backend(settings: StorageSettings, clock: Clock, metrics: Metrics, *, shared: bool = False) -> Backend:
    """Returns the backend that is set; ConfigurationError where it cannot be used.

    Unless it is `shared`, no other process can open the embedded store so at the same time.
    """
    places = places_of(settings)
    circuits = BreakerManager(breaker_config, metrics=metrics)
    outgoing = Outgoing(circuits, cache(lambda provider: AuditLog(metrics, prefix=provider)))
    database = None
    if settings.backend == "supabase":
        records, beside = _supabase(settings, clock, outgoing)
    else:
        database = Database(settings.database, sync=settings.sync, shared=shared)
        records, beside = _embedded(settings, clock, database)
    audio = _objects(AUDIO, places.get(AUDIO), settings, clock, outgoing) or beside
    segments = _objects(SEGMENTS, places.get(SEGMENTS), settings, clock, outgoing) or audio
    providers = [PROVIDER] if settings.backend == "supabase" else []
    if any(isinstance(place, BucketConfig) for place in places.values()):
        providers.append(OBJECT_STORE)
    parts = [_EMBEDDED] if settings.backend == "embedded" else []
    return Backend(
        records,
        {ObjectKind.AUDIO: audio, ObjectKind.SEGMENT: segments},
        lambda: _description(parts, providers, circuits),
        circuits if providers else None,
        database,
    )


def _objects(
    variable: str, place: Place | None, settings: StorageSettings, clock: Clock, outgoing: Outgoing
) -> ObjectStore | None:
    match place:
        case None:
            return None
        case BucketConfig():
            return BucketObjects(Bucket(place, outgoing.circuits, outgoing.audit(OBJECT_STORE)), clock)
        case folder:
            return _folder(folder, settings, variable)


def _folder(folder: Path, settings: StorageSettings, variable: str) -> FolderObjects:
    # A lost segment is synthesized again; finished audio is not.
    fsync = frozenset(ObjectKind) if settings.sync == "full" else frozenset({ObjectKind.AUDIO})
    return FolderObjects(folder, fsync=fsync, variable=variable)


def _embedded(settings: StorageSettings, clock: Clock, database: Database) -> tuple[Records, ObjectStore]:
    records = Records(
        SqliteStoryStore(database, clock),
        SqliteProfileStore(database, clock),
        SqliteRemovalStore(database, clock),
        SqliteSegmentStore(database, clock),
        SqliteObjectNotes(database, clock),
        SqliteHistoryStore(database, clock),
    )
    return records, _folder(settings.folder, settings, "TALE_DATA_DIR")


def _supabase(settings: StorageSettings, clock: Clock, outgoing: Outgoing) -> tuple[Records, ObjectStore]:
    connection = Connection(config_of(settings), outgoing.circuits, audit=outgoing.audit(PROVIDER))
    records = Records(
        SupabaseStoryStore(connection),
        SupabaseProfileStore(connection),
        SupabaseRemovalStore(connection),
        SupabaseSegmentStore(connection),
        SupabaseObjectNotes(connection),
        SupabaseHistoryStore(connection),
    )
    return records, ObjectBucket(connection, clock)


def _description(
    parts: Sequence[status_pb2.EmbeddedPart], providers: Sequence[str], circuits: BreakerManager
) -> Description:
    open_for = {snapshot.provider for snapshot in circuits.snapshots() if snapshot.state == "open"}
    statuses = [
        status_pb2.ProviderStatus(
            name=name,
            configured=True,
            available=name not in open_for,
            unavailable_reason="CIRCUIT_OPEN" if name in open_for else "",
            is_default=True,
        )
        for name in providers
    ]
    return Description(embedded_parts=parts, providers=statuses)
