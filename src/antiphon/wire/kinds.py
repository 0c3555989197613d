"""The table of frame kinds: who may send each, when, with or without a token, and how much.

`frames.read_frame` checks every frame against this table, through `limits`. To add a kind, add its rows here and
its body to `bodies.py`.
"""

from collections.abc import Mapping
from enum import IntEnum, IntFlag, StrEnum
from functools import lru_cache
from typing import NamedTuple

KIB = 1024
TOKEN_SIZE = 16
"""Bytes of a session token: 128 bits (promise 14)."""
COUNT_SIZE = 8
"""Bytes of an ACK: a count in network byte order."""
MESSAGE_LIMIT = 1024 * KIB
"""Bytes of a message, by default at most (promise 11)."""
MESSAGE_LIMIT_MOST = 16 * 1024 * KIB
"""The largest limit that the option accepts (promise 11)."""
ENTRY_LIMIT = 4 * KIB
"""Bytes of a frame before sign-in, at most: enough for every control body, too few to attack with (promise 10)."""
SERVER_CONTROL_LIMIT = 64 * KIB
"""Bytes of a server's control body, at most; the client trusts its server more than the server its clients."""

OPTIONAL_FROM = 0x80
"""Kinds from here on may be ignored by a peer that does not know them."""


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 0x01
    IDENTIFY = 0x02
    REGISTER = 0x03
    AUTHENTICATE = 0x04
    CHALLENGE = 0x05
    RESUME = 0x06
    WELCOME = 0x07
    MESSAGE = 0x10
    END = 0x11
    CANCEL = 0x12
    PASSWORD = 0x13
    ACK = 0x14
    END_OTHERS = 0x15
    ERROR = 0x20
    HEARTBEAT = 0x21
    BYE = 0x22


class Flag(IntFlag):
    """Flags of a MESSAGE."""

    TEXT = 0x01
    LAST = 0x02


class Side(StrEnum):
    """The sender of a frame."""

    CLIENT = "client"
    SERVER = "server"


class Phase(StrEnum):
    """Phase of a connection: the sign-in, up to WELCOME, or the session after it."""

    SIGN_IN = "sign-in"
    SESSION = "session"


class Row(NamedTuple):
    """One row of the table: one kind from one sender."""

    kind: Kind
    sender: Side
    phases: tuple[Phase, ...]
    token: bool
    """Whether the body starts with the 16 bytes of the session's token."""
    largest: int
    """Bytes of payload without the token, at most."""


_SIGN_IN = (Phase.SIGN_IN,)
_SESSION = (Phase.SESSION,)
_ALWAYS = (Phase.SIGN_IN, Phase.SESSION)

TABLE = (
    Row(Kind.IDENTIFY, Side.CLIENT, _SIGN_IN, token=False, largest=ENTRY_LIMIT),
    Row(Kind.REGISTER, Side.CLIENT, _SIGN_IN, token=False, largest=ENTRY_LIMIT),
    Row(Kind.AUTHENTICATE, Side.CLIENT, _SIGN_IN, token=False, largest=ENTRY_LIMIT),
    Row(Kind.CHALLENGE, Side.CLIENT, _SIGN_IN, token=False, largest=ENTRY_LIMIT),
    Row(Kind.RESUME, Side.CLIENT, _SIGN_IN, token=True, largest=256),
    Row(Kind.MESSAGE, Side.CLIENT, _SESSION, token=True, largest=MESSAGE_LIMIT),
    Row(Kind.CANCEL, Side.CLIENT, _SESSION, token=True, largest=0),
    Row(Kind.ACK, Side.CLIENT, _SESSION, token=True, largest=8),
    Row(Kind.PASSWORD, Side.CLIENT, _SESSION, token=True, largest=ENTRY_LIMIT),
    Row(Kind.END_OTHERS, Side.CLIENT, _SESSION, token=True, largest=256),
    Row(Kind.HEARTBEAT, Side.CLIENT, _ALWAYS, token=False, largest=0),
    Row(Kind.BYE, Side.CLIENT, _ALWAYS, token=False, largest=256),
    Row(Kind.HELLO, Side.SERVER, _SIGN_IN, token=False, largest=SERVER_CONTROL_LIMIT),
    Row(Kind.IDENTIFY, Side.SERVER, _SIGN_IN, token=False, largest=SERVER_CONTROL_LIMIT),
    Row(Kind.REGISTER, Side.SERVER, _SIGN_IN, token=False, largest=ENTRY_LIMIT),
    Row(Kind.CHALLENGE, Side.SERVER, _SIGN_IN, token=False, largest=ENTRY_LIMIT),
    Row(Kind.WELCOME, Side.SERVER, _SIGN_IN, token=False, largest=SERVER_CONTROL_LIMIT),
    Row(Kind.MESSAGE, Side.SERVER, _SESSION, token=False, largest=MESSAGE_LIMIT),
    Row(Kind.END, Side.SERVER, _SESSION, token=False, largest=0),
    Row(Kind.PASSWORD, Side.SERVER, _SESSION, token=False, largest=ENTRY_LIMIT),
    Row(Kind.END_OTHERS, Side.SERVER, _SESSION, token=False, largest=256),
    Row(Kind.ERROR, Side.SERVER, _ALWAYS, token=False, largest=SERVER_CONTROL_LIMIT),
    Row(Kind.HEARTBEAT, Side.SERVER, _ALWAYS, token=False, largest=0),
    Row(Kind.BYE, Side.SERVER, _ALWAYS, token=False, largest=KIB),
)
"""Every frame of this version."""


class Allowed(NamedTuple):
    """What is allowed of one kind now."""

    token_size: int
    """Bytes of token before the payload: 16 or 0."""
    largest: int
    """Bytes of payload, at most."""


@lru_cache  # all connections share the result
def limits(sender: Side, phase: Phase, message_limit: int = MESSAGE_LIMIT) -> Mapping[int, Allowed]:
    """Return what `sender` may send in `phase`, by kind; other kinds are not allowed."""
    return {
        int(row.kind): Allowed(
            TOKEN_SIZE if row.token else 0, message_limit if row.kind is Kind.MESSAGE else row.largest
        )
        for row in TABLE
        if row.sender is sender and phase in row.phases
    }
