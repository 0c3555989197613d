"""`antiphon completions`: print a script that completes the commands in a shell."""

from typing import Annotated, Literal

from cyclopts import Parameter

from antiphon import streams
from antiphon.cli.common_options import CommonOptions

Shell = Literal["bash", "zsh", "fish"]


def completions(
    shell: Annotated[Shell, Parameter(help="The shell that is to read it.")],
    /,
    *,
    common: CommonOptions = CommonOptions(),
) -> int:
    """Print a script with which a shell completes commands, options, their values and files.

    docs/operating.md says where each shell looks for it.

    For example:
        antiphon completions bash
        antiphon completions zsh >_antiphon
        antiphon completions fish >antiphon.fish
    """
    from antiphon.cli.main import app  # noqa: PLC0415 - which names this module
    from antiphon.cli.reference import bash, fish, zsh  # noqa: PLC0415 - they import every command
    from antiphon.cli.reference.declaration import declared  # noqa: PLC0415

    common.console()
    script = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}[shell]
    streams.stdout.write(script(declared(app)))
    return 0
