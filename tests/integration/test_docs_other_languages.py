"""docs/other-languages.md: the example for Node makes a story; that for Go is in tests/system."""

import json
import re
from pathlib import Path

from support.examples import ROOT, copied, run
from support.house import house

from tale.gateway.v1 import gateway_pb2

PAGE = (ROOT / "docs" / "other-languages.md").read_text()


async def test_the_node_example_makes_a_story(tmp_path: Path) -> None:
    """By the commands of the page, except that the tests have the packages already."""
    folder = copied("node", tmp_path)
    (folder / "node_modules").symlink_to(ROOT / "tests" / "upstreams" / "node_modules")
    (block,) = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    commands = block.replace("npm install --no-save\n", "")
    assert commands != block
    async with house(tmp_path / "data") as home:
        printed = await run(commands, folder=tmp_path, target=home.servers["gateway"].address, seconds=60)
        (summary,) = (await home.stub.ListStories(gateway_pb2.ListStoriesRequest(), timeout=20)).stories
        _, kept = await home.read_audio(summary.id)
        story = await home.get(summary.id)
    assert f"{story.title}\n\n{story.content}" in printed
    assert f"READY\nstory.mp3 has {len(kept)} bytes." in printed
    assert kept == (folder / "story.mp3").read_bytes()


def test_the_packages_of_the_node_example_are_those_of_the_tests() -> None:
    """At the same versions, so that what is tested is what is described."""
    example = json.loads((ROOT / "docs" / "examples" / "node" / "package.json").read_text())
    tested = json.loads((ROOT / "tests" / "upstreams" / "package.json").read_text())["dependencies"]
    used = example["dependencies"] | example["devDependencies"]
    del used["@bufbuild/buf"]
    assert used.items() <= tested.items()
