"""`spell completion`: what a shell needs to complete commands, options and their values."""

from typing import Final

import click
from click.shell_completion import get_completion_class
from rich_click import RichCommand

SHELLS: Final = ("bash", "zsh", "fish")
_PROGRAM: Final = "spell"
_VARIABLE: Final = "_SPELL_COMPLETE"


@click.command(cls=RichCommand)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion of SHELL.

    bash: add `eval "$(spell completion bash)"` to ~/.bashrc; zsh: `eval "$(spell completion zsh)"` to ~/.zshrc;
    fish: `spell completion fish > ~/.config/fish/completions/spell.fish`.
    """
    maker = get_completion_class(shell)
    assert maker is not None, "every shell of the list is known to click"
    click.echo(maker(context.find_root().command, {}, _PROGRAM, _VARIABLE).source())
