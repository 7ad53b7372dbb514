"""docs/troubleshooting.md quotes messages that exist, and its commands work."""

import ast
import re
import subprocess
from pathlib import Path

import click
import pytest
from support.house import house
from support.tale_command import tale

from tale_client.cli import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ROWS = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| message")]
QUOTED = sorted({message for row in ROWS for message in re.findall(r"`([^`]+)`", row[0])})
COMMAND = sorted(set(re.findall(r"`(tale [^`]+)`", PAGE)))
BLOCK = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def texts() -> str:
    """Every string of the programs, and the reasons of docs/errors.md."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = [(ROOT / "docs" / "errors.md").read_text(encoding="utf-8")]
    for name in listed.splitlines():
        if name.partition("/")[0] in {"gateway", "servicekit", "storage_service", "tale_client", "tale_cluster"}:
            tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
            found += [
                each.value for each in ast.walk(tree) if isinstance(each, ast.Constant) and isinstance(each.value, str)
            ]
    return "\n".join(found)


def test_quoted_messages_are_those_of_the_programs() -> None:
    """Each part between "…" is a part of a string in the code, or a reason of docs/errors.md."""
    known = texts()
    assert len(QUOTED) > 40
    missing = [
        (message, part)
        for message in QUOTED
        for part in re.split(r"…|\{\}", message)
        if part.strip() and part.strip() not in known
    ]
    assert [] == missing


@pytest.mark.parametrize("command", COMMAND)
def test_quoted_commands_have_their_options(command: str) -> None:
    """They are commands of `tale`, with options that these have."""
    found: click.Command = cli
    context = click.Context(cli)
    words = command.split()[1:]
    while words and isinstance(found, click.Group) and (sub := found.get_command(context, words[0])) is not None:
        found, words = sub, words[1:]
    assert found is not cli
    known = {option for param in found.params for option in param.opts}
    assert [] == [word for word in words if word.startswith("--") and word not in known]
    assert command.split()[1] in COMMANDS


async def test_first_look_works(tmp_path: Path) -> None:
    """With a story in the store."""
    async with house(tmp_path / "data") as it:
        target = it.servers["gateway"].address
        assert 0 == (await tale(target, tmp_path, "tell", "--name", "Mia", "--minutes", "1", "--no-narrate"))[0]
        for line in "".join(BLOCK).splitlines():
            code, _, err = await tale(target, tmp_path, *line.split()[1:])
            assert 0 == code, f"{line}: {err}"
