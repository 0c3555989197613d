"""Password change of a person in an open session, on request or because the server requires it."""

from antiphon.blocklist import common_passwords
from antiphon.client.aio.password_change import PasswordChange
from antiphon.client.aio.session import ClientSession
from antiphon.errors import AntiphonError, ChangeUnknown, PasswordDue, UsageError
from antiphon.identity.passwords import Password, check
from antiphon.terminal.console import Console
from antiphon.terminal.password_prompt import ask_new_password


class InteractivePasswordChange:
    """Asks for the passwords, changes them on the server, and tells the outcome."""

    def __init__(
        self,
        console: Console,
        session: ClientSession,
        seconds: float,
        *,
        old: Password,
        new: Password | None,
    ) -> None:
        """Change the password of the account of `session`; each request may take `seconds`.

        `old` is the password of the sign-in; `new` is used, if given, when a change is required.
        """
        self._console = console
        self._session = session
        self._name = session.info.name
        self._seconds = seconds
        self._old = old
        self._new = new

    async def requested(self) -> None:
        """Ask for the old and the new password and change it; Ctrl-C, Ctrl-D or an empty old password cancels.

        A refusal is shown, and the session goes on.
        """
        console, _ = self._console, self._console.translations.gettext
        try:
            old = Password(await console.ask_secret(_("Old password")))
            if old.text:
                await self._change(old, None)
                return
        except (KeyboardInterrupt, UsageError):
            pass
        except ChangeUnknown as error:
            console.tell_error(error)
            return
        except AntiphonError as error:
            if self._session.connection.closed.done():  # the line loop reports the reason
                return
            console.tell_error(error)
        console.tell(_("The password was not changed."))

    async def required(self) -> None:
        """Make the required change: use the given new password, or ask for one.

        Raises:
            PasswordDue: no new password is given, and nobody can be asked.
            PasswordInvalid: the given new password breaks a rule.
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
        """Prove the old password, then ask for the new one if needed: nobody invents one in vain."""
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
            new = await ask_new_password(console, minimum, self._name, old)
        await change.choose(new)
        console.tell(_("The password is changed; your other sessions have ended."))
