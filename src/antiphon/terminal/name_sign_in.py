"""Sign-in by name alone, for servers that ask for no password: find the name, or ask for it, or correct it.

`sign_in.py` connects and checks the server's key. No connection is held while a person types.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable

from antiphon.client.aio.sign_in import SignIn
from antiphon.errors import InputMissing, NameAmbiguous, RegistrationClosed, UsageError
from antiphon.identity.names import prepare
from antiphon.terminal.console import Console
from antiphon.wire.bodies import Welcome
from antiphon.wire.frames import Payload

RENAME = "/name"
ESCAPED_RENAME = "//name"
"""Sends the text `/name` itself."""


class NameSignIn:
    """The sign-in of one person by name."""

    def __init__(
        self,
        console: Console,
        connect: Callable[[], Awaitable[SignIn]],
        hang_up: Callable[[], Awaitable[None]],
        *,
        takes_names: bool,
        last: str,
        replace: bool = False,
    ) -> None:
        """Use the connection that `connect` returns; `takes_names` says whether the server takes new names.

        `last` is the name used last, or empty; `replace` is as in `SignInSteps.introduce`.
        """
        self._console = console
        self._connect = connect
        self._hang_up = hang_up
        self._takes_names = takes_names
        self._replace = replace
        self._last = last
        self.name_is_wrong = False
        """The person typed `/name`: call `run_with_other_name` after this session has ended."""

    async def run(self, name: str | None) -> Welcome:
        """Sign in as `name`, or else as the name that the server knows at this address or the person chooses."""
        name = await self._known_or_asked_name() if name is None else prepare(name).display
        return await (await self._connect()).introduce(name, replace=self._replace)

    async def _known_or_asked_name(self) -> str:
        known = await (await self._connect()).known()
        if len(known) == 1:
            return known[0]
        console, _ = self._console, self._console.translations.gettext
        if known and not console.can_ask:
            raise NameAmbiguous(names=", ".join(known))
        if not known and not self._takes_names:
            raise RegistrationClosed
        if console.can_ask:
            await self._hang_up()
        if known:
            return await self._choose(known)
        if console.can_ask:
            console.tell(_("The server does not know this address yet."))
        return await ask_name(console, self._last)

    async def _choose(self, known: list[str]) -> str:
        console, _ = self._console, self._console.translations.gettext
        console.tell(_("The server knows several names at this address:"))
        numbered = {str(number): name for number, name in enumerate(known, 1)}
        for number, name in numbered.items():
            console.tell(f"{number:>4}  {name}")
        question = _("Number, or a new name") if self._takes_names else _("Number")
        return await console.ask(question, lambda text: numbered.get(text) or prepare(text).display, "1")

    async def run_with_other_name(self, wrong: str) -> Welcome:
        """Ask for the right name, and whether to forget the `wrong` one at this address; sign in again."""
        self.name_is_wrong = False
        console, _ = self._console, self._console.translations.gettext
        name = await console.ask(_("Your name"), prepare)
        respelled = name.key == prepare(wrong).key
        forget = respelled or await console.confirm(_("Forget “{name}” at this address?").format(name=wrong))
        return await (await self._connect()).introduce(
            name.display, instead_of=wrong if forget else None, replace=self._replace
        )

    async def until_rename(self, lines: AsyncIterator[Payload]) -> AsyncIterator[Payload]:
        """Yield the lines that a person types, up to `/name`."""
        async for line in lines:
            if line == RENAME:
                self.name_is_wrong = True
                return
            yield RENAME if line == ESCAPED_RENAME else line


async def ask_name(console: Console, last: str) -> str:
    """Ask for a name and return it; the default is the `last` one, if there is one, else the login name.

    Raises:
        InputMissing: nobody can be asked.
    """
    _ = console.translations.gettext
    if not console.can_ask:
        raise InputMissing(what=_("The name"), how=_("--name, ANTIPHON_NAME or name@host"))
    return await console.ask(_("Name"), lambda text: prepare(text).display, last or _login_name())


def _login_name() -> str:
    """Return the login name, or an empty string if it is not a valid name."""
    try:
        return prepare(os.environ.get("USER") or os.environ.get("USERNAME") or "").display
    except UsageError:
        return ""
