"""The composition root: settings in, a service out."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import grpc
import structlog

from servicekit.app import App, Description
from servicekit.errors import DomainError
from servicekit.logging import log_defect
from servicekit.metrics import Metrics
from servicekit.settings import warnings_of
from storage_service.audio.finishing import AudioFinisher
from storage_service.audio.library import AudioLibrary
from storage_service.audio.noted import NotedObjects
from storage_service.audio.segments import SegmentLibrary
from storage_service.backends import Backend, SystemClock, make_backend
from storage_service.metrics import StorageMetrics, show_disk
from storage_service.ports import Clock
from storage_service.records import ObjectKind
from storage_service.settings import StorageSettings, Tuning
from storage_service.stories.absence import Absence
from storage_service.stories.housekeeper import Housekeeper, Remover
from storage_service.wire.profile_servicer import ProfileServicer
from storage_service.wire.segment_servicer import SegmentServicer
from storage_service.wire.servicer import StorageServicer
from tale.profile.v1 import profile_pb2, profile_pb2_grpc
from tale.storage.v1 import segment_pb2, segment_pb2_grpc, storage_pb2, storage_pb2_grpc

_log: Final = structlog.stdlib.get_logger("storage_service")

_DEFAULTS: Final = Tuning()


class StorageApp(App):
    """The storage service over its stores, which it opens and closes."""

    def __init__(
        self, settings: StorageSettings, tuning: Tuning, backend: Backend, clock: Clock, metrics: Metrics
    ) -> None:
        self.metrics = metrics
        self.circuits = backend.circuits
        self._settings = settings
        self._tuning = tuning
        self._backend = backend
        records, files = backend.records, backend.objects
        self._objects = objects = NotedObjects(records.objects, files)
        self._segments = SegmentLibrary(
            records.segments,
            files[ObjectKind.SEGMENT],
            objects,
            max_bytes=settings.segment_store_max_bytes,
            idle_seconds=tuning.upload_idle,
            metrics=StorageMetrics(metrics),
        )
        self._audio = AudioLibrary(records.stories, files[ObjectKind.AUDIO], self._segments)
        self._finisher = AudioFinisher(
            records.stories, self._segments, objects, files[ObjectKind.AUDIO], max_bytes=settings.audio_max_bytes
        )
        self._remover = Remover(records.stories, records.removals, objects)
        self._absence = Absence(clock)
        self._warnings = warnings_of(settings)
        if backend.database is not None:
            show_disk(metrics, settings.folder)
            # Maintenance such as VACUUM: leases cannot be renewed meanwhile.
            backend.database.held_up = self._absence.end
        self.housekeeper = Housekeeper(
            records.removals, objects, self._segments, clock, retention=settings.story_retention
        )
        self._housekeeping: asyncio.Task[None] | None = None

    @property
    def sound(self) -> bool:  # type: ignore[override]
        """Whether the store is undamaged."""
        return self._backend.database is None or self._backend.database.sound

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds StorageService, SegmentService and ProfileService."""
        records = self._backend.records
        stories = StorageServicer(records.stories, self._audio, self._finisher, self._remover, self._absence)
        storage_pb2_grpc.add_StorageServiceServicer_to_server(stories, server)
        segment_pb2_grpc.add_SegmentServiceServicer_to_server(SegmentServicer(self._segments), server)
        profile_pb2_grpc.add_ProfileServiceServicer_to_server(ProfileServicer(records.profiles), server)
        return [
            storage_pb2.DESCRIPTOR.services_by_name["StorageService"].full_name,
            segment_pb2.DESCRIPTOR.services_by_name["SegmentService"].full_name,
            profile_pb2.DESCRIPTOR.services_by_name["ProfileService"].full_name,
        ]

    async def start(self) -> None:
        """Opens the stores and starts their housekeeping."""
        for warning in self._warnings:
            _log.warning("set-up warning", warning=warning)
        await self._backend.open()
        self._absence.end()
        if self._settings.backend == "embedded":
            # One process owns this store and has just started: what is half written belongs to no call.
            await self._give_up_all()
        housekeeping = self.housekeeper.run(
            sweep_seconds=self._settings.sweep_interval_seconds, scrub_seconds=self._tuning.scrub_interval
        )
        self._housekeeping = asyncio.create_task(housekeeping, name="housekeeping")
        self._housekeeping.add_done_callback(_log_defect)

    async def _give_up_all(self) -> None:
        try:
            await self._objects.give_up_all()
        except DomainError as error:
            if error.reason != "STORAGE_FULL":
                raise
            _log.warning("disk full and uploads not removed yet")

    async def describe(self) -> Description:
        """Says what the store is."""
        described = self._backend.describe()
        return replace(described, warnings=(*described.warnings, *self._warnings))

    async def stop(self) -> None:
        """Ends the housekeeping and closes the stores."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.wait([self._housekeeping])
        await self._backend.close()


def _log_defect(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log_defect(error)


def build_app(settings: StorageSettings, tuning: Tuning = _DEFAULTS, *, clock: Clock | None = None) -> StorageApp:
    """Returns the service over the backend that is set; ConfigurationError where that cannot be used."""
    time, metrics = clock or SystemClock(), Metrics()
    return StorageApp(settings, tuning, make_backend(settings, time, metrics), time, metrics)
