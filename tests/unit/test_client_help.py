"""What the `tale` command says of itself."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from tale_client.cli import COMMANDS, cli


def test_help_names_every_command() -> None:
    """`tale --help` lists all of them, in the order in which a newcomer needs them."""
    result = CliRunner().invoke(cli, ["--help"])
    section = result.output.partition("Commands:\n")[2].partition("\n\n")[0]
    listed = [line.split()[0] for line in section.splitlines() if line[2:3].isalpha()]
    assert 0 == result.exit_code
    assert list(COMMANDS) == listed


def _commands() -> Iterator[tuple[str, ...]]:
    for name in COMMANDS:
        yield (name,)
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            yield from ((name, each) for each in command.commands)


@pytest.mark.parametrize("names", list(_commands()), ids=" ".join)
def test_every_command_explains_itself(names: tuple[str, ...]) -> None:
    """Its help begins with its usage and a sentence, and explains every option."""
    result = CliRunner().invoke(cli, [*names, "--help"])
    assert 0 == result.exit_code
    assert result.output.startswith(f"Usage: cli {' '.join(names)} ")
    assert result.output.splitlines()[2].strip()
    assert "\\b" not in result.output
    command: click.Command | None = cli
    for name in names:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    assert command is not None
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert [] == [option.name for option in options if not option.help]


@pytest.mark.parametrize("names", list(_commands()), ids=" ".join)
def test_every_command_that_asks_a_gateway_speaks_json(names: tuple[str, ...]) -> None:
    """Where there is a target there is --json."""
    output = CliRunner().invoke(cli, [*names, "--help"]).output
    assert ("--target" in output) <= ("--json" in output)


def test_who_only_imports_the_client_or_asks_for_help_does_not_wait_for_grpc() -> None:
    """gRPC, protobuf and rich are loaded by those who use them."""
    program = (
        "import sys, tale_client, tale_client.cli;"
        "print([name for name in ('grpc', 'google.protobuf', 'rich', 'asyncio') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "[]" == result.stdout.strip()
