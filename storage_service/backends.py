"""What the service can keep its things in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from servicekit.app import Description
from servicekit.metrics import Metrics
from servicekit.resilience.manager import BreakerManager
from storage_service.embedded.audio_files import AudioFiles
from storage_service.embedded.database import Database
from storage_service.embedded.profile_store import SqliteProfileStore
from storage_service.embedded.removal_store import SqliteRemovalStore
from storage_service.embedded.story_store import SqliteStoryStore
from storage_service.ports import AudioStore, Clock, ProfileStore, RemovalStore, StoryStore
from storage_service.settings import StorageSettings
from storage_service.supabase.audio_bucket import AudioBucket
from storage_service.supabase.connection import Connection, breaker_config
from storage_service.supabase.failures import PROVIDER
from storage_service.supabase.profile_store import SupabaseProfileStore
from storage_service.supabase.removals import SupabaseRemovalStore
from storage_service.supabase.setup import config_of
from storage_service.supabase.story_store import SupabaseStoryStore
from tale.common.v1 import status_pb2

_EMBEDDED: Final = status_pb2.EmbeddedPart(
    part="store",
    implementation="sqlite",
    environment_variables=["STORAGE_BACKEND", "SUPABASE_URL", "SUPABASE_KEY"],
)


@dataclass(frozen=True, slots=True)
class Stores:
    """All that is kept. That of the stories opens and closes what those of the profiles and removals share."""

    stories: StoryStore
    profiles: ProfileStore
    removals: RemovalStore
    files: AudioStore


@dataclass(frozen=True, slots=True)
class Backend:
    """Stores, what is told of them, and their circuit breakers if they have any."""

    stores: Stores
    describe: Callable[[], Description]
    circuits: BreakerManager | None = None


def make_backend(settings: StorageSettings, clock: Clock, metrics: Metrics) -> Backend:
    """The backend that is set; ConfigurationError where it can not be had."""
    if settings.backend == "supabase":
        return _supabase(settings, clock, metrics)
    return _embedded(settings, clock)


def _embedded(settings: StorageSettings, clock: Clock) -> Backend:
    database = Database(settings.folder / "tale.sqlite3", sync=settings.sync, readers=settings.readers)
    stores = Stores(
        SqliteStoryStore(database, clock),
        SqliteProfileStore(database, clock),
        SqliteRemovalStore(database, clock),
        AudioFiles(settings.folder / "audio", clock),
    )
    return Backend(stores, lambda: Description(embedded_parts=[_EMBEDDED]))


def _supabase(settings: StorageSettings, clock: Clock, metrics: Metrics) -> Backend:
    circuits = BreakerManager(breaker_config, metrics=metrics)
    connection = Connection(config_of(settings), circuits)
    stores = Stores(
        SupabaseStoryStore(connection),
        SupabaseProfileStore(connection),
        SupabaseRemovalStore(connection),
        AudioBucket(connection, clock),
    )
    return Backend(stores, lambda: _supabase_status(circuits), circuits)


def _supabase_status(circuits: BreakerManager) -> Description:
    open_ones = [snapshot.name for snapshot in circuits.snapshots() if snapshot.state == "open"]
    status = status_pb2.ProviderStatus(
        name=PROVIDER,
        configured=True,
        available=not open_ones,
        unavailable_reason="CIRCUIT_OPEN" if open_ones else "",
        is_default=True,
    )
    return Description(providers=[status])
