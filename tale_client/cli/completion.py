"""`tale completion`."""

from typing import Final

import click
from click.shell_completion import get_completion_class

SHELLS: Final = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print a script that lets SHELL complete `tale`: its commands, options and their values.

    \b
    For this shell:      source <(tale completion bash)
    For every new bash:  tale completion bash > ~/.local/share/bash-completion/completions/tale
    For every new zsh:   tale completion zsh > a folder of $fpath, as _tale
    For every new fish:  tale completion fish > ~/.config/fish/completions/tale.fish
    """  # noqa: D301 - click wants the control character itself
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"{shell} is none of {', '.join(SHELLS)}.")
    click.echo(kind(ctx.find_root().command, {}, "tale", "_TALE_COMPLETE").source())
