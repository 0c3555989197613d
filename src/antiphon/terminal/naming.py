"""The dialogue with a server that asks for a name and no password: who are you, which of these, the wrong one.

How the server is reached and whether its key is trusted is `entry.py`'s; no connection is held while a person
types.
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
SAY_RENAME = "//name"
"""How to say the word that means a wrong name."""


class Naming:
    """One person's way in by name."""

    def __init__(
        self,
        console: Console,
        reach: Callable[[], Awaitable[SignIn]],
        hang_up: Callable[[], Awaitable[None]],
        *,
        takes_names: bool,
    ) -> None:
        """Use the connection that `reach` gives; `takes_names` says whether the server takes new names."""
        self._console = console
        self._reach = reach
        self._hang_up = hang_up
        self._takes_names = takes_names
        self.wrong = False
        """The person has said that the name is wrong: `enter_anew` is due when the talk has ended."""

    async def enter(self, name: str | None) -> Welcome:
        """Come in as `name`, else as whom the server knows here, else as the answer to a question."""
        name = await self._name() if name is None else prepare(name).display
        return await (await self._reach()).introduce(name)

    async def _name(self) -> str:
        known = await (await self._reach()).known()
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
        return await ask_name(console)

    async def _choose(self, known: list[str]) -> str:
        console, _ = self._console, self._console.translations.gettext
        console.tell(_("The server knows several names at this address:"))
        numbered = {str(number): name for number, name in enumerate(known, 1)}
        for number, name in numbered.items():
            console.tell(f"{number:>4}  {name}")
        question = _("Number, or a new name") if self._takes_names else _("Number")
        return await console.ask(question, lambda text: numbered.get(text) or prepare(text).display, "1")

    async def enter_anew(self, wrong: str) -> Welcome:
        """Ask for the right name, and whether the server is to forget the `wrong` one here; come in with it."""
        self.wrong = False
        console, _ = self._console, self._console.translations.gettext
        name = await console.ask(_("Your name"), prepare)
        respelled = name.key == prepare(wrong).key
        forgotten = respelled or await console.confirm(_("Forget “{name}” at this address?").format(name=wrong))
        return await (await self._reach()).introduce(name.display, instead_of=wrong if forgotten else None)

    async def heed(self, lines: AsyncIterator[Payload]) -> AsyncIterator[Payload]:
        """Yield what a person types until it says that the name is wrong."""
        async for line in lines:
            if line == RENAME:
                self.wrong = True
                return
            yield RENAME if line == SAY_RENAME else line


async def ask_name(console: Console) -> str:
    """Return the name that a person gives; the one on this machine is suggested.

    Raises:
        InputMissing: nobody can be asked.
    """
    _ = console.translations.gettext
    if not console.can_ask:
        raise InputMissing(what=_("The name"), how=_("--name, ANTIPHON_NAME or name@host"))
    return await console.ask(_("Name"), lambda text: prepare(text).display, _login_name())


def _login_name() -> str:
    """Return the person's name on this machine as a suggestion, if it can be one."""
    try:
        return prepare(os.environ.get("USER") or os.environ.get("USERNAME") or "").display
    except UsageError:
        return ""
