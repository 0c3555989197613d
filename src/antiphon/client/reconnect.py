"""Reconnection: what both clients keep of a session in order to resume it on another connection."""

import random
from typing import Any

from antiphon.address import Address
from antiphon.client.dialling import DialResult
from antiphon.client.protocol.reconnect import ReconnectPolicy
from antiphon.client.trust import KnownServers, SessionKeys, Standing


class Reconnector:
    """The base of both clients' reconnectors: the address, the key and the token of one session."""

    def __init__(
        self,
        address: Address,
        known: KnownServers,
        dialled: DialResult[Any],
        *,
        give_up: float,
        language: str = "en",
        timeout: float = 10.0,
    ) -> None:
        """Dial `address` again; accept the key of `dialled`, the first connection, or another one of that server.

        A lost connection is tried for `give_up` seconds; each step takes at most `timeout` seconds.
        """
        self._address = address
        self._known = SessionKeys(known, dialled.fingerprint, dialled.standing)
        self._token: bytes = dialled.connection.token
        self._language = language
        self._timeout = timeout
        self.policy = ReconnectPolicy(give_up, _vary)
        self.shown: str = dialled.connection.address
        """The server's address, for messages."""

    def _check_key(self, dialled: DialResult[Any]) -> None:
        """Check that something speaks for the server's key, before the token is sent.

        Raises:
            ServerKeyChanged: nothing does.
        """
        if dialled.standing is Standing.UNKNOWN:
            raise self._known.changed(self._address, dialled.fingerprint)


def _vary() -> float:
    return random.uniform(0.5, 1.5)  # noqa: S311 - spreads clients, guards nothing
