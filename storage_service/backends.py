"""What the service can keep its things in."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from servicekit.app import Description
from servicekit.metrics import Metrics
from servicekit.resilience.manager import BreakerManager
from storage_service.audio_ownership import MarkedAudioStore, OwnedAudio
from storage_service.embedded.audio_files import AudioFiles
from storage_service.embedded.database import Database
from storage_service.embedded.exchange_store import SqliteExchangeStore
from storage_service.embedded.profile_store import SqliteProfileStore
from storage_service.embedded.removal_store import SqliteRemovalStore
from storage_service.embedded.story_store import SqliteStoryStore
from storage_service.exchange.ports import ExchangeStore
from storage_service.object_store import failures as object_store
from storage_service.object_store.audio_objects import AudioObjects
from storage_service.object_store.bucket import Bucket
from storage_service.object_store.config import BucketConfig
from storage_service.object_store.setup import place_of
from storage_service.ports import AudioStore, Clock, ProfileStore, RemovalStore, StoryStore
from storage_service.settings import StorageSettings
from storage_service.supabase.audio_bucket import AudioBucket
from storage_service.supabase.connection import Connection, breaker_config
from storage_service.supabase.exchange_store import SupabaseExchangeStore
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
    """Stores, what export and import go by, what is told of them, and their circuit breakers if they have any.

    `adopt_audio` makes the place that AUDIO_STORE_URL names that of these stores; None where it names none.
    """

    stores: Stores
    exchange: ExchangeStore
    describe: Callable[[], Description]
    circuits: BreakerManager | None = None
    adopt_audio: Callable[[], Awaitable[None]] | None = None


_Kept: TypeAlias = tuple[Stores, ExchangeStore]


def make_backend(settings: StorageSettings, clock: Clock, metrics: Metrics) -> Backend:
    """The backend that is set; ConfigurationError where it can not be had."""
    place = place_of(settings)
    circuits = BreakerManager(breaker_config, metrics=metrics)
    files = _files_elsewhere(place, clock, circuits)
    stores, exchange = (_supabase if settings.backend == "supabase" else _embedded)(settings, clock, circuits, files)
    providers = [PROVIDER] if settings.backend == "supabase" else []
    if isinstance(place, BucketConfig):
        providers.append(object_store.PROVIDER)
    parts = [_EMBEDDED] if settings.backend == "embedded" else []
    return Backend(
        stores,
        exchange,
        lambda: _description(parts, providers, circuits),
        circuits if providers else None,
        stores.files.adopt if isinstance(stores.files, OwnedAudio) else None,
    )


def _files_elsewhere(
    place: Path | BucketConfig | None, clock: Clock, circuits: BreakerManager
) -> MarkedAudioStore | None:
    match place:
        case None:
            return None
        case BucketConfig():
            return AudioObjects(Bucket(place, circuits), clock)
        case folder:
            return AudioFiles(folder, clock, variable="AUDIO_STORE_URL")


def _embedded(
    settings: StorageSettings, clock: Clock, circuits: BreakerManager, files: MarkedAudioStore | None
) -> _Kept:
    del circuits
    database = Database(settings.folder / "tale.sqlite3", sync=settings.sync, readers=settings.readers)
    stories = SqliteStoryStore(database, clock)
    stores = Stores(
        stories,
        SqliteProfileStore(database, clock),
        SqliteRemovalStore(database, clock),
        OwnedAudio(files, stories.store_id) if files else AudioFiles(settings.folder / "audio", clock),
    )
    return stores, SqliteExchangeStore(database)


def _supabase(
    settings: StorageSettings, clock: Clock, circuits: BreakerManager, files: MarkedAudioStore | None
) -> _Kept:
    connection = Connection(config_of(settings), circuits)
    stories = SupabaseStoryStore(connection)
    stores = Stores(
        stories,
        SupabaseProfileStore(connection),
        SupabaseRemovalStore(connection),
        OwnedAudio(files, stories.store_id) if files else AudioBucket(connection, clock),
    )
    return stores, SupabaseExchangeStore(connection)


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
