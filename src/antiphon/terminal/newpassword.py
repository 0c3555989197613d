"""How a person thinks up a password: hidden, twice, or a passphrase made for them."""

import secrets

from antiphon.errors import PasswordInvalid
from antiphon.identity.passwords import Password, check, passphrase
from antiphon.terminal.console import Console


async def new_password(console: Console, minimum: int) -> Password:
    """Ask until a password of `minimum` characters or more was typed twice; Enter makes a passphrase and shows it.

    Raises:
        UsageError: the input ended before there was an answer.
    """
    _ = console.translations.gettext
    while True:
        text = await console.ask_secret(_("New password"))
        if not text:
            made = passphrase(secrets.token_bytes)
            console.tell(_("Your passphrase, shown only this once:"))
            console.tell(f"    {made.text}")
            return made
        try:
            password = check(text, minimum)
        except PasswordInvalid as error:
            console.tell_error(error)
            continue
        if await console.ask_secret(_("Once more")) == text:
            return password
        console.tell(_("The two are not the same. Once again:"))
