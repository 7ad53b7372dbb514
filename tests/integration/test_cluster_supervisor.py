"""The supervisor of a local cluster, over processes that have only a health check."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tale_cluster.layout import GATEWAY, SERVICES, STORY, VOICE, Layout, Service
from tale_cluster.supervisor import ClusterError, LineSink, RestartPolicy, ServiceProcess, Supervisor

TESTS = Path(__file__).parent.parent
SECONDS = 20.0


class Log:
    """The lines of the services and the supervisor, and a way to wait for them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._changed = asyncio.Event()

    def __call__(self, service: Service, line: str) -> None:
        self.report(f"{service.name}: {line}")

    def report(self, line: str) -> None:
        self.lines.append(line)
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, holds: Callable[[list[str]], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while True:
                changed = self._changed
                if holds(self.lines):
                    return
                await changed.wait()


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{folder}", "DRAIN_SECONDS": "1", **more}


def fake(service: Service, folder: Path) -> Service:
    """Returns a service of the same name that has only a health check."""
    module = f"fake_{service.name}"
    (folder / f"{module}.py").write_text(f'from support.fake_service import run\n\nrun("{service.name}")\n')
    return replace(service, module=module)


def supervisor(folder: Path, log: Log, layout: Layout | None = None, **more: str) -> Supervisor:
    async def launch(service: Service, environ: Mapping[str, str], sink: LineSink) -> ServiceProcess:
        return await ServiceProcess.start(fake(service, folder), environ, sink)

    return Supervisor(
        layout or Layout.on_free_ports(),
        environment(folder, **more),
        sink=log,
        report=log.report,
        start_timeout=SECONDS,
        policy=RestartPolicy(first_wait=0.01, attempts=1),
        launch=launch,
    )


async def test_services_start_together_and_end_in_order(tmp_path: Path) -> None:
    """All are SERVING before start() returns; the gateway ends first and storage last."""
    log = Log()
    async with supervisor(tmp_path, log) as cluster:
        await cluster.start()
        assert {f"{service.name}: serving" for service in SERVICES} == set(log.lines)
        pids = [cluster.pid(service) for service in SERVICES]
    ends = [line for line in log.lines if line.endswith("stopped")]
    assert "gateway: stopped" == ends[0]
    assert "storage: stopped" == ends[-1]
    assert 4 == len(ends)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_service_that_does_not_start_reports_its_last_lines(tmp_path: Path) -> None:
    """The error has its name, exit code and last lines; the others are stopped."""
    log = Log()
    with pytest.raises(ClusterError) as caught:
        async with supervisor(tmp_path, log, FAKE_FAIL="voice") as cluster:
            await cluster.start()
    assert "The voice service did not start (exit code 3)." == caught.value.message
    assert ("first line", "this variable is wrong: fix it") == caught.value.tail


async def test_address_in_use_is_reported_before_anything_starts(tmp_path: Path) -> None:
    """No service is started if an address is in use."""
    log = Log()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        layout = Layout.from_environment(
            {
                name: address if service is STORY and name == service.listen_variable else f"127.0.0.1:{port}"
                for service, port in zip(SERVICES, range(1, 9, 2), strict=True)
                for name in (service.listen_variable, service.ops_variable)
            }
        )
        with pytest.raises(ClusterError) as caught:
            await supervisor(tmp_path, log, layout).start()
    expected = f"{address} is in use, perhaps by another `tale up`. Stop it, or set STORY_LISTEN to another address."
    assert expected in caught.value.message.splitlines()
    assert [] == log.lines


async def test_stopped_service_is_restarted_up_to_the_limit(tmp_path: Path) -> None:
    """A killed service gets a new pid; one restart too many ends the cluster."""
    log = Log()
    async with supervisor(tmp_path, log) as cluster:
        await cluster.start()
        watching = asyncio.create_task(cluster.watch())
        first = cluster.pid(STORY)
        os.kill(first, signal.SIGKILL)
        await log.until(lambda lines: "The story service is running again." in lines)
        assert "The story service stopped (signal 9). Starting it again in 0.01 s." in log.lines
        assert first != cluster.pid(STORY)
        os.kill(cluster.pid(STORY), signal.SIGKILL)
        with pytest.raises(ClusterError, match=r"The story service stopped .* 2 times in a row"):
            await watching


async def test_service_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """A service is killed after its grace time."""
    log = Log()
    layout = Layout.on_free_ports()
    environ = layout.environment(environment(tmp_path, FAKE_STUBBORN="voice"))
    process = await ServiceProcess.start(fake(VOICE, tmp_path), environ, log)
    await log.until(lambda lines: "voice: serving" in lines)
    await process.stop(0.1)
    assert -signal.SIGKILL == await process.exited()


async def test_cancelled_stop_kills_the_services(tmp_path: Path) -> None:
    """A second Ctrl-C does not wait."""
    log = Log()
    cluster = supervisor(tmp_path, log, FAKE_STUBBORN="gateway", DRAIN_SECONDS="3600")
    await cluster.start()
    pids = [cluster.pid(service) for service in SERVICES]
    ending = asyncio.create_task(cluster.stop())
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def listens(host: str, port: int) -> bool:
    """Returns whether a process accepts connections there."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except ConnectionError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def test_services_do_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    """kill -9 of the supervisor closes the guard's pipe, and the service ends as by SIGTERM."""
    layout = Layout.on_free_ports()
    starter = """
import asyncio, sys
from tale_cluster.layout import GATEWAY
from tale_cluster.supervisor import ServiceProcess
from dataclasses import replace
import os

async def main():
    def said(service, line):
        print(line, flush=True)
    process = await ServiceProcess.start(replace(GATEWAY, module="fake_gateway"), os.environ, said)
    await process.exited()

asyncio.run(main())
"""
    fake(GATEWAY, tmp_path)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        starter,
        env=layout.environment(environment(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(SECONDS):
        assert b"serving\n" == await process.stdout.readline()
        host, port = layout[GATEWAY].listen.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        # The service's side of a connection is open as long as the service runs.
        # The service may close or reset the connection; either way it ends.
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        # The port closes with the process, a moment after the connection at the latest.
        while await listens(host, int(port)):  # noqa: ASYNC110 - a closing port sends no event
            await asyncio.sleep(0.01)
