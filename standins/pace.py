"""Even steps in time."""

import asyncio


class Pace:
    """Even steps, the first at once; a late step does not delay the next."""

    def __init__(self, gap: float) -> None:
        self._gap = gap
        self._due = asyncio.get_running_loop().time()

    async def next(self) -> None:
        """Returns when the next step is due."""
        wait = self._due - asyncio.get_running_loop().time()
        self._due += self._gap
        if wait > 0:
            await asyncio.sleep(wait)
