"""Secrecy of frames: which bytes may be shown to a person who watches a connection (`terminal/explain/`).

Only what the table names as open is shown. A new field, a body that is not JSON and an unknown kind are hidden.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from antiphon.wire.kinds import SERVER_CONTROL_LIMIT, TABLE, TOKEN_SIZE, Kind, Side

TOKEN = "token"  # noqa: S105 - a name, not a token
UNKNOWN = "?"
"""Stands for a field whose name is hidden too."""


class Secrecy(NamedTuple):
    """The fields of one body; a field of an inner object is written with a dot."""

    open: frozenset[str]
    secret: frozenset[str] = frozenset()
    """Fields whose name is shown, and whether their value is null, but not their value."""


def _fields(open: str, secret: str = "") -> Secrecy:  # noqa: A002 - the column's name
    return Secrecy(frozenset(open.split()), frozenset(secret.split()))


_FIRST = "version language "
_CREDENTIAL_OPEN = "credential.type credential.iterations "
_CREDENTIAL_SECRET = "credential credential.salt credential.stored_key credential.server_key "  # noqa: S105 - names

FIELDS: dict[tuple[Side, int], Secrecy] = {
    (Side.CLIENT, Kind.IDENTIFY): _fields(_FIRST + "name instead_of replace", "invitation"),
    (Side.CLIENT, Kind.REGISTER): _fields(_FIRST + _CREDENTIAL_OPEN + "name", _CREDENTIAL_SECRET + "invitation"),
    (Side.CLIENT, Kind.AUTHENTICATE): _fields(_FIRST + "mechanism replace", "data"),
    (Side.CLIENT, Kind.CHALLENGE): _fields("", "data"),
    (Side.CLIENT, Kind.RESUME): _fields(_FIRST + "received"),
    (Side.CLIENT, Kind.PASSWORD): _fields(_CREDENTIAL_OPEN + "mechanism", _CREDENTIAL_SECRET + "data"),
    (Side.CLIENT, Kind.END_OTHERS): _fields(""),
    (Side.CLIENT, Kind.BYE): _fields("reason"),
    (Side.SERVER, Kind.HELLO): _fields(
        "versions product access mechanisms features limits.message limits.heartbeat limits.silence registration "
        "scram.salt_length scram.iterations password_minimum imports"
    ),
    (Side.SERVER, Kind.IDENTIFY): _fields("name free known"),
    (Side.SERVER, Kind.REGISTER): _fields("name free known"),
    (Side.SERVER, Kind.CHALLENGE): _fields("", "data"),
    (Side.SERVER, Kind.WELCOME): _fields(
        "name first last_visit last_address refusals lifetimes.unheld lifetimes.total must_change greeting "
        "received missed sent open",
        "token data",
    ),
    (Side.SERVER, Kind.PASSWORD): _fields("", "data"),
    (Side.SERVER, Kind.END_OTHERS): _fields("sessions"),
    (Side.SERVER, Kind.ERROR): _fields("code text hint wait"),
    (Side.SERVER, Kind.BYE): _fields("reason text cause"),
}
"""Every field of every body of this version is in one of the two columns; a test checks it."""

OPEN_PAYLOADS = {(Side.CLIENT, Kind.MESSAGE), (Side.SERVER, Kind.MESSAGE), (Side.CLIENT, Kind.ACK)}
"""Kinds whose payload is open: messages, which the person watching sends and gets, and a count."""

_ROWS = {(row.sender, int(row.kind)): row for row in TABLE}
_JSON = re.compile(rb'[ \t\r\n]+|[{}\[\],:]|"(?:[^"\\]|\\.)*"|[-+.\w]+')
_HIDDEN = 1


class Shown(NamedTuple):
    """What may be shown of a frame's body."""

    mask: bytearray
    """1 for each byte that is hidden, 0 for each that is open."""
    hidden: tuple[str, ...]
    """Names of what is hidden."""


def shown(sender: Side, kind: int, body: bytes) -> Shown:
    """Return what may be shown of a frame's body (token and payload)."""
    mask = bytearray([_HIDDEN]) * len(body)
    row = _ROWS.get((sender, kind))
    if row is None:
        return Shown(mask, (UNKNOWN,) if body else ())
    start = min(TOKEN_SIZE, len(body)) if row.token else 0
    hidden = [TOKEN] if row.token else []
    if (sender, kind) in OPEN_PAYLOADS:
        mask[start:] = bytes(len(body) - start)
    elif (fields := FIELDS.get((sender, kind))) is not None:
        hidden += _open_fields(body[start:], fields, mask, start)
    elif len(body) > start:
        hidden.append(UNKNOWN)
    return Shown(mask, tuple(dict.fromkeys(hidden)))


def _open_fields(payload: bytes, fields: Secrecy, mask: bytearray, start: int) -> list[str]:
    """Clear the open bytes of a payload in `mask`, from `start` on; return the names of the hidden fields."""
    if not payload:
        return []
    if len(payload) > SERVER_CONTROL_LIMIT:
        return [UNKNOWN]
    try:
        json.loads(payload.decode(), parse_int=str)  # `_pieces` needs valid JSON
    except (ValueError, RecursionError):
        return [UNKNOWN]
    hidden = []
    for piece in _pieces(payload, fields):
        if piece.hidden is not None:
            hidden.append(piece.hidden)
        begin, end = start + piece.begin, start + piece.end
        mask[begin:end] = bytes(end - begin)
    return hidden


class _Piece(NamedTuple):
    """An open part of a JSON text; for a hidden value, only its quotes are open."""

    begin: int
    end: int
    hidden: str | None = None
    """Name of the hidden value."""


def _pieces(payload: bytes, fields: Secrecy) -> Iterator[_Piece]:
    """Yield the open parts of a payload. Precondition: it is valid JSON."""
    known = fields.open | fields.secret
    known |= {name.partition(".")[0] for name in known}
    within: list[str] = []
    """Paths of the enclosing objects and lists."""
    objects: list[bool] = []
    path, key_due = "", False
    for token in _JSON.finditer(payload):
        begin, end, text = *token.span(), token[0]
        if text in (b"{", b"["):
            within.append(path)
            objects.append(text == b"{")
            key_due = text == b"{"
        elif text in (b"}", b"]"):
            path = within.pop()
            objects.pop()
            key_due = False
        elif text == b",":
            key_due, path = objects[-1], within[-1]
        elif text == b":":
            key_due = False
        elif text.strip() and key_due:
            name = str(json.loads(text))
            path = f"{within[-1]}.{name}" if within[-1] else name
            if path not in known or "." in name:
                path = UNKNOWN
                yield _Piece(begin, begin, UNKNOWN)
                continue
        elif text.strip() and path not in fields.open and not (text == b"null" and path in fields.secret):
            yield from _quotes(token, path if path in known else UNKNOWN)
            continue
        yield _Piece(begin, end)


def _quotes(token: "re.Match[bytes]", name: str) -> Iterator[_Piece]:
    """Yield what is open of a hidden value: the quotes, if it is a string."""
    begin, end = token.span()
    if token[0].startswith(b'"'):
        yield _Piece(begin, begin + 1)
        yield _Piece(end - 1, end)
    yield _Piece(begin, begin, name)
