"""How many calls a provider gets at once, over all narrations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from voice_service.ports import ProviderMetadata


class ProviderSlots:
    """A semaphore for each provider; `size` tells how many calls at once it gets."""

    def __init__(self, size: Callable[[ProviderMetadata], int]) -> None:
        self._size = size
        self._semaphores: dict[str, asyncio.Semaphore] = {}

    def of(self, metadata: ProviderMetadata) -> asyncio.Semaphore:
        """Return the semaphore of the provider; waiters get their turn in order."""
        semaphore = self._semaphores.get(metadata.name)
        if semaphore is None:
            semaphore = self._semaphores[metadata.name] = asyncio.Semaphore(self._size(metadata))
        return semaphore
