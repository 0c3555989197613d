"""HELLO: the first frame of every connection, kept true about imported accounts.

HELLO says which old forms of passwords are left, for the whole server and never for one name. Clients try such a
form only while it says so (docs/decisions/server-auth.md).
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace

from antiphon.errors import TryLater
from antiphon.identity.old_forms import FORMS_MOST, MD5, OldForm, read_form
from antiphon.identity.scram import ITERATIONS, SALT_SIZE
from antiphon.observe.log import ServerLog
from antiphon.settings import ServerSettings
from antiphon.store.contracts import Accounts
from antiphon.version import __version__
from antiphon.wire.bodies import END_OTHERS, INVITATIONS, OLD_FORM, REPLACE, VERSION, Hello, Limits, Scram
from antiphon.wire.conversation import ServerConversation

LOOK_SECONDS = 5.0
"""Pause between two looks at the store: short beside the time from an import to the first sign-in."""


def hello_of(settings: ServerSettings, mechanism: str, *, registration: bool) -> Hello:
    """Return what a server says of itself.

    Args:
        settings: the server's.
        mechanism: SASL mechanism of its connections, offered in access `authenticate` only.
        registration: whether new names are taken.
    """
    by_password = settings.access == "authenticate"
    return Hello(
        versions=[VERSION],
        product=f"antiphon/{__version__}",
        access=settings.access,
        mechanisms=[mechanism] if by_password else [],
        features=[INVITATIONS, REPLACE, END_OTHERS] if by_password else [REPLACE],
        limits=Limits(
            message=settings.message_limit,
            heartbeat=settings.heartbeat_seconds,
            silence=settings.silence_seconds,
        ),
        registration=registration,
        scram=Scram(salt_length=SALT_SIZE, iterations=ITERATIONS),
        password_minimum=settings.password_minimum,
    )


class HelloFrame:
    """The HELLO frame of one server, the same for all its connections."""

    def __init__(self, hello: Hello, accounts: Accounts, clock: Callable[[], datetime], log: ServerLog) -> None:
        """Begin with `hello` as it is; `look` asks `accounts` which old forms are left."""
        self._hello = hello
        self._accounts = accounts
        self._clock = clock
        self._log = log
        self.frame = ServerConversation().hello(hello)
        """The frame as bytes."""

    async def run(self) -> None:
        """Look again and again until cancelled; an error does not end it."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except TryLater:
                pass  # the last answer holds; whoever signs in meets the store itself
            except Exception:  # noqa: BLE001 - without this task clients would never learn
                self._log.exception("fault")

    async def look(self) -> None:
        """Make the frame say what the store says now.

        Raises:
            TryLater: the store does not answer.
        """
        forms = _readable(await self._accounts.old_forms(self._clock()))
        features = [f"{OLD_FORM}{form}" for form in forms if form != MD5]
        hello = replace(self._hello, imports=MD5 in forms, features=[*self._hello.features, *features])
        self.frame = ServerConversation().hello(hello)


def _readable(forms: list[str]) -> list[OldForm]:
    """Return the first forms that a client may know; a file that was edited by hand may hold any."""
    known = (read_form(form) for form in forms)
    return [form for form in known if form is not None][:FORMS_MOST]
