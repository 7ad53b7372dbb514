"""What the `tale` command says of itself."""

import subprocess
import sys

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


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    """Its help begins with a sentence and explains every option."""
    result = CliRunner().invoke(cli, [name, "--help"])
    assert 0 == result.exit_code
    assert result.output.startswith(f"Usage: cli {name} ")
    command = cli.commands.get(name) or cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert [] == [param.name for param in command.params if param.param_type_name == "option" and not param.help]


def test_who_only_imports_the_client_or_asks_for_help_does_not_wait_for_grpc() -> None:
    """gRPC, protobuf and rich are loaded by those who use them."""
    program = (
        "import sys, tale_client, tale_client.cli;"
        "print([name for name in ('grpc', 'google.protobuf', 'rich', 'asyncio') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "[]" == result.stdout.strip()
