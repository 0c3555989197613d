"""`antiphon connect`: sign in, and talk."""

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from antiphon.address import Address
from antiphon.cli.common import Common, run_loop
from antiphon.client.aio.connect import session_on
from antiphon.errors import Problem, SettingInvalid, UsageError
from antiphon.identity.invitations import Code, read_place
from antiphon.identity.passwords import LONGEST, Password
from antiphon.language import N_
from antiphon.settings import ClientSettings
from antiphon.terminal.change import Change
from antiphon.terminal.console import Console
from antiphon.terminal.entry import Entered, Entry, read_password
from antiphon.terminal.naming import Naming
from antiphon.terminal.talk import Talk, piped_lines

LINE_MOST = 4 * LONGEST
"""Bytes of a secret's line: more in UTF-8 than any password has."""

_ONE_WAY = Problem(N_("Give an address or an invitation, not both: an invitation holds the address."))


def connect(
    address: Annotated[
        str | None,
        Parameter(help="Such as tls://ann@host:7862, host:7862 or host, or an invitation [default: asked]."),
    ] = None,
    *,
    settings: Annotated[ClientSettings, Parameter(name="*", allow_leading_hyphen=True)] = ClientSettings(),
    common: Common = Common(),
) -> int:
    """Sign in to a server and talk: a line in, its answer out.

    A server may ask for no more than a name, or for nothing at all: it says so
    itself. Where a name is all, "/name" says that it is the wrong one.

    "exit" alone on a line, Ctrl-D or the end of the input leaves; "//exit" says
    the word itself. "/password" on a terminal changes the password. The password
    is asked for, or comes from --password-file or the variable ANTIPHON_PASSWORD;
    it is never an argument. A new one that the server asks for likewise, from
    --new-password-file or ANTIPHON_NEW_PASSWORD.

    --explain shows what goes over the socket. "/spoil TEXT" on a terminal sends
    TEXT with a wrong token, to see it refused.

    Exit codes: 0 left politely, 1 other failure, 2 usage, 3 cannot connect,
    4 sign-in refused, 5 protocol or TLS, 6 timed out, 130 Ctrl-C.

    For example:
        antiphon connect
        antiphon connect ann@localhost
        antiphon connect 'tls://ann@localhost:7862#sha256:...'
        antiphon connect antiphon1://ann@localhost:7862/...
        seq 1 1000 | antiphon connect ann@localhost --password-file secret.txt
    """
    place = place_from(address, settings.invitation_file)
    password = password_from(settings.password_file)
    new = password_from(settings.new_password_file, "new-password")
    return run_loop(converse(common.console(), settings, place, password, new))


def place_from(address: str | None, invitation_file: str | None) -> Address | Code | None:
    """Return where to go, by the argument or by an invitation; None where a person is to be asked.

    Raises:
        UsageError: both are given, or what is given cannot be read.
    """
    invitation = invitation_from(invitation_file)
    if address and invitation:
        raise UsageError(problem=_ONE_WAY)
    return invitation or (read_place(address) if address else None)


def password_from(path: str | None, which: str = "password") -> Password | None:
    """Return the password of `--password-file`, which names `path`, else of the environment, else None.

    `which` is the option's name without `-file`.

    Raises:
        UsageError: the file cannot be read, or is empty.
    """
    try:
        given = _secret_from(which, path)
    except UnicodeDecodeError:
        raise UsageError(problem=Problem(N_("The password given is not UTF-8."))) from None
    return None if given is None else read_password(given)


def invitation_from(path: str | None) -> Code | None:
    """Return the invitation of `--invitation-file`, which names `path`, else of the environment, else None.

    Raises:
        UsageError: the file cannot be read, or holds no whole invitation.
    """
    try:
        given = _secret_from("invitation", path)
    except UnicodeDecodeError:
        given = ""
    return None if given is None else Code.read(given)


def _secret_from(what: str, path: str | None) -> str | None:
    """Return the first line of the file `path`, else the variable that is called for `what`."""
    if path is None:
        return os.environ.get("ANTIPHON_" + what.upper().replace("-", "_"))
    if path == "-" and sys.stdin.isatty():
        return None  # what is typed is asked for, where it can be hidden
    try:
        line = _first_line(sys.stdin.fileno()) if path == "-" else _first_line_of(Path(path))
    except OSError as error:
        raise SettingInvalid(source=f"--{what}-file {path}", problem=error.strerror) from None
    return line.decode().rstrip("\r\n")


def _first_line_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return _first_line(file.fileno())


def _first_line(source: int) -> bytes:
    """Return the first line and read not a byte more: what follows are messages."""
    line = b""
    while len(line) <= LINE_MOST and not line.endswith(b"\n") and (byte := os.read(source, 1)):
        line += byte
    return line


async def converse(
    console: Console,
    settings: ClientSettings,
    place: Address | Code | None,
    password: Password | None,
    new: Password | None = None,
) -> int:
    """Sign in, change a password that must be changed (to `new`, if given), talk, and return the exit code."""
    _ = console.translations.gettext
    entry = Entry(console, settings, place, password)
    entered = await entry.enter()
    console.tell(_("Connected to {address}.").format(address=entered.dialled.connection.address))
    code = await _talk(console, settings, entered, entry.naming, new, hints=True)
    while entry.naming is not None and entry.naming.wrong:
        entered = await entry.enter_anew(entered.welcome.name)
        code = await _talk(console, settings, entered, entry.naming)
    console.tell(_("You have left."))
    return code


async def _talk(
    console: Console,
    settings: ClientSettings,
    entered: Entered,
    naming: Naming | None,
    new: Password | None = None,
    *,
    hints: bool = False,
) -> int:
    """Greet, talk until the end of one session, and return the exit code; `hints` says how to go on."""
    _ = console.translations.gettext
    async with session_on(
        entered.address,
        entered.known,
        entered.dialled,
        entered.welcome,
        timeout=settings.timeout,
        give_up=settings.give_up,
        language=console.language,
    ) as session:
        console.tell(session.info.greeting)
        talk = Talk(console, session)
        change = None
        if entered.password is not None:
            change = Change(console, session, settings.timeout, old=entered.password, new=new)
            if entered.welcome.must_change:
                await change.due()
        if not (console.can_ask and console.answers_to_terminal):
            return await talk.run(piped_lines())
        lines = talk.typed_lines(f"{session.info.name}> ", change.wanted if change else None)
        if hints and naming is not None:
            console.tell(_("If that is not your name, type /name."))
        if hints:
            console.tell(_("Type a line and press Enter; exit leaves."))
        return await talk.run(lines if naming is None else naming.heed(lines))
