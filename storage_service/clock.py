"""The time that leases and records go by."""

import time


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1_000
