"""The house with keys: its stories are written by a small OpenRouter, told by a small ElevenLabs."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import story_service.bootstrap
import voice_service.bootstrap
from servicekit.app import App
from story_service.settings import StorySettings
from support.elevenlabs_fake import KEY as ELEVENLABS_KEY
from support.elevenlabs_fake import ElevenLabsFake, elevenlabs_fake
from support.house import House, house
from support.openrouter_fake import KEY as OPENROUTER_KEY
from support.openrouter_fake import OpenRouterFake, openrouter_fake
from voice_service.settings import Tuning, VoiceServiceSettings

MODEL: Final = "a/first"
FALLBACK: Final = "b/second"


@dataclass(frozen=True, slots=True)
class PaidHouse:
    """The cluster and what it pays for."""

    home: House
    writer: OpenRouterFake
    voice: ElevenLabsFake

    @property
    def texts_spoken(self) -> list[str]:
        """What ElevenLabs was asked to say, the oldest first."""
        return [call.body["text"] for call in self.voice.speeches if call.body is not None]


@asynccontextmanager
async def paid_house(
    folder: Path,
    *,
    story: Mapping[str, Any] | None = None,
    voice: Mapping[str, Any] | None = None,
    **gateway_settings: Any,
) -> AsyncIterator[PaidHouse]:
    """Run it; `story` and `voice` are settings of those services. They retry, but hardly wait."""
    free = {"listen": "127.0.0.1:0", "ops_listen": "127.0.0.1:0", "data_dir": folder, "drain_seconds": 1}
    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(openrouter_fake())
        speaker = await stack.enter_async_context(elevenlabs_fake())
        story_app = story_service.bootstrap.build(
            StorySettings(
                **{
                    **free,
                    "openrouter_base_url": writer.base_url,
                    "openrouter_api_key": OPENROUTER_KEY,
                    "model": MODEL,
                    **(story or {}),
                }
            ),
            retry_delay=0.01,
        )

        def speech(storage_target: str) -> App:
            settings = {
                **free,
                "elevenlabs_base_url": speaker.url,
                "elevenlabs_api_key": ELEVENLABS_KEY,
                "storage_target": storage_target,
                **(voice or {}),
            }
            return voice_service.bootstrap.build(VoiceServiceSettings(**settings), Tuning(retry_delay=0.01))

        home = await stack.enter_async_context(house(folder, story=story_app, speech=speech, **gateway_settings))
        yield PaidHouse(home, writer, speaker)
