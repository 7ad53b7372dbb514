"""docs/compose.md, command by command."""

import re
import sys

import pytest
from support.compose import ROOT, Compose

from tale_client import AsyncTaleClient

pytestmark = pytest.mark.system

BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "compose.md").read_text(), re.MULTILINE | re.DOTALL)


async def test_every_command_of_the_page_works_and_the_stories_stay(house: Compose) -> None:
    """In their order, as they stand; what is told early on is there after whatever starts the cluster.

    Of the profiles whose images no test can get, the files are checked.
    """
    await house("--profile", "*", "down", "--volumes")
    settings = house.folder / ".env"
    for file in (settings, *(house.folder / "out").glob("*.m*")):
        file.unlink(missing_ok=True)
    (house.folder / ".venv").symlink_to(sys.prefix)
    kept, told = b"", 0
    for block in BLOCKS:
        before = settings.read_text() if settings.exists() else ""
        only_checked = "deploy/compose/" in block
        command = block.replace("up -d --wait", "config --quiet") if only_checked else block
        await house.run("bash", "-euo", "pipefail", "-c", command.replace("127.0.0.1:50050", house.proxy))
        if only_checked:
            assert before != settings.read_text()
            settings.write_text(before)
        if "tale tell" in block:
            told += block.count("tale tell")
            kept = await everything(house)
        elif kept and "compose up" in block and not only_checked:
            assert kept == await everything(house), block
    assert 3 == told == len(list((house.folder / "out").glob("*.mp3")))
    text = "\n".join(BLOCKS)
    assert "--scale" in text
    assert "--volumes" in text


async def everything(house: Compose) -> bytes:
    """All that is stored, text and audio, in one piece."""
    found = b""
    async with AsyncTaleClient(house.target) as client:
        for summary in sorted([each async for each in client.list_stories()], key=lambda each: each.id):
            story = await client.get_story(summary.id, full=True)
            sound = b"".join([chunk async for chunk in client.read_audio(summary.id)])
            assert sound
            found += story.SerializeToString(deterministic=True) + sound
    return found
