"""`numaplace completion`: what a shell needs to complete our commands."""

from __future__ import annotations

import click

_INSTALL = {
    "bash": 'eval "$(numaplace completion bash)"            # in ~/.bashrc',
    "zsh": 'eval "$(numaplace completion zsh)"             # in ~/.zshrc',
    "fish": "numaplace completion fish | source              # in ~/.config/fish/config.fish",
}


@click.command(epilog="\b\nTo install:\n" + "\n".join(f"  {line}" for line in _INSTALL.values()))
@click.argument("shell", type=click.Choice(list(_INSTALL)))
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    from scheduler.cli.main import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise click.BadParameter(f"click knows no completion for {shell}")
    click.echo(kind(cli, {}, "numaplace", "_NUMAPLACE_COMPLETE").source())
