"""Runs a service as a process: settings, logs, signals, server, exit code."""

import asyncio
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import structlog

from servicekit.app import App
from servicekit.environment import check_certificates, proxy_warnings
from servicekit.logging import configure, described
from servicekit.server import Server
from servicekit.settings import ConfigurationError, ServiceSettings, unknown_variables

_log: Final = structlog.stdlib.get_logger("servicekit.main")

BAD_CONFIGURATION: Final = 2
"""Exit code when the settings do not allow a start."""
CUT_SHORT: Final = 130
"""Exit code after a second signal, which cuts the drain short."""

_YOUNG: Final = 10_000
"""Allocations between two collections of the youngest objects; Python's own figure is 700."""
_LOADED_SECONDS: Final = 10.0
"""By then the SDKs that are loaded after the start are there."""

_MALLOC: Final = {-1: 1 << 20, -3: 256 << 10, -8: 2}
"""M_TRIM_THRESHOLD, M_MMAP_THRESHOLD (bytes) and M_ARENA_MAX of mallopt(3)."""

S = TypeVar("S", bound=ServiceSettings)


def run(
    load_settings: Callable[[], S],
    build_app: Callable[[S], App],
    service_name: str,
) -> None:
    """Runs a service until SIGTERM or SIGINT, then drains it, then ends the process; a second signal ends the drain.

    `build_app` is called within the running loop. Exit codes: 0 after a drain, 2 for a ConfigurationError (its one
    line goes to standard error), 130 after a second signal.
    """
    try:
        check_certificates()
        settings = load_settings()
        gc.set_threshold(_YOUNG, 10, 10)
        _return_memory()
        configure(service_name, level=settings.log_level, levels=settings.log_levels, log_format=settings.log_format)
        for line in (*unknown_variables(type(settings), os.environ), *proxy_warnings()):
            _log.warning("set-up warning", warning=line)

        async def serve() -> int:
            asyncio.get_running_loop().set_exception_handler(_log_stray)
            server = Server(build_app(settings), settings, service=service_name)
            return await _Life(server).live()

        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            code = runner.run(serve())
    except ConfigurationError as error:
        with suppress(OSError):
            sys.stderr.write(f"{service_name}: {error}\n")
        code = BAD_CONFIGURATION
    _flush_or_discard()
    sys.exit(code)


def _flush_or_discard() -> None:
    """Writes the last lines, or discards them where they go to a full disk: Python would end with code 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


class _Life:
    """A server from start to end, as signals have it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._asked = asyncio.Event()
        self._signals = 0

    async def live(self) -> int:
        """Returns the exit code once the server is down."""
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(self._serve())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, task)
        await asyncio.wait({task})
        if task.cancelled():
            return CUT_SHORT if self._signals > 1 else 0
        task.result()
        return 0

    async def _serve(self) -> None:
        await self._server.start()
        try:
            _freeze_now_and_later()
            await self._asked.wait()
            await self._server.drain()
        finally:
            # Two signals at once: the second one comes before the drain has begun.
            await self._server.stop()

    def _signalled(self, task: asyncio.Task[None]) -> None:
        self._signals += 1
        # Once: what closes the stores must not be cut short, or their threads would hold the process for ever.
        if (self._signals > 1 or not self._server.serving) and not task.cancelling():
            task.cancel()
        self._asked.set()


def _return_memory() -> None:
    """Has the C library return to the system what is freed, where it has a say in that (glibc).

    By default one freed block of many megabytes makes it hold all such blocks from then on. Measured after 2,000 slow
    readers had left: 1,880 MB before, 365 MB with this.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        for parameter, value in _MALLOC.items():
            tune(parameter, value)


def _freeze_now_and_later() -> None:
    """Excludes all existing objects from garbage collection: modules now, the SDKs some seconds later.

    Measured under load before: 11 % of the CPU of the voice and the story service went into walking over them.
    """
    gc.freeze()
    asyncio.get_running_loop().call_later(_LOADED_SECONDS, gc.freeze)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - there is none on some platforms
    except ImportError:
        return None
    return uvloop.new_event_loop


def _log_stray(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Logs errors that no task awaited, without the texts that asyncio's own handler would print."""
    del loop
    error = context.get("exception")
    _log.error(
        "error outside of awaited tasks",
        why=context.get("message"),
        errors=described(error) if isinstance(error, BaseException) else [],
    )
