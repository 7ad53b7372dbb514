"""The `tale` command."""

from importlib import import_module
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# Name -> where it is and what `tale --help` says of it. Commands are imported when they are used: gRPC takes a while.
COMMANDS: Final = {
    "tell": ("tale_client.cli.tell", "Tell a new story: text as it is written, audio into a file."),
    "list": ("tale_client.cli.browse", "List kept stories, newest first."),
    "show": ("tale_client.cli.browse", "Show a kept story."),
    "audio": ("tale_client.cli.browse", "Write the audio of a kept story to a file."),
    "watch": ("tale_client.cli.follow", "Follow a story that is being made."),
    "narrate": ("tale_client.cli.follow", "Tell a kept story aloud again, or in another voice."),
    "retry": ("tale_client.cli.follow", "Let a FAILED story go on from what it has."),
    "cancel": ("tale_client.cli.change", "Stop a story that is being made."),
    "rate": ("tale_client.cli.change", "Say how a story was liked, 1 to 10."),
    "delete": ("tale_client.cli.change", "Remove a story with its audio."),
    "children": ("tale_client.cli.profiles", "Keep children, and ask for stories by their name."),
    "heroes": ("tale_client.cli.profiles", "Keep heroes, and let stories be about them."),
    "voices": ("tale_client.cli.catalogue", "Show who can speak: providers and their voices."),
    "models": ("tale_client.cli.catalogue", "Show which models can write."),
    "status": ("tale_client.cli.status", "Show every service, what is embedded, and what brings the real parts."),
    "circuits": ("tale_client.cli.status", "Show the circuit breakers of every service, and reset one."),
    "up": ("tale_cluster.commands", "Run all services in this terminal."),
    "demo": ("tale_cluster.commands", "Start the services, create one story, and stop the services."),
    "completion": ("tale_client.cli.completion", "Print a script that lets the shell complete `tale`."),
}


_CLUSTER: Final = "tale_cluster"
"""The package that starts the services. It is not part of this distribution."""


def _without_cluster(name: str) -> click.Command:
    """Returns a command that says how to get `tale up` and `tale demo`."""
    message = (
        f"`tale {name}` starts the services, which are not installed with the client. Get the source of the tale"
        " generator and run `make setup` there, or start the services with docker compose."
    )

    @click.command(name, context_settings={"ignore_unknown_options": True}, help=message)
    @click.argument("ignored", nargs=-1, type=click.UNPROCESSED)
    def command(ignored: tuple[str, ...]) -> None:
        del ignored
        raise click.ClickException(message)

    return command


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        try:
            module = import_module(COMMANDS[cmd_name][0])
        except ModuleNotFoundError as error:
            if error.name != _CLUSTER:
                raise
            return _without_cluster(cmd_name)
        command = getattr(module, f"{cmd_name}_command")
        return command if isinstance(command, click.Command) else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem"]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only when a shell asks

        # click would import every command for its help.
        own = [CompletionItem(name, help=said) for name, (_, said) in COMMANDS.items() if name.startswith(incomplete)]
        return own + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, said) for name, (_, said) in COMMANDS.items()])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or a refused value, 3 the story is there but the audio asked"
    " for is not, 130 interrupted.",
)
@click.version_option(package_name="tale-client", prog_name="tale")
def cli() -> None:
    """Bedtime stories for one particular child, written and told aloud.

    \b
    Try it at once, with no key and nothing running:
        tale demo --name Mia --age 6 --interests "dragons, the sea"
    Or run a cluster in one terminal and ask it from another:
        tale up
        tale tell --name Mia --age 6 --interest dragons --moral kindness
    """  # noqa: D301 - click wants the control character itself


def main() -> None:
    """Runs the command line."""
    from tale_client.cli.terminal import prepare_streams  # noqa: PLC0415 - keeps `import tale_client.cli` light

    prepare_streams()
    cli.main(prog_name="tale")
