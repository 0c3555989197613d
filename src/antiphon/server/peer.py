"""Peer: the other end of one connection."""

from dataclasses import dataclass
from typing import Any, Self

from antiphon.identity.scram import mechanism_for


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of one connection: where it connects from, and the channel that it uses."""

    address: str
    """Host and port as logs show them; an IPv6 host is in brackets."""
    host: str
    """IP address alone: what limits, known names and known addresses go by."""
    binding: bytes | None
    """Channel binding `tls-server-end-point` (RFC 5929, 4); None over plain TCP."""
    relayed_by: str | None = None
    """Id of the process whose socket it is; None for a socket of this process."""

    @classmethod
    def at(cls, socket_address: tuple[Any, ...], binding: bytes | None) -> Self:
        """Return the peer at the address that `accept` gives for an IPv4 or IPv6 socket."""
        host, port = socket_address[0].partition("%")[0], socket_address[1]
        return cls(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", host, binding)

    @property
    def mechanism(self) -> str:
        """SASL mechanism of this channel."""
        return mechanism_for(self.binding)
