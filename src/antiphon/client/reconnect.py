"""Reconnection: what both clients keep of a session in order to resume it on another connection."""

import random
from typing import Any

from antiphon.address import Address
from antiphon.client.addresses import Addresses, Keys, ProvedKeys
from antiphon.client.dialling import DialResult
from antiphon.client.protocol.reconnect import ReconnectPolicy
from antiphon.client.trust import Standing
from antiphon.errors import ServerKeyUnknown


class Reconnector:
    """The base of both clients' reconnectors: the addresses, their keys and the token of one session."""

    def __init__(
        self,
        addresses: Address | Addresses,
        known: Keys,
        dialled: DialResult[Any],
        *,
        give_up: float,
        language: str = "en",
        timeout: float = 10.0,
    ) -> None:
        """Dial `addresses` again; accept the key of `dialled`, the first connection, or another of that server.

        A lost connection is tried for `give_up` seconds; each step takes at most `timeout` seconds.
        """
        self._addresses = Addresses.of(addresses).starting_with(dialled.address)
        self._keys = ProvedKeys(
            self._addresses.keys(known), dialled.address, dialled.fingerprint, dialled.standing
        )
        self._standing = dialled.standing
        self._token: bytes = dialled.connection.token
        self._language = language
        self._timeout = timeout
        self.policy = ReconnectPolicy(give_up, _vary, len(self._addresses))
        self.shown: str = dialled.connection.address
        """The address of the server that had the session last, for messages."""

    @property
    def _next(self) -> Address:
        """The address to dial now."""
        return self._addresses.each[self.policy.at]

    def check_key(self, dialled: DialResult[Any]) -> None:
        """Check that no less speaks for the server's key than at the sign-in; the token is sent after that.

        RESUME proves nothing about the server. So an authority counts only if the sign-in relied on one.

        Raises:
            ServerKeyUnknown: it is less.
        """
        if dialled.standing is Standing.UNKNOWN or (
            dialled.standing is Standing.VOUCHED and self._standing is not Standing.VOUCHED
        ):
            raise ServerKeyUnknown(host=dialled.address.host, fingerprint=dialled.fingerprint)

    def _resumed(self, dialled: DialResult[Any]) -> None:
        """Note that the session goes on on this connection."""
        self._keys.prove(dialled.address, dialled.fingerprint)
        self.shown = dialled.connection.address


def _vary() -> float:
    return random.uniform(0.5, 1.5)  # noqa: S311 - spreads clients, guards nothing
