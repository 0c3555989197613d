"""`antiphon connect`: sign in to a server and talk."""

import asyncio
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from antiphon import streams
from antiphon.address import Address
from antiphon.cli.common_options import TalkOptions
from antiphon.cli.event_loop import run_loop
from antiphon.client.addresses import Addresses, read_places
from antiphon.client.aio.connect import session_on
from antiphon.errors import Problem, SettingInvalid, UsageError
from antiphon.identity.invitations import Code
from antiphon.identity.passwords import LONGEST, Password
from antiphon.language import N_
from antiphon.settings import ClientSettings
from antiphon.terminal.console import Console
from antiphon.terminal.line_loop import LineLoop, piped_lines
from antiphon.terminal.name_sign_in import NameSignIn
from antiphon.terminal.other_sessions import end_other_sessions
from antiphon.terminal.parse import read_password
from antiphon.terminal.password_change import InteractivePasswordChange
from antiphon.terminal.sign_in import InteractiveSignIn
from antiphon.terminal.signed_in import SignedIn
from antiphon.terminal.typed_lines import TypedLines

LINE_MOST = 4 * LONGEST
"""Longest line with a secret in bytes: a code point has at most 4 bytes in UTF-8."""

_ONE_WAY = Problem(N_("Give an address or an invitation, not both: an invitation holds the address."))


def connect(
    address: Annotated[
        str | None,
        Parameter(
            help="Such as tls://ann@host:7862, host:7862 or host, or an invitation; several nodes of one server "
            "with commas between them [default: asked]."
        ),
    ] = None,
    *,
    settings: Annotated[ClientSettings, Parameter(name="*", allow_leading_hyphen=True)] = ClientSettings(),
    common: TalkOptions = TalkOptions(),
) -> int:
    """Sign in to a server and talk: each line is sent, its answer printed.

    The server says what it wants for a sign-in: a name and a password, a name
    alone, or nothing. The password is asked for, or read from --password-file
    or the variable ANTIPHON_PASSWORD; it is never an argument. If the server
    requires a new one: --new-password-file or ANTIPHON_NEW_PASSWORD.

    "exit" alone on a line, Ctrl-D or the end of the input leaves; "//exit"
    sends the word itself. On a terminal, "/password" changes the password and
    "/end-others" ends your other sessions; "/name" corrects the name, if the
    server asks for nothing else.

    --explain shows every frame that goes over the connection, --explain=short
    in one line each. On a terminal, "/spoil TEXT" sends TEXT with a wrong token,
    to see it refused; "/help" names all that the prompt understands.

    Exit codes: 0 left politely, 1 other failure, 2 usage, 3 cannot connect,
    4 sign-in refused, 5 protocol or TLS, 6 timed out, 130 Ctrl-C.

    For example:
        antiphon connect
        antiphon connect ann@localhost
        antiphon connect 'tls://ann@localhost:7862#sha256:...'
        antiphon connect ann@localhost:7862,localhost:7863
        antiphon connect antiphon1://ann@localhost:7862/...
        seq 1 1000 | antiphon connect ann@localhost --password-file secret.txt
    """
    destination = destination_from(address, settings.invitation_file)
    password = password_from(settings.password_file)
    new = password_from(settings.new_password_file, "new-password")
    return run_loop(converse(common.console(), settings, destination, password, new), leaves=True)


def destination_from(address: str | None, invitation_file: str | None) -> Addresses | Code | None:
    """Return the addresses or the invitation that are given, or None if the person has to be asked.

    Raises:
        UsageError: both are given, or one of them is not valid.
    """
    invitation = invitation_from(invitation_file)
    if address and invitation:
        raise UsageError(problem=_ONE_WAY)
    return invitation or (read_places(address) if address else None)


def password_from(path: str | None, which: str = "password") -> Password | None:
    """Return the password in the file `path`, or else in the environment variable, or None.

    `which` is the name of the option without `-file`; the variable is named after it.

    Raises:
        UsageError: the file cannot be read, or is empty.
    """
    try:
        given = _secret_from(which, path)
    except UnicodeDecodeError:
        raise UsageError(problem=Problem(N_("The password given is not UTF-8."))) from None
    return None if given is None else read_password(given)


def invitation_from(path: str | None) -> Code | None:
    """Return the invitation in the file `path`, or else in `ANTIPHON_INVITATION`, or None.

    Raises:
        UsageError: the file cannot be read, or does not hold a complete invitation.
    """
    try:
        given = _secret_from("invitation", path)
    except UnicodeDecodeError:
        given = ""
    return None if given is None else Code.read(given)


def _secret_from(what: str, path: str | None) -> str | None:
    """Return the first line of the file `path`; without a path, the environment variable named after `what`."""
    if path is None:
        return os.environ.get("ANTIPHON_" + what.upper().replace("-", "_"))
    if path == "-" and sys.stdin.isatty():
        return None  # a prompt asks for it later, and hides what is typed
    try:
        line = _first_line(sys.stdin.fileno()) if path == "-" else _first_line_of(Path(path))
    except OSError as error:
        raise SettingInvalid(source=f"--{what}-file {path}", problem=error.strerror) from None
    return line.decode("utf-8-sig").rstrip("\r\n")


def _first_line_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return _first_line(file.fileno())


def _first_line(source: int) -> bytes:
    """Return the first line, without reading a byte beyond it: the next lines are messages."""
    line = b""
    while len(line) <= LINE_MOST and not line.endswith(b"\n") and (byte := streams.read_some(source, 1)):
        line += byte
    return line


async def converse(
    console: Console,
    settings: ClientSettings,
    destination: Address | Addresses | Code | None,
    password: Password | None,
    new: Password | None = None,
    *,
    on_refused: Callable[[str], None] | None = None,
) -> int:
    """Sign in, make a required password change (to `new`, if given), talk, and return the exit code.

    `on_refused` is called with the name when a password that a person has typed is refused.
    """
    _ = console.translations.gettext
    sign_in = InteractiveSignIn(console, settings, destination, password, on_refused=on_refused)
    try:
        signed_in = await sign_in.run()
        console.tell(_("Connected to {address}.").format(address=signed_in.dialled.connection.address))
        code = await _talk(console, settings, signed_in, sign_in.by_name, new, hints=True)
        while sign_in.by_name is not None and sign_in.by_name.name_is_wrong:
            signed_in = await sign_in.run_with_other_name(signed_in.welcome.name)
            code = await _talk(console, settings, signed_in, sign_in.by_name)
    except (asyncio.CancelledError, KeyboardInterrupt):
        if console.can_ask and console.answers_to_terminal:
            console.tell(_("You have left."))
        raise
    console.tell(_("You have left."))
    return code


async def _talk(
    console: Console,
    settings: ClientSettings,
    signed_in: SignedIn,
    by_name: NameSignIn | None,
    new: Password | None = None,
    *,
    hints: bool = False,
) -> int:
    """Print the greeting (and `hints` for a beginner), talk until the session ends; return the exit code."""
    _ = console.translations.gettext
    async with session_on(
        signed_in.addresses,
        signed_in.known,
        signed_in.dialled,
        signed_in.welcome,
        timeout=settings.timeout,
        give_up=settings.give_up,
        language=console.language,
    ) as session:
        console.tell(session.info.greeting)
        loop = LineLoop(console, session)
        change = None
        if signed_in.password is not None:
            change = InteractivePasswordChange(console, session, settings.timeout, old=signed_in.password, new=new)
            if signed_in.welcome.must_change:
                await change.required()
        if not (console.can_ask and console.answers_to_terminal):
            return await loop.run(piped_lines())
        lines = TypedLines(
            console,
            session.info.name,
            spoil=loop.send_spoiled,
            change=change.requested if change else None,
            end_others=partial(end_other_sessions, console, session) if session.can_end_others else None,
            renames=by_name is not None,
        ).lines()
        if hints and by_name is not None:
            console.tell(_("If that is not your name, type /name."))
        if hints:
            console.tell(_("Type a line and press Enter; exit leaves. /help shows what else there is."))
        return await loop.run(lines if by_name is None else by_name.until_rename(lines))
