"""What the two ends of a relay link say to each other before bytes go over it."""

import msgspec

from antiphon.errors import AntiphonError, SessionEnded, TryLater

_REFUSALS: dict[str, type[AntiphonError]] = {error.code: error for error in (SessionEnded, TryLater)}
"""Errors with which a home refuses a RESUME, by code; any other is told as `TryLater`."""


class Opening(msgspec.Struct, array_like=True, frozen=True):
    """GO: whose connection is relayed, and the RESUME that it began with."""

    version: int
    """`link.RELAY_VERSION`"""
    process: str
    """id of the relaying process"""
    address: str
    """of the client (`Peer`), like the next three"""
    host: str
    binding: bytes | None
    accepted_at: float
    """when it was accepted, in monotonic time, which is the same for all processes of a machine"""
    can_half_close: bool
    """Whether the client's connection can be closed in one direction."""
    resume: bytes
    """the RESUME frame"""

    def __repr__(self) -> str:
        """Hide the frame, which holds the token."""
        return f"Opening(version={self.version}, process={self.process!r}, address={self.address!r})"

    def encode(self) -> bytes:
        """Return it as the payload of a part."""
        return msgspec.msgpack.encode(self)


class Refusal(msgspec.Struct, array_like=True, frozen=True):
    """REFUSED: why the home does not admit the client."""

    code: str
    wait: float

    @classmethod
    def of(cls, error: AntiphonError) -> bytes:
        """Return the payload that tells `error`."""
        return msgspec.msgpack.encode(cls(error.code, error.wait))

    @property
    def error(self) -> AntiphonError:
        """The error, for the relaying process."""
        kind = _REFUSALS.get(self.code, TryLater)
        return TryLater(wait=self.wait or 1) if kind is TryLater else kind()


def decode_opening(payload: bytes) -> Opening:
    """Return the opening in a payload.

    Raises:
        ValueError: it is none.
    """
    return msgspec.msgpack.decode(payload, type=Opening)


def decode_refusal(payload: bytes) -> Refusal:
    """Return the refusal in a payload.

    Raises:
        ValueError: it is none.
    """
    return msgspec.msgpack.decode(payload, type=Refusal)
