"""A service of its own process, for tests of its life: `python -m support.raw_service fail|wait`."""

import asyncio
import logging
import os
import sys

import structlog

from servicekit.main import run
from servicekit.settings import ServiceSettings, load
from support.rpcs import Context, RawApp

SECRET = "secret path of Mia"  # noqa: S105 - what must not get out


class RawSettings(ServiceSettings):
    """Settings with a prefix of their own."""

    prefixes = ("RAW_",)


async def fail(_: Context) -> bytes:
    """Fails in every way that leaves a trace in the log."""

    async def stray() -> None:
        raise ValueError(SECRET)

    # Kept by nobody: its error has no one to go to.
    await asyncio.wait({asyncio.create_task(stray())})
    try:
        os.environ[SECRET]
    except KeyError:
        structlog.stdlib.get_logger("test.ours").exception("ours", story_id="s-1")
        logging.getLogger("aiohttp.test").exception("theirs: %s", "an argument")
    logging.getLogger("aiohttp.test").debug("not asked for")
    logging.getLogger("test.loud").debug("asked for")
    raise RuntimeError(SECRET)


async def wait(_: Context) -> bytes:
    """Never ends by itself."""
    structlog.stdlib.get_logger("test.ours").info("waiting")
    await asyncio.Event().wait()
    return b"never"


if __name__ == "__main__":
    BEHAVIOUR = {"fail": fail, "wait": wait}[sys.argv[1]]
    run(lambda: load(RawSettings), lambda _: RawApp(BEHAVIOUR), "raw")
