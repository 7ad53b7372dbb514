"""Commands that start a process of a cluster on a small disk, with logs that cannot be written, or on another clock."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

SMALL_DISK: Final = (
    *("unshare", "--map-root-user", "--mount", "sh", "-c"),
    'mkdir -p data && mount -t tmpfs -o size=64m tmpfs data && exec "$0" "$@"',
)
"""The store gets 64 MB of its own; others see it under /proc/<id>/cwd."""
FULL_LOG: Final = ("sh", "-c", 'exec "$0" "$@" >/dev/full 2>&1')
"""Each line of the log fails as on a full disk."""


def other_clock(offset: Path) -> tuple[str, ...]:
    """Returns the command that adds what is in the file `offset` ("+1h", "-45m") to the time of day, within a second.

    Monotonic clocks, and with them all timers, stay as they are. RuntimeError without the library (Linux alone has it).
    """
    found = find_spec("libfaketime")
    if found is None or found.origin is None:
        raise RuntimeError("libfaketime is not installed")
    library = Path(found.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
    return (
        "env",
        f"LD_PRELOAD={library}",
        f"FAKETIME_TIMESTAMP_FILE={offset}",
        "FAKETIME_CACHE_DURATION=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    )
