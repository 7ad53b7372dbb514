"""docs/compose.md, command by command."""

import re
import sys

import pytest
from support.compose import ROOT, Compose

from tale_client import AsyncTaleClient

pytestmark = pytest.mark.system

BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "compose.md").read_text(), re.MULTILINE | re.DOTALL)


async def test_every_command_of_the_page_works_and_the_story_stays(house: Compose) -> None:
    """In their order, as they stand; the story that is told early on is there after whatever starts the cluster."""
    await house("down", "--volumes")
    (house.folder / ".env").unlink(missing_ok=True)
    (house.folder / ".venv").symlink_to(sys.prefix)
    kept = b""
    for block in BLOCKS:
        await house.run("bash", "-euo", "pipefail", "-c", block)
        if "tale tell" in block:
            kept = await everything(house)
        elif kept and "compose up" in block:
            assert kept == await everything(house), block
    assert kept
    text = "\n".join(BLOCKS)
    assert "--scale" in text
    assert "--volumes" in text


async def everything(house: Compose) -> bytes:
    """All that is stored, text and audio, in one piece."""
    async with AsyncTaleClient(house.target) as client:
        (summary,) = [summary async for summary in client.list_stories()]
        story = await client.get_story(summary.id, full=True)
        sound = b"".join([chunk async for chunk in client.read_audio(summary.id)])
    assert sound
    return story.SerializeToString(deterministic=True) + sound
