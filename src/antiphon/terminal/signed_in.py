"""Result of an interactive sign-in."""

from dataclasses import dataclass

from antiphon.client.addresses import Addresses
from antiphon.client.aio.dial import Dialled
from antiphon.client.trust import KnownServers
from antiphon.identity.passwords import Password
from antiphon.wire.bodies import Welcome


@dataclass(frozen=True)
class SignedIn:
    """The result of a sign-in: the address, the connection and the server's WELCOME."""

    addresses: Addresses
    """Addresses of the server, first that of the connection."""
    known: KnownServers
    dialled: Dialled
    welcome: Welcome
    password: Password | None
    """The password that was proved, if any, in the form the server knows: an imported account's is its MD5."""
