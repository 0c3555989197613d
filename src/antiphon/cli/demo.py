"""`antiphon demo`: a server and a client in one process, to try Antiphon."""

import asyncio
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from antiphon.address import Address
from antiphon.cli.common_options import TalkOptions
from antiphon.cli.connect import converse, password_from
from antiphon.cli.event_loop import run_loop
from antiphon.cli.store_access import DEMO_FOLDER
from antiphon.data.certificate import load_or_make
from antiphon.data.folder import DataFolder, data_folder
from antiphon.errors import AntiphonError, OutputFailed, SignInRefused, StoreTaken
from antiphon.identity.passwords import Password
from antiphon.server.server import Server
from antiphon.services import echo
from antiphon.settings import PASSWORD_MINIMUM_LEAST, Access, ClientSettings, Explain, ServerSettings
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
        Explain,
        Parameter(
            help="Show each frame sent or received, in words and in bytes, on standard error. "
            "--explain alone is yes; --explain=short: in one line each."
        ),
    ] = "no",
    common: TalkOptions = TalkOptions(),
) -> int:
    r"""Start a server on this machine and talk to it; it stops when you leave.

    The server remembers you: the second time it greets you by name.

    For example:
        antiphon demo
        antiphon demo --access identify
        printf 'hello\n' | ANTIPHON_NAME=ann ANTIPHON_PASSWORD=... antiphon demo
    """
    folder = data or data_folder() / DEMO_FOLDER
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
    forgotten = _Forgotten(console, settings)
    try:
        async with Server(echo, settings, language=console.language) as server:
            address = server.addresses[0]
            console.tell(_("A server has started at {address}").format(address=address))
            console.tell(_("It keeps its files in {path}").format(path=server.data_path))
            console.tell(_("(accounts.csv and clients.txt there hold what it remembers)"))
            console.tell(_("and its log in {path}").format(path=server.log_path))
            code = await _converse(console, client, address, password, forgotten)
    except (asyncio.CancelledError, KeyboardInterrupt):
        if console.can_ask:
            console.tell(_("The server has stopped."))
        raise
    except StoreTaken as error:
        running = _running(settings)
        if running is None:
            raise
        console.tell(error.text(_))
        console.tell(_("Join that one with"))
        console.tell_to_copy(f"{_antiphon()} connect {shlex.quote(str(running))}")
        return error.exit_code
    console.tell(_("The server has stopped."))
    return code


async def _converse(
    console: Console, client: ClientSettings, address: Address, password: Password | None, forgotten: "_Forgotten"
) -> int:
    """Talk and return the exit code; tell a failure here, before the server stops."""
    try:
        return await converse(console, client, address, password, on_refused=forgotten.tell)
    except OutputFailed:
        raise
    except AntiphonError as error:
        console.tell_error(error)
        if isinstance(error, SignInRefused) and client.name:
            forgotten.tell(client.name)
        console.tell(console.translations.gettext("You have left."))
        return error.exit_code


class _Forgotten:
    """Tells a person whose password was refused, once, how to set a new one: they are the demo's operator too."""

    def __init__(self, console: Console, settings: ServerSettings) -> None:
        self._console = console
        self._folder = str(settings.data)
        self._told = False

    def tell(self, name: str) -> None:
        """Print the command that sets a new password for `name`."""
        if not self._told:
            self._told = True
            self._console.tell(self._console.translations.gettext("If you have forgotten it, set a new one with"))
            words = ["accounts", "password", name, "--data", self._folder]
            self._console.tell_to_copy(" ".join([_antiphon(), *map(shlex.quote, words)]))


def _running(settings: ServerSettings) -> Address | None:
    """Return the address, with its fingerprint, of the server that uses the demo's folder; None if not known."""
    folder = DataFolder.open(settings.data)
    address = folder.last_address
    if address is None or address.scheme == "tcp":
        return address
    return replace(address, fingerprint=load_or_make(folder, [address.host]).fingerprint)


def _antiphon() -> str:
    """Return the word that runs this program from the person's folder, as they have typed it or make has."""
    typed = sys.argv[0]
    if Path(typed).name != "antiphon":  # python -m antiphon
        return "antiphon"
    found = shutil.which("antiphon")
    return "antiphon" if found and Path(found).samefile(typed) else shlex.quote(typed)
