"""A real S3 for the tests: moto's server in a process of its own, and a door before it that watches and misbehaves."""

import io
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.error import URLError

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict

from servicekit.ids import new_id
from standins.processes import free_ports
from storage_service.object_store.bucket import Bucket
from storage_service.object_store.config import BucketConfig

ACCESS_KEY_ID, SECRET = "AKIDOFTHETESTS", "no secret at all"

_READY_SECONDS = 60.0
_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "host"}


@dataclass(frozen=True, slots=True)
class S3:
    """A server that serves."""

    url: str

    def config(
        self,
        bucket: str,
        *,
        url: str = "",
        prefix: str = "a b/tales",
        kms_key_id: str | None = "",
        timeout_seconds: float = 10.0,
        retries: int = 2,
    ) -> BucketConfig:
        """How to reach a bucket of it, or what stands before it at `url`."""
        return BucketConfig(
            bucket,
            prefix=prefix,
            endpoint=url or self.url,
            access_key_id=ACCESS_KEY_ID,
            secret_access_key=SECRET,
            kms_key_id=kms_key_id,
            timeout_seconds=timeout_seconds,
            retries=retries,
            retry_delay=0.01,
        )

    def environment(self, bucket: str, prefix: str = "tales") -> dict[str, str]:
        """The variables of a service that keeps its audio here."""
        return {
            "AUDIO_STORE_URL": f"s3://{bucket}/{prefix}",
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    async def make_bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"tales-{new_id()}"
        async with aiohttp.ClientSession() as session, session.put(f"{self.url}/{name}") as answer:
            answer.raise_for_status()
        return name

    async def unfinished(self, bucket: str) -> int:
        """Uploads in parts that were neither ended nor given up."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/{bucket}?uploads") as answer:
            return (await answer.text()).count("<Upload>")

    async def names(self, bucket: str) -> list[str]:
        """Paths of all objects."""
        found = Bucket(self.config(bucket, prefix=""))._store.list(chunk_size=1000)
        return [item["path"] async for page in found for item in page]


@pytest.fixture(scope="session")
def moto_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """One server for the session; each test makes itself a bucket."""
    (port,) = free_ports(1)
    log = tmp_path_factory.mktemp("moto") / "moto.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("moto_server"), "--host", "127.0.0.1", "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = S3(f"http://127.0.0.1:{port}")
    try:
        _await_ready(process, f"{server.url}/moto-api/", log)
        yield server
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came to the door."""

    method: str
    path: str
    query: str
    headers: CIMultiDict[str]
    size: int


Fault: TypeAlias = Callable[[Seen], web.Response | Awaitable[object] | None]
"""What to do with a request: answer this, let it wait for that first, or (None) pass it on."""


@dataclass
class Door:
    """Stands before the server: notes what comes, and answers instead of it where `fault` says so."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    fault: Fault | None = None

    def refuse(self, status: int, code: str = "InternalError", *, when: Callable[[Seen], bool] | None = None) -> None:
        """Answers so from now on, where `when` holds."""
        text = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self.fault = lambda seen: (
            web.Response(status=status, text=text, content_type="application/xml")
            if when is None or when(seen)
            else None
        )


@asynccontextmanager
async def door(server: S3) -> AsyncIterator[Door]:
    """A door that is open, on a port of its own."""
    it = Door()

    async def pass_on(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        seen = Seen(request.method, request.path, request.query_string, CIMultiDict(request.headers), len(body))
        it.seen.append(seen)
        fault = it.fault(seen) if it.fault is not None else None
        if isinstance(fault, web.Response):
            return fault
        if fault is not None:
            await fault
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        url = f"{server.url}{request.raw_path}"
        async with session.request(request.method, url, data=io.BytesIO(body), headers=headers) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
            if request.method == "HEAD":
                response = web.StreamResponse(status=answer.status, headers=kept)
                await response.prepare(request)
                return response
            kept.pop("Content-Length", None)
            return web.Response(status=answer.status, headers=kept, body=await answer.read())

    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/{tail:.*}", pass_on)
    runner = web.AppRunner(application)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            it.url = f"http://{host}:{port}"
            yield it
        finally:
            await runner.cleanup()


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own loopback
                return
        except (URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the S3 of the tests did not start:\n{log.read_text(errors='replace')}") from None
            time.sleep(0.05)
