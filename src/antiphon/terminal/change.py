"""A person changes the password inside an open session: because they want to, or because they must."""

from antiphon.blocklist import common_passwords
from antiphon.client.aio.password_change import PasswordChange
from antiphon.client.aio.session import ClientSession
from antiphon.errors import AntiphonError, PasswordDue, UsageError
from antiphon.identity.passwords import Password, check
from antiphon.terminal.console import Console
from antiphon.terminal.newpassword import new_password


class Change:
    """What is asked and told of a change of password, of one account."""

    def __init__(
        self,
        console: Console,
        session: ClientSession,
        seconds: float,
        *,
        old: Password,
        new: Password | None,
    ) -> None:
        """Change the password of the account of `session`; each step may take `seconds`.

        `old` is the one that was proved at the sign-in; `new` is given for the case that it must be changed.
        """
        self._console = console
        self._session = session
        self._name = session.info.name
        self._seconds = seconds
        self._old = old
        self._new = new

    async def wanted(self) -> None:
        """Ask for the old password and the new one; Ctrl-C, Ctrl-D and no old one leave everything as it was.

        A refusal is told, and the conversation goes on.
        """
        console, _ = self._console, self._console.translations.gettext
        try:
            old = Password(await console.ask_secret(_("Old password")))
            if old.text:
                await self._change(old, None)
                return
        except (KeyboardInterrupt, UsageError):
            pass
        except AntiphonError as error:
            if self._session.connection.closed.done():  # `closed` says why
                return
            console.tell_error(error)
        console.tell(_("The password was not changed."))

    async def due(self) -> None:
        """Replace the password, which must be changed, by the one that was given, or else is asked for.

        Raises:
            PasswordDue: none is given, and nobody can be asked.
            PasswordInvalid: the one that is given cannot be chosen.
            AntiphonError: the server refused the change.
        """
        console, _ = self._console, self._console.translations.gettext
        old, new = self._old, self._new
        if new is not None:
            minimum = (await self._session.connection.hello()).password_minimum
            check(new.text, minimum, name=self._name, common=common_passwords(), old=old)
        elif console.can_ask:
            console.tell(_("A new password must be chosen before anything else."))
        else:
            raise PasswordDue
        await self._change(old, new)

    async def _change(self, old: Password, new: Password | None) -> None:
        """Prove the old one first: nobody thinks up a new one in vain."""
        console, _ = self._console, self._console.translations.gettext
        change = PasswordChange(self._session.connection, self._name, self._seconds)
        await change.prove(old)
        if new is None:
            minimum = (await self._session.connection.hello()).password_minimum
            console.tell(
                _(
                    "Think up a password of {minimum} characters or more, "
                    "or press Enter for a passphrase made for you."
                ).format(minimum=minimum)
            )
            new = await new_password(console, minimum, self._name, old)
        await change.choose(new)
        console.tell(_("The password is changed; your other sessions have ended."))
