"""A client of a server that speaks OpenAI's API, made when it is first needed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from servicekit.resilience.errors import ProviderError, ProviderErrorKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai import AsyncOpenAI, Omit

    from servicekit.secrets import SecretSource

_CONNECT_SECONDS: Final = 5.0
_SILENCE_SECONDS: Final = 120.0
"""Seconds without a byte after which a call is given up, where nobody who waits for it gave it up before."""


class OpenAIClient:
    """Holds an `AsyncOpenAI` for one address. The SDK takes 1.5 s to import, so a thread does it.

    `provider` names it in errors. The key is read anew for each call; without one, none is sent.
    """

    def __init__(self, base_url: str, key: SecretSource, *, provider: str) -> None:
        self._base_url = base_url
        self._key = key
        self._provider = provider
        self._making: asyncio.Task[AsyncOpenAI] | None = None

    def warm_up(self) -> None:
        """Begin to load the SDK. Needs a running event loop."""
        if self._making is None:
            self._making = asyncio.create_task(asyncio.to_thread(_make, self._base_url), name="load-openai")

    async def get(self) -> AsyncOpenAI:
        """Return the SDK's client; waits for it to be loaded the first time."""
        self.warm_up()
        assert self._making is not None  # noqa: S101 - warm_up has just seen to it
        return await asyncio.shield(self._making)

    def headers(self) -> Mapping[str, str | Omit]:
        """Headers of a call that is made now; the client is loaded. Raises ProviderError, AUTH on a key that is none.

        A key with a line break in it would be quoted by the error of whoever refuses to send it.
        """
        from openai import Omit  # noqa: PLC0415 - loaded by now

        key = self._key.get()
        if not key:
            return {"Authorization": Omit()}
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ProviderError(
                ProviderErrorKind.AUTH, "the key holds characters that no key has", provider=self._provider
            )
        return {"Authorization": f"Bearer {key}"}

    async def aclose(self) -> None:
        """Close the connections."""
        making, self._making = self._making, None
        if making is not None:
            await (await making).close()


def _make(base_url: str) -> AsyncOpenAI:
    import httpx2  # noqa: PLC0415 - comes with the SDK
    import openai  # noqa: PLC0415 - takes more than a second: this runs in a thread

    client = openai.AsyncOpenAI(
        base_url=base_url,
        api_key="given with each call",
        max_retries=0,
        timeout=httpx2.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS),
        # A redirect would carry a child's story to an address that nobody has looked at.
        http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
    )
    # The SDK imports its resources when they are first looked at.
    _ = client.audio.speech.with_streaming_response, client.audio.transcriptions
    return client
