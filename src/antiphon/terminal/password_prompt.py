"""Prompt for a new password: hidden, typed twice, with a hint below it, or a generated passphrase."""

import secrets
from collections.abc import Callable
from itertools import pairwise

from antiphon.blocklist import common_passwords
from antiphon.errors import PasswordInvalid
from antiphon.identity.passwords import Password, check, passphrase
from antiphon.terminal.console import Console

WEAK_BELOW, FAIR_BELOW, GOOD_BELOW = 10, 18, 25
"""Numbers of different pairs of adjacent characters below which a password is weak, fair or good; else strong."""


async def ask_new_password(console: Console, minimum: int, name: str, old: Password | None = None) -> Password:
    """Ask until an acceptable password for `name` is typed twice; Enter alone makes a passphrase and shows it.

    The password has at least `minimum` characters and differs from the `old` one.

    Raises:
        UsageError: the input ended before there was an answer.
    """
    _ = console.translations.gettext

    def checked(text: str) -> Password:
        return check(text, minimum, name=name, common=common_passwords(), old=old)

    while True:
        text = await console.ask_secret(_("New password"), lambda typed: strength_hint(typed, minimum, checked, _))
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
        console.tell(_("The two passwords differ. Once again:"))


def strength_hint(
    typed: str, minimum: int, checked: Callable[[str], Password], translate: Callable[[str], str]
) -> str:
    """Return the hint for a password that is being typed; it contains no part of the password.

    The strength is judged by length alone, because nothing else can be known; repeated pairs count once.
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
    if pairs < WEAK_BELOW:
        return _("Long enough, but weak: it repeats itself.")
    if pairs < FAIR_BELOW:
        return _("Long enough. One more word makes it much stronger.")
    if pairs < GOOD_BELOW:
        return _("Good, if nobody could guess the words.")
    return _("Strong, if nobody could guess the words.")
