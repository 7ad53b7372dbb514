"""SDKs are imported one after the other: two threads could else see half of a module."""

import asyncio

from support.elevenlabs_fake import elevenlabs_config

from servicekit.secrets import SecretSource
from voice_service.providers.elevenlabs.provider import ElevenLabsProvider
from voice_service.providers.loading import SDK_LOADING
from voice_service.providers.openai_api import OpenAIClient


async def test_an_sdk_is_not_imported_while_another_one_is() -> None:
    """Each thread waits for its turn, and then makes its client."""
    elevenlabs = ElevenLabsProvider(elevenlabs_config("http://127.0.0.1:9"))
    openai = OpenAIClient("http://127.0.0.1:9/v1", SecretSource(None, name="KEY"), provider="speech")
    await asyncio.to_thread(SDK_LOADING.acquire)
    try:
        opening, making = asyncio.create_task(elevenlabs._opened()), asyncio.create_task(openai.get())
        done, _ = await asyncio.wait([opening, making], timeout=0.3)
        assert set() == done
    finally:
        SDK_LOADING.release()

    await asyncio.gather(opening, making)

    await elevenlabs.aclose()
    await openai.aclose()
