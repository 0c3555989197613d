"""Inviting: makes a code with which one name can register, for the command and for the status page."""

import contextlib
import ipaddress
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from antiphon.address import Address
from antiphon.identity.invitations import Code, fingerprint
from antiphon.identity.names import Name
from antiphon.settings import DEFAULT_HOST
from antiphon.store.contracts import Invitations

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
LIFETIME_MOST = timedelta(days=366)
"""Longest lifetime of a code: a right that is not used within a year is forgotten, and should end."""
KEPT_AFTER_EXPIRY = timedelta(days=30)
"""Time an expired invitation is kept, so that it is listed, and refused as expired rather than unknown."""


def lifetime_in(text: str) -> timedelta | None:
    """Return the time that a text such as `30m`, `12h`, `7d` or `2w` names; None if it is none, or too long."""
    matched = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text.strip())
    time = int(matched[1]) * UNITS[matched[2]] if matched else LIFETIME_MOST * 2
    return time if time <= LIFETIME_MOST else None


async def make_code(
    invitations: Invitations,
    token_key: bytes,
    name: Name,
    address: Address,
    *,
    at: datetime,
    expires_at: datetime,
    by: str,
    random: Callable[[int], bytes],
) -> Code:
    """Return a new code for `name`, and keep the invitation; an unused one of the same name ends.

    Args:
        invitations: where it is kept.
        token_key: the key ring's.
        name: who is invited.
        address: of the server, with the fingerprint of its key over TLS.
        at: now.
        expires_at: until when the code is valid.
        by: who invites.
        random: returns as many random bytes as it is asked for.

    Raises:
        TryLater: the store cannot keep it.
    """
    code = Code.make(replace(address, name=name.display), random)
    await invitations.invite(fingerprint(code.secret, token_key), name, at, expires_at, by)
    return code


def is_here_only(host: str) -> bool:
    """Return whether a code for this host works on its own machine only."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == DEFAULT_HOST
