"""`antiphon man`: write the manual pages."""

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from antiphon.cli.common_options import CommonOptions
from antiphon.errors import FileUnusable, Problem, UsageError
from antiphon.files import reported
from antiphon.language import N_

_NO_FOLDER = Problem(N_("There is no folder {path}. Make it ({command}), or name another one."))


def man(
    folder: Annotated[Path, Parameter(help="A folder of manuals; the pages go into man1 in it.", name="FOLDER")],
    /,
    *,
    common: CommonOptions = CommonOptions(),
) -> int:
    """Write the manual pages, one for each command, into a folder that is there.

    For example:
        sudo antiphon man /usr/local/share/man
        antiphon man ~/.local/share/man
    """
    from antiphon.cli.main import app  # noqa: PLC0415 - which names this module
    from antiphon.cli.reference.declaration import declared  # noqa: PLC0415 - it imports every command
    from antiphon.cli.reference.man_page import pages  # noqa: PLC0415

    console = common.console()
    written = 0
    if not folder.is_dir():
        raise UsageError(problem=_NO_FOLDER, path=folder, command=shlex.join(["mkdir", "-p", str(folder)]))
    place = folder / "man1"
    with reported(place, FileUnusable):
        place.mkdir(exist_ok=True)
        place.chmod(0o755)  # everybody may read manuals, whatever the umask
        for name, text in pages(declared(app)):
            (place / name).write_text(text, "utf-8")
            (place / name).chmod(0o644)
            written += 1
    said = console.translations.gettext("Manual pages written to {path}: {count}.")
    console.tell(said.format(path=place, count=written))
    return 0
