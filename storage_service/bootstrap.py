"""The composition root: settings in, a service out."""

from collections.abc import Sequence
from typing import Final

import grpc
import structlog

from servicekit.app import AppBase, Description
from storage_service.audio import AudioLibrary
from storage_service.clock import SystemClock
from storage_service.embedded.audio_files import AudioFiles
from storage_service.embedded.database import Database
from storage_service.embedded.profile_store import SqliteProfileStore
from storage_service.embedded.story_store import SqliteStoryStore
from storage_service.ports import AudioStore, Clock, ProfileStore, StoryStore
from storage_service.profile_servicer import ProfileServicer
from storage_service.servicer import StorageServicer
from storage_service.settings import StorageSettings
from tale.common.v1 import status_pb2
from tale.profile.v1 import profile_pb2, profile_pb2_grpc
from tale.storage.v1 import storage_pb2, storage_pb2_grpc

_log: Final = structlog.stdlib.get_logger("storage_service")

_EMBEDDED: Final = status_pb2.EmbeddedPart(
    part="store",
    implementation="sqlite",
    environment_variables=["STORAGE_BACKEND", "SUPABASE_URL", "SUPABASE_KEY"],
)


class StorageApp(AppBase):
    """The storage service over its stores. That of the stories opens and closes what that of the profiles shares."""

    def __init__(
        self, settings: StorageSettings, stories: StoryStore, profiles: ProfileStore, files: AudioStore
    ) -> None:
        self._settings = settings
        self._stories = stories
        self._profiles = profiles
        self._files = files
        self._audio = AudioLibrary(
            stories, files, max_bytes=settings.audio_max_bytes, idle_seconds=settings.upload_idle_seconds
        )

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds StorageService and ProfileService."""
        storage_pb2_grpc.add_StorageServiceServicer_to_server(StorageServicer(self._stories, self._audio), server)
        profile_pb2_grpc.add_ProfileServiceServicer_to_server(ProfileServicer(self._profiles), server)
        return [
            storage_pb2.DESCRIPTOR.services_by_name["StorageService"].full_name,
            profile_pb2.DESCRIPTOR.services_by_name["ProfileService"].full_name,
        ]

    async def start(self) -> None:
        """Opens the stores and sweeps what a crash may have left."""
        await self._stories.open()
        await self._files.open()
        swept = await self._audio.sweep(grace=int(self._settings.sweep_grace_seconds * 1_000_000))
        if swept:
            _log.info("files without a story were removed", files=swept)

    async def describe(self) -> Description:
        """Says that the store is embedded."""
        return Description(embedded_parts=[_EMBEDDED])

    async def stop(self) -> None:
        """Closes the stores."""
        await self._files.close()
        await self._stories.close()


def build_app(settings: StorageSettings, *, clock: Clock | None = None) -> StorageApp:
    """The service as it is set up; ConfigurationError for a backend that can not be had."""
    settings.check()
    time = clock or SystemClock()
    database = Database(settings.folder / "tale.sqlite3", sync=settings.sync, readers=settings.readers)
    return StorageApp(
        settings,
        SqliteStoryStore(database, time),
        SqliteProfileStore(database, time),
        AudioFiles(settings.folder / "audio", time),
    )
