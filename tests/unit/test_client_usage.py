"""The help of the `tale` command, and how it refuses wrong usage."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tale_client.cli import COMMANDS, cli

ID = "0197a5a0-0000-7000-8000-000000000001"


def test_help_lists_every_command() -> None:
    """`tale --help` lists all commands in order."""
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
def test_help_of_every_command_explains_its_options(names: tuple[str, ...]) -> None:
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
def test_every_command_with_a_target_has_json(names: tuple[str, ...]) -> None:
    """A command with --target has --json."""
    output = CliRunner().invoke(cli, [*names, "--help"]).output
    assert ("--target" in output) <= ("--json" in output)


def test_import_of_the_client_and_help_do_not_load_grpc() -> None:
    """gRPC, protobuf and rich are loaded on first use."""
    program = (
        "import sys, tale_client, tale_client.cli;"
        "print([name for name in ('grpc', 'google.protobuf', 'rich', 'asyncio') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "[]" == result.stdout.strip()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--name NAME, or --child NAME|ID"),
        (("--name", "Mia", "--child", "Mia"), "--name NAME, or --child NAME|ID"),
        (("--child", "Mia", "--age", "6"), "`tale children update`"),
        (("--child", "Mia", "--interest", "owls"), "`tale children update`"),
        (("--name", "Mia", "--hero", "A", "--hero-name", "B"), "Name one hero"),
        (("--name", "Mia", "--hero-trait", "brave"), "--hero-name NAME"),
        (("--name", "Mia", "--kind", "combined"), "A combined story needs a hero. Add --hero"),
    ],
)
def test_contradicting_characters_are_wrong_usage(options: tuple[str, ...], said: str) -> None:
    """Exit code 2 before any call, and what to do instead."""
    result = CliRunner().invoke(cli, ["tell", "--target", "127.0.0.1:1", *options])
    assert 2 == result.exit_code
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tell", "--name", " "), "Give the child's first name"),
        (("tell", "--name", "Mia", "--out", "FILE/out"), "--out FILE/out is not usable"),
        (("narrate", ID, "--out", "FILE/out"), "--out FILE/out is not usable"),
        (("audio", ID, "--out", "FILE/x.mp3"), "--out FILE is not usable"),
        (("demo", "--name", ""), "Give the child's first name"),
        (("demo", "--minutes", "31"), "1<=x<=30"),
        (("demo", "--age", "0"), "1<=x<=18"),
        (("demo",), "TALE_DATA_DIR FILE is not usable"),
        (("up",), "TALE_DATA_DIR FILE is not usable"),
    ],
)
def test_wrong_values_are_refused_before_anything_starts(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 and what to do, before any call and before the cluster starts."""
    monkeypatch.chdir(tmp_path)
    Path("FILE").touch()
    monkeypatch.setenv("TALE_DATA_DIR", "FILE")
    monkeypatch.setenv("GATEWAY_TARGET", "127.0.0.1:1")
    result = CliRunner().invoke(cli, arguments)
    assert 2 == result.exit_code
    assert said in " ".join(result.output.split())
