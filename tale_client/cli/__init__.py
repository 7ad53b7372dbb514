"""The `tale` command."""

from importlib import import_module
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# Name -> its module and its line in `tale --help`. A module is imported when its command is used: gRPC loads slowly.
COMMANDS: Final = {
    "tell": ("tale_client.cli.tell", "Create a story: text while it is written, audio into a file."),
    "list": ("tale_client.cli.stories", "List stored stories, newest first."),
    "show": ("tale_client.cli.stories", "Show a stored story."),
    "audio": ("tale_client.cli.stories", "Write the audio of a stored story to a file."),
    "watch": ("tale_client.cli.tell", "Follow a story that is being made."),
    "narrate": ("tale_client.cli.tell", "Narrate a stored story again, or in another voice."),
    "retry": ("tale_client.cli.tell", "Continue a FAILED story."),
    "cancel": ("tale_client.cli.stories", "Stop a story that is being made."),
    "rate": ("tale_client.cli.stories", "Rate a story, 1 to 10."),
    "delete": ("tale_client.cli.removing", "Delete stories and their audio."),
    "children": ("tale_client.cli.erasing", "Save children for stories."),
    "feed": ("tale_client.cli.profiles", "Print the URL of a podcast feed with a child's stories."),
    "heroes": ("tale_client.cli.profiles", "Save heroes for stories."),
    "voices": ("tale_client.cli.cluster", "Show voice providers and voices."),
    "models": ("tale_client.cli.cluster", "Show models that can write stories."),
    "status": (
        "tale_client.cli.cluster",
        "Show all services, their embedded parts, and the settings that replace them.",
    ),
    "circuits": ("tale_client.cli.cluster", "Show the circuit breakers of all services, and reset one."),
    "usage": ("tale_client.cli.cluster", "Show what you used by day: stories, characters, tokens, US dollars."),
    "up": ("tale_cluster.commands", "Run all services in this terminal."),
    "demo": ("tale_cluster.commands", "Start the services, create one story, and stop the services."),
    "keys": ("tale_cluster.commands", "Make, list and revoke API keys of the gateway."),
    "completion": ("tale_client.cli", "Print a script for shell completion of `tale`."),
}

_CLUSTER: Final = "tale_cluster"
"""The package that starts the services. It is not part of this distribution."""
_SHELLS: Final = ("bash", "zsh", "fish")
_ONE_WORD: Final = (
    """[[ ${COMP_WORDS[COMP_CWORD]} == [\\"\\']* ]] || printf -v value %q "$value"; COMPREPLY+=("$value")"""
)


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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click, which knows no name of a command that is not imported."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem"]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only when a shell asks

        # click would import every command for its help.
        own = [CompletionItem(name, help=line) for name, (_, line) in COMMANDS.items() if name.startswith(incomplete)]
        return own + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 success, 1 failure, 2 wrong usage or a refused value, 3 the requested audio is missing,"
    " 130 interrupted.",
)
@click.version_option(package_name="tale-client", prog_name="tale")
def cli() -> None:
    """Bedtime stories for one particular child, as text and audio.

    \b
    Try it, with no key and nothing running:
        tale demo --name Mia --age 6 --interests "dragons, the sea"
    Or run the services in one terminal and use them from another:
        tale up
        tale tell --name Mia --age 6 --interest dragons --moral kindness
    """  # noqa: D301 - click wants the control character itself


@click.command("completion")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print a script with which SHELL completes the commands, options and values of `tale`.

    \b
    For this shell:      source <(tale completion bash)
    For every new bash:  tale completion bash > ~/.local/share/bash-completion/completions/tale
    For every new zsh:   tale completion zsh > a folder of $fpath, as _tale
    For every new fish:  tale completion fish > ~/.config/fish/completions/tale.fish
    """  # noqa: D301 - click wants the control character itself
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - only when a shell asks

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"{shell} is not supported. Use one of {', '.join(_SHELLS)}.")
    source = kind(ctx.find_root().command, {}, "tale", "_TALE_COMPLETE").source()
    # click's script for bash takes a title or name with blanks for several words.
    click.echo(source.replace("COMPREPLY+=($value)", _ONE_WORD))


def main() -> None:
    """Runs the command line."""
    from tale_client.cli.terminal import prepare_streams  # noqa: PLC0415 - keeps `import tale_client.cli` light

    prepare_streams()
    cli.main(prog_name="tale")
