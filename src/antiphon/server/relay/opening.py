"""Opening and refusal: payloads of the parts that a relay link begins with."""

import msgspec

from antiphon.errors import AntiphonError, SessionEnded, TryLater


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
    age: float = 0.0
    """seconds since the client was accepted, when this is said: another machine has another monotonic time"""

    def __repr__(self) -> str:
        """Hide the frame, which holds the token."""
        return f"Opening(version={self.version}, process={self.process!r}, address={self.address!r})"

    def encode(self) -> bytes:
        """Return it as the payload of a part."""
        return msgspec.msgpack.encode(self)


def decode_opening(payload: bytes) -> Opening:
    """Return the opening in a payload.

    Raises:
        ValueError: it is none.
    """
    try:
        return msgspec.msgpack.decode(payload, type=Opening)
    except msgspec.MsgspecError as error:  # of older versions it is no ValueError
        raise ValueError(str(error)) from error


def refusal_of(error: AntiphonError) -> bytes:
    """Return the payload of REFUSED that tells `error`."""
    return error.code.encode()


def refusal_in(payload: bytes) -> AntiphonError:
    """Return the error in the payload of REFUSED, for the relaying process.

    Whatever passes is to be tried again soon: a session on the move arrives within a second.
    """
    return SessionEnded() if payload == SessionEnded.code.encode() else TryLater(wait=1)
