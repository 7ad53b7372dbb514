"""The story service as the kit runs it."""

from collections.abc import Sequence
from typing import Final

import grpc
import structlog

from servicekit.app import AppBase, Description
from story_service.catalogue import OFFLINE
from story_service.servicer import StoryServicer
from tale.common.v1 import status_pb2
from tale.story.v1 import story_pb2, story_pb2_grpc

_log: Final = structlog.stdlib.get_logger("story_service")

OPENROUTER: Final = "openrouter"


class StoryApp(AppBase):
    """Registers the servicer and says what is embedded. Nothing is opened, so there is nothing to close."""

    def __init__(self, servicer: StoryServicer, *, key_set: bool, warnings: Sequence[str]) -> None:
        """`warnings` is what an operator should know; `key_set` whether OPENROUTER_API_KEY is."""
        self._servicer = servicer
        self._key_set = key_set
        self._warnings = tuple(warnings)

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Add StoryService."""
        story_pb2_grpc.add_StoryServiceServicer_to_server(self._servicer, server)
        return (story_pb2.DESCRIPTOR.services_by_name["StoryService"].full_name,)

    async def start(self) -> None:
        """Tell the operator what there is to know."""
        for warning in self._warnings:
            _log.warning(warning)

    async def describe(self) -> Description:
        """Say that the writer is embedded, and why."""
        return Description(
            embedded_parts=(
                status_pb2.EmbeddedPart(
                    part="writer",
                    implementation=OFFLINE,
                    environment_variables=() if self._key_set else ("OPENROUTER_API_KEY",),
                ),
            ),
            providers=(
                status_pb2.ProviderStatus(name=OFFLINE, configured=True, available=True, is_default=True),
                status_pb2.ProviderStatus(
                    name=OPENROUTER,
                    configured=self._key_set,
                    unavailable_reason="This version of the story service has only the embedded writer."
                    if self._key_set
                    else "OPENROUTER_API_KEY is not set.",
                ),
            ),
            warnings=self._warnings,
        )
