"""How a person thinks up a password: hidden, twice, with a hint below it, or a passphrase made for them."""

import secrets
from collections.abc import Callable
from itertools import pairwise

from antiphon.blocklist import common_passwords
from antiphon.errors import PasswordInvalid
from antiphon.identity.passwords import Password, check, passphrase
from antiphon.terminal.console import Console

WEAK, FAIR, GOOD = 10, 18, 25
"""Pairs of neighbours, each counted once, below which a password is weak, fair and good; strong from there on."""


async def new_password(console: Console, minimum: int, name: str, old: Password | None = None) -> Password:
    """Ask until a password for `name` that may be chosen was typed twice; Enter makes a passphrase and shows it.

    It has `minimum` characters or more and is not the `old` one.

    Raises:
        UsageError: the input ended before there was an answer.
    """
    _ = console.translations.gettext

    def checked(text: str) -> Password:
        return check(text, minimum, name=name, common=common_passwords(), old=old)

    while True:
        text = await console.ask_secret(_("New password"), lambda typed: hint(typed, minimum, checked, _))
        if not text:
            made = passphrase(secrets.token_bytes)
            console.tell(_("Your passphrase, shown only this once:"))
            console.tell(f"    {made.text}")
            return made
        try:
            password = checked(text)
        except PasswordInvalid as error:
            console.tell_error(error)
            continue
        if await console.ask_secret(_("Once more")) == text:
            return password
        console.tell(_("The two are not the same. Once again:"))


def hint(typed: str, minimum: int, checked: Callable[[str], Password], translate: Callable[[str], str]) -> str:
    """Return what can be said of a password while it is typed; nothing of the password is in it.

    The strength goes by length alone, which is what can be known; what repeats itself counts once.
    """
    _ = translate
    if not typed:
        return _("Enter makes a passphrase for you.")
    if len(typed) < minimum:
        return _("Characters still missing: {count}.").format(count=minimum - len(typed))
    try:
        checked(typed)
    except PasswordInvalid as error:
        return error.text(_)
    pairs = len(set(pairwise(typed)))
    if pairs < WEAK:
        return _("Long enough, but weak: it repeats itself.")
    if pairs < FAIR:
        return _("Long enough. One more word makes it much stronger.")
    if pairs < GOOD:
        return _("Good, if nobody could guess the words.")
    return _("Strong, if nobody could guess the words.")
