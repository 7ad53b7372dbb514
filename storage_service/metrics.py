"""Metrics of the storage service, beside those of every server and of its calls to Supabase and S3."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from servicekit.metrics import Metrics


class StorageMetrics:
    """Counts what the segment store saves. Without `metrics` nothing is shown."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        metrics = metrics or Metrics()
        lookups = metrics.counter(
            "storage_segment_lookups", "Segments that were looked for before a provider is called", ("result",)
        )
        self._hits, self._misses = lookups.labels("hit"), lookups.labels("miss")
        self.stored = metrics.counter("storage_segments_stored", "Segments that were stored")
        self.evicted = metrics.counter("storage_segments_evicted", "Segments that were evicted to make room")
        self.bytes = metrics.gauge("storage_segment_store_bytes", "Bytes of all segments, as of the last change")
        self.max_bytes = metrics.gauge("storage_segment_store_max_bytes", "SEGMENT_STORE_MAX_BYTES")

    def looked_up(self, wanted: int, found: int) -> None:
        """Counts a lookup of `wanted` segments, of which `found` are stored."""
        self._hits.inc(found)
        self._misses.inc(max(0, wanted - found))


def show_disk(metrics: Metrics, folder: Path) -> None:
    """Shows how full the file system of the embedded store is, read at each scrape. Once a process."""

    def free() -> Mapping[tuple[str, ...], float]:
        return {(): shutil.disk_usage(folder).free} if folder.exists() else {}

    def size() -> Mapping[tuple[str, ...], float]:
        return {(): shutil.disk_usage(folder).total} if folder.exists() else {}

    metrics.read("storage_disk_free_bytes", "Bytes that are free where the embedded store is", (), free)
    metrics.read("storage_disk_bytes", "Size of the file system of the embedded store in bytes", (), size)
