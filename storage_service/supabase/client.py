"""The official client, and the one HTTP session under it.

Imports the SDK (half a second), so this module is imported in a thread, after the server is up. Whatever is no
success becomes a SupabaseError (or a SupabaseDefectError) here, before the SDK sees it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx
from pydantic import ValidationError

from servicekit.environment import proxy_for
from servicekit.resilience.errors import ProviderErrorKind
from storage_service.supabase.errors import (
    MisaddressedError,
    MissingError,
    SupabaseDefectError,
    SupabaseError,
    from_answer,
    is_page,
)
from supabase import AsyncClientOptions, acreate_client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Collection
    from io import BufferedReader

    from storage_service.supabase.config import SupabaseConfig
    from supabase import AsyncClient

_BLOCK: Final = 1 << 20
_PARTIAL: Final = 206
_OK: Final = 200
_NOT_THERE: Final = frozenset({400, 404})

# It would log the address of every request. LOG_LEVELS may say so.
if not logging.getLogger("httpx").level:
    logging.getLogger("httpx").setLevel(logging.WARNING)


async def build(config: SupabaseConfig) -> Client:
    """Returns a client; no call is made yet."""
    session = httpx.AsyncClient(
        verify=httpx.create_ssl_context(),
        proxy=proxy_for(config.url),
        trust_env=False,
        timeout=config.timeout_seconds,
        limits=httpx.Limits(max_connections=config.connections, max_keepalive_connections=config.connections),
        event_hooks={"request": [_Authorize(config)], "response": [_raise_typed]},
    )
    options = AsyncClientOptions(
        schema=config.schema,
        auto_refresh_token=False,
        persist_session=False,
        # Retries are the kit's.
        postgrest_client_retry=False,
        postgrest_client_timeout=config.timeout_seconds,
        storage_client_timeout=config.timeout_seconds,  # type: ignore[arg-type]  # any number does
        httpx_client=session,
    )
    return Client(await acreate_client(config.url, config.key.get(), options), session, config)


class Client:
    """Supabase as this service uses it. Every method may raise SupabaseError."""

    def __init__(self, client: AsyncClient, session: httpx.AsyncClient, config: SupabaseConfig) -> None:
        self.sdk = client
        self._session = session
        self._timeout = config.timeout_seconds
        self._bucket = config.bucket

    async def close(self) -> None:
        """Closes the session."""
        await self._session.aclose()

    async def rpc(self, function: str, params: dict[str, Any]) -> Any:
        """Returns what a function of the schema answers."""
        with _typed():
            try:
                async with asyncio.timeout(self._timeout):
                    data = (await self.sdk.rpc(function, params).execute()).data
            except MissingError as error:
                # A missing function is reported with a code; no function of the schema answers that.
                raise MisaddressedError(status=error.status) from error
            if isinstance(data, str):
                if data.lstrip().startswith("<"):
                    raise MisaddressedError(status=_OK)
                # What is not JSON is returned as text; no function of the schema answers with text.
                raise SupabaseError(ProviderErrorKind.TRANSPORT, "the answer cannot be read", undone=False)
        return data

    async def bucket(self) -> dict[str, Any]:
        """Returns what Storage says of the bucket."""
        with _typed():
            async with asyncio.timeout(self._timeout):
                answer = await self._session.get(self._url("bucket", self._bucket))
            said = answer.json()
            if not isinstance(said, dict):
                raise SupabaseError(ProviderErrorKind.TRANSPORT, "the answer cannot be read", undone=False)
        return said

    async def upload(self, path: str, source: bytes | BufferedReader[Any], *, content_type: str, sha256: str) -> None:
        """Sends a file, in place of one that is there already. Each step of it has the time limit, not the whole."""
        with _typed():
            await self.sdk.storage.from_(self._bucket).upload(
                path,
                source,
                {
                    "content-type": content_type,
                    "upsert": "true",
                    "cache-control": "3600",
                    "metadata": {"sha256": sha256},
                },
            )

    async def size(self, path: str) -> int | None:
        """Returns the size of a file in bytes, 0 if it is not there; None where Storage does not say."""
        try:
            with _typed():
                async with asyncio.timeout(self._timeout):
                    answer = await self._session.head(self._url("object", self._bucket, path))
        except MissingError:
            return 0
        except (SupabaseDefectError, MisaddressedError) as error:
            # It says 400 (or 404) for what is not there, and to HEAD it says no more.
            if error.status in _NOT_THERE:
                return 0
            raise
        length = answer.headers.get("content-length", "")
        return int(length) if length.isdigit() and "content-encoding" not in answer.headers else None

    async def remove(self, paths: Collection[str]) -> None:
        """Removes files; those that are not there are no error."""
        with _typed():
            async with asyncio.timeout(self._timeout):
                await self.sdk.storage.from_(self._bucket).remove(list(paths))

    async def sign(self, path: str, seconds: int) -> str:
        """Returns an address under which a file can be fetched for a while."""
        with _typed():
            async with asyncio.timeout(self._timeout):
                signed = await self.sdk.storage.from_(self._bucket).create_signed_url(path, seconds)
        return str(signed["signedURL"])

    @asynccontextmanager
    async def read(self, path: str, *, offset: int, end: int) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """Yields the bytes [offset, end) of a file as they arrive; fewer where the file is shorter."""
        headers = {"Range": f"bytes={offset}-{end - 1}", "Accept-Encoding": "identity"}
        with _typed():
            async with self._session.stream("GET", self._url("object", self._bucket, path), headers=headers) as answer:
                # A server that does not know ranges sends all of it.
                skip = 0 if answer.status_code == _PARTIAL else offset
                yield _cut(answer.aiter_bytes(_BLOCK), skip, end - offset)

    def _url(self, *parts: str) -> str:
        return str(self.sdk.storage_url.joinpath(*(piece for part in parts for piece in part.split("/"))))


class _Authorize:
    """Puts the present key into each request: it may have been rotated."""

    def __init__(self, config: SupabaseConfig) -> None:
        self._key = config.key

    async def __call__(self, request: httpx.Request) -> None:
        key = self._key.get()
        request.headers["apikey"] = key
        request.headers["authorization"] = f"Bearer {key}"


async def _raise_typed(response: httpx.Response) -> None:
    if response.is_success:
        if is_page(response.headers):
            raise MisaddressedError(status=response.status_code)
        return
    await response.aread()
    try:
        body = response.json()
    except ValueError:
        body = None
    raise from_answer(response.status_code, body, response.headers)


async def _cut(blocks: AsyncIterator[bytes], skip: int, most: int) -> AsyncGenerator[bytes, None]:
    async for block in blocks:
        part = block[skip : skip + most]
        skip = max(0, skip - len(block))
        most -= len(part)
        if part:
            yield part
        if not most:
            return


class _typed:  # noqa: N801 - used like a function
    """Turns what httpx and the SDK raise into SupabaseErrors."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TimeoutError | httpx.TimeoutException):
            undone = isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
            raise SupabaseError(ProviderErrorKind.TIMEOUT, "no answer in time", undone=undone) from error
        if isinstance(error, httpx.TransportError):
            undone = isinstance(error, httpx.ConnectError)
            raise SupabaseError(ProviderErrorKind.TRANSPORT, "the connection failed", undone=undone) from error
        if isinstance(error, ValidationError | ValueError | httpx.HTTPError | KeyError):
            # A page of a proxy, or half an answer.
            raise SupabaseError(ProviderErrorKind.TRANSPORT, "the answer cannot be read", undone=False) from error
