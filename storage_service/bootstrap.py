"""The composition root: settings in, a service out."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import grpc

from servicekit.app import AppBase, Description
from servicekit.failures import log_defect
from servicekit.metrics import Metrics
from storage_service.audio import AudioLibrary
from storage_service.backends import Backend, make_backend
from storage_service.clock import SystemClock
from storage_service.housekeeper import Housekeeper, put_off
from storage_service.ports import Clock
from storage_service.profile_servicer import ProfileServicer
from storage_service.remover import Remover
from storage_service.servicer import StorageServicer
from storage_service.settings import StorageSettings
from tale.profile.v1 import profile_pb2, profile_pb2_grpc
from tale.storage.v1 import storage_pb2, storage_pb2_grpc


class StorageApp(AppBase):
    """The storage service over its stores, which it opens and closes."""

    def __init__(self, settings: StorageSettings, backend: Backend, clock: Clock, metrics: Metrics) -> None:
        self.metrics = metrics
        self.circuits = backend.circuits
        self._settings = settings
        self._backend = backend
        self._stores = backend.stores
        stories, files = self._stores.stories, self._stores.files
        self._audio = AudioLibrary(
            stories, files, max_bytes=settings.audio_max_bytes, idle_seconds=settings.upload_idle_seconds
        )
        self._remover = Remover(stories, self._stores.removals, files)
        self.housekeeper = Housekeeper(
            self._remover,
            self._audio,
            clock,
            retention=settings.story_retention,
            grace=timedelta(seconds=settings.sweep_grace_seconds),
        )
        self._housekeeping: asyncio.Task[None] | None = None

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds StorageService and ProfileService."""
        stories = StorageServicer(self._stores.stories, self._audio, self._remover, self._stores.removals)
        storage_pb2_grpc.add_StorageServiceServicer_to_server(stories, server)
        profile_pb2_grpc.add_ProfileServiceServicer_to_server(ProfileServicer(self._stores.profiles), server)
        return [
            storage_pb2.DESCRIPTOR.services_by_name["StorageService"].full_name,
            profile_pb2.DESCRIPTOR.services_by_name["ProfileService"].full_name,
        ]

    async def start(self) -> None:
        """Opens the stores and sweeps what a crash may have left; from then on they are kept in order."""
        await self._stores.stories.open()
        await self._stores.files.open()
        try:
            await self.housekeeper.sweep_audio()
        except Exception as error:  # noqa: BLE001 - the rounds that follow try again
            put_off(error)
        keeping = self.housekeeper.run(
            sweep_seconds=self._settings.sweep_interval_seconds, scrub_seconds=self._settings.scrub_interval_seconds
        )
        self._housekeeping = asyncio.create_task(keeping, name="housekeeping")
        self._housekeeping.add_done_callback(_tell_defect)

    async def describe(self) -> Description:
        """Says what the store is."""
        return self._backend.describe()

    async def stop(self) -> None:
        """Ends the housekeeping and closes the stores."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.wait([self._housekeeping])
        await self._stores.files.close()
        await self._stores.stories.close()


def _tell_defect(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log_defect(error)


def build_app(settings: StorageSettings, *, clock: Clock | None = None) -> StorageApp:
    """The service as it is set up; ConfigurationError for a backend that can not be had."""
    time, metrics = clock or SystemClock(), Metrics()
    return StorageApp(settings, make_backend(settings, time, metrics), time, metrics)
