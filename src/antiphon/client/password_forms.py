"""Password forms: which form of a password is proved, while accounts of an old system remain.

The rules are those of docs/protocol.md, "Old passwords". Both clients and the terminal keep them.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from antiphon.client.dialling import DialResult
from antiphon.client.trust import Standing
from antiphon.errors import PasswordInvalid, SignInRefused
from antiphon.identity.old_forms import MD5, OldForm, old_forms, read_form
from antiphon.identity.passwords import Password
from antiphon.wire.bodies import OLD_FORM, Hello

Result = TypeVar("Result")


async def prove_any_form(
    password: Password,
    refused: set[Password],
    dial: Callable[[], Awaitable[DialResult[Any]]],
    hang_up: Callable[[], Awaitable[None]],
    prove: Callable[[Password], Awaitable[Result]],
) -> Result:
    """Return what `prove` returns for the first form of `password` that is right; add the others to `refused`.

    The forms are the password as it was given, and those that HELLO names. One in `refused` is not proved again,
    unless it is the last old one. Each form is proved on a connection of its own, because the third refusal ends
    a connection. If nothing but the proof speaks for the server's key, no old form is tried: whoever has the old
    system's file could give that proof.

    Raises:
        SignInRefused, PasswordInvalid: no form is right.
    """
    while True:
        forms = [password, *_old_forms(password, await dial())]
        if len(forms) == 1 and password in refused:
            raise SignInRefused
        form = next((form for form in forms if form not in refused), forms[-1])
        try:
            return await prove(form)
        except (SignInRefused, PasswordInvalid):  # a password that SCRAM cannot use may still have a digest
            if form == forms[-1]:
                raise
            refused.add(form)
            await hang_up()


def hello_forms(hello: Hello) -> list[OldForm]:
    """Return the old forms that HELLO names; a form that this client does not know is left out."""
    named = [read_form(word.removeprefix(OLD_FORM)) for word in hello.features if word.startswith(OLD_FORM)]
    return [MD5] * hello.imports + [form for form in named if form is not None]


def _old_forms(password: Password, dialled: DialResult[Any]) -> list[Password]:
    """Return the old forms of a password that may be proved on this connection."""
    if dialled.standing is Standing.UNKNOWN:
        return []
    return old_forms(password, hello_forms(dialled.hello))
