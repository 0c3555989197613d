"""Password forms: which form of a password is proved, while accounts of an old system remain (HELLO's `imports`).

The rules are those of docs/protocol.md, "Old passwords". Both clients and the terminal keep them.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from antiphon.client.dialling import DialResult
from antiphon.client.trust import Standing
from antiphon.errors import PasswordInvalid, SignInRefused
from antiphon.identity.passwords import Password

Result = TypeVar("Result")


async def prove_any_form(
    password: Password,
    forms: list[Password],
    dial: Callable[[], Awaitable[DialResult[Any]]],
    hang_up: Callable[[], Awaitable[None]],
    prove: Callable[[Password], Awaitable[Result]],
) -> Result:
    """Return what `prove` returns for the first of `forms` that is not refused; refused forms are removed.

    `forms` are the `password` as it was given and its `legacy.old_forms`. Each form is proved on a connection of
    its own, because the third refusal ends a connection. If nothing but the proof speaks for the server's key, no
    old form is tried: whoever has the old system's file could give that proof.

    Raises:
        SignInRefused, PasswordInvalid: no form is right.
    """
    while True:
        dialled = await dial()
        takes_old = dialled.hello.imports and dialled.standing is not Standing.UNKNOWN
        if forms[0] != password and not takes_old:
            raise SignInRefused
        try:
            return await prove(forms[0])
        except (SignInRefused, PasswordInvalid):  # a password that SCRAM cannot use may still have a digest
            if not takes_old or len(forms) == 1:
                raise
            del forms[0]
            await hang_up()
