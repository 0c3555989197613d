"""`antiphon demo`: a server and a client in one process, to try Antiphon."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from antiphon.cli.common_options import TalkOptions
from antiphon.cli.connect import converse, password_from
from antiphon.cli.event_loop import run_loop
from antiphon.data.folder import data_folder
from antiphon.identity.passwords import Password
from antiphon.server.server import Server
from antiphon.services import echo
from antiphon.settings import PASSWORD_MINIMUM_LEAST, Access, ClientSettings, ServerSettings
from antiphon.terminal.console import Console


def demo(
    *,
    data: Annotated[
        Path | None,
        Parameter(help="Folder of the demo, kept for the next time [default: demo in this user's data folder]."),
    ] = None,
    name: Annotated[str | None, Parameter(help="Your name [default: asked].")] = None,
    password_file: Annotated[
        str | None,
        Parameter(help="File whose first line is the password; - for standard input.", allow_leading_hyphen=True),
    ] = None,
    access: Annotated[
        Access,
        Parameter(help="Who is let in: people who prove their name, who give a name (identify), or anyone."),
    ] = "authenticate",
    explain: Annotated[
        bool,
        Parameter(help="Show each frame sent or received, in words and in bytes, on standard error.", negative=()),
    ] = False,
    common: TalkOptions = TalkOptions(),
) -> int:
    r"""Start a server on this machine and talk to it; it stops when you leave.

    The server remembers you: the second time it greets you by name.

    For example:
        antiphon demo
        antiphon demo --access identify
        printf 'hello\n' | ANTIPHON_NAME=ann ANTIPHON_PASSWORD=... antiphon demo
    """
    folder = data or data_folder() / "demo"
    console = common.console()
    client = ClientSettings(
        name=name,
        password_file=password_file,
        register=not console.can_ask,
        known_servers=folder / "known_servers",
        explain=explain,
    )
    password = password_from(password_file) if access == "authenticate" else None
    server = ServerSettings(
        data=folder,
        store=f"files:{folder}",
        access=access,
        log_level="debug",
        password_minimum=PASSWORD_MINIMUM_LEAST,
    )
    return run_loop(_demo(console, server, client, password), fast=True, leaves=True)


async def _demo(
    console: Console, settings: ServerSettings, client: ClientSettings, password: Password | None
) -> int:
    _ = console.translations.gettext
    async with Server(echo, settings, language=console.language) as server:
        address = server.addresses[0]
        console.tell(_("A server has started at {address}").format(address=address))
        console.tell(_("It keeps its files in {path}").format(path=server.data_path))
        console.tell(_("(accounts.csv and clients.txt there hold what it remembers)"))
        console.tell(_("and its log in {path}").format(path=server.log_path))
        code = await converse(console, client, address, password)
    console.tell(_("The server has stopped."))
    return code
