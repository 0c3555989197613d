"""`connect --explain`: shows each frame sent and received, in plain words and with its bytes.

`wire/secrecy.py` decides which bytes of a frame are secret. Explaining changes nothing in what the client does.
"""

import re
import ssl
import time
from collections.abc import Callable, Iterator

from antiphon.errors import AntiphonError
from antiphon.identity.certificates import binding_of, fingerprint_of
from antiphon.language import N_
from antiphon.printable import printable
from antiphon.terminal.console import Console
from antiphon.wire import bodies
from antiphon.wire.bodies import Welcome
from antiphon.wire.frames import COUNTED_HEADER_SIZE, HEADER_SIZE, LENGTH_SIZE, read_header
from antiphon.wire.kinds import MESSAGE_LIMIT_MOST, TABLE, TOKEN_SIZE, Flag, Kind, Phase, Side
from antiphon.wire.secrecy import shown

DUMPED = 128
"""Bytes of a body in the dump: enough for most bodies, and few enough for several frames on a screen."""
QUOTED = 200
"""Characters of a message shown as text."""
JSON_QUOTED = 2000
"""Characters of a JSON body shown as text."""
WIDTH = 96
"""Characters of JSON on one line."""
LARGEST = COUNTED_HEADER_SIZE + TOKEN_SIZE + MESSAGE_LIMIT_MOST
"""The largest valid value of a frame's length field."""
INDENT = "    "
_STARS = b"***"
SENT, RECEIVED, AROUND = 36, 32, 1
"""Cyan, green, bold."""
HIDDEN, SPOILED = 1, 2
"""Marks of a byte: secret; secret, and different from the byte of the session's token at this place."""

_MEANINGS: dict[tuple[Side, Kind], str] = {
    (Side.CLIENT, Kind.IDENTIFY): N_("The client gives a name, or asks whether it is known."),
    (Side.CLIENT, Kind.REGISTER): N_(
        "The client registers: it sends a verifier made from the password, never the password itself."
    ),
    (Side.CLIENT, Kind.AUTHENTICATE): N_(
        "The sign-in begins (SCRAM, step 1 of 4): the name, and a random number of the client's."
    ),
    (Side.CLIENT, Kind.CHALLENGE): N_(
        "The client proves that it knows the password (step 3 of 4), without sending it."
    ),
    (Side.CLIENT, Kind.RESUME): N_(
        "The client resumes its session on this connection: the token, and how many frames it has received."
    ),
    (Side.CLIENT, Kind.MESSAGE): N_("A message to the service; its answers carry the same id."),
    (Side.CLIENT, Kind.CANCEL): N_("The client wants no more answers to this id."),
    (Side.CLIENT, Kind.ACK): N_(
        "The client says how many frames of the session it has received: the server need not keep them any longer."
    ),
    (Side.CLIENT, Kind.PASSWORD): N_(
        "A step of a password change: first the old password is proved, then the new one is stored."
    ),
    (Side.CLIENT, Kind.HEARTBEAT): N_("Nothing else was sent for a while: the client is still there."),
    (Side.CLIENT, Kind.BYE): N_("The client says goodbye: this is its last frame."),
    (Side.SERVER, Kind.HELLO): N_(
        "The server's first frame on each connection: what it speaks, and what it wants."
    ),
    (Side.SERVER, Kind.IDENTIFY): N_(
        "The answer to IDENTIFY: how the name is spelled, whether it is free or known."
    ),
    (Side.SERVER, Kind.REGISTER): N_("The answer to REGISTER: the account exists now."),
    (Side.SERVER, Kind.CHALLENGE): N_(
        "The server's challenge (step 2 of 4): how the password was hashed, and a random number of its own."
    ),
    (Side.SERVER, Kind.WELCOME): N_(
        "The session is open. After a sign-in this holds the server's own proof (step 4 of 4), and the token."
    ),
    (Side.SERVER, Kind.MESSAGE): N_("An answer, but not the last one for this id."),
    (Side.SERVER, Kind.END): N_("Nothing more comes for this id."),
    (Side.SERVER, Kind.PASSWORD): N_("The answer to a step of the password change."),
    (Side.SERVER, Kind.ERROR): N_("A refusal: nothing more comes for this id; the connection stays open."),
    (Side.SERVER, Kind.HEARTBEAT): N_("Nothing else was sent for a while: the server is still there."),
    (Side.SERVER, Kind.BYE): N_("The server says goodbye: this is its last frame."),
}
"""What each kind of frame means."""
_PUSH = N_("A push: the service sends it by itself; id 0 answers no message.")
_ANSWER = N_("An answer, the last one for this id.")
_FATAL = N_("A refusal with id 0: it ends the connection.")
_UNKNOWN = N_("A kind that this client does not know.")

_RULE = N_("{side} may send it {phase}, {token}.")
_SIDES = {Side.CLIENT: N_("The client"), Side.SERVER: N_("The server")}
_PHASES = {
    (Phase.ENTRY,): N_("before the session is open"),
    (Phase.SESSION,): N_("inside a session"),
    (Phase.ENTRY, Phase.SESSION): N_("at any time"),
}
_WITH_TOKEN = N_("with the session's token in front")
_WITHOUT_TOKEN = N_("without a token")

_ROWS = {(row.sender, int(row.kind)): row for row in TABLE}
_FLAGS = {int(flag): str(flag.name) for flag in Flag}


class Explainer:
    """Explains all connections of one run of the client."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        """Explain on `console`; times are counted from now, by `clock` in seconds."""
        self.console = console
        self._clock = clock
        self._began = clock()
        self._connections = 0

    def watch(self, address: str) -> "Watched":
        """Return the observer of the next connection, to `address` (`client.aio.connection.Observe`)."""
        self._connections += 1
        return Watched(self, address, self._connections)

    def say(self, sign: str, heading: str, lines: list[str], colour: int) -> None:
        """Print a heading and indented lines on standard error, above the prompt."""
        heading = f"[{self._clock() - self._began:8.3f} s] {sign} {heading}"

        def tell() -> None:
            self.console.tell(heading, colour)
            for line in lines:
                self.console.tell(INDENT + line)

        self.console.above(tell)


class Watched:
    """Explains one connection (`client.aio.connection.Observer`)."""

    def __init__(self, explainer: Explainer, address: str, number: int) -> None:
        """Explain connection `number`, to `address`."""
        self._explainer = explainer
        self._ = explainer.console.translations.gettext
        self._address = address
        self._number = number
        self._out = _Splitter()
        self._in = _Splitter()
        self._token = b""
        """The session's token, to recognise a spoiled one."""

    def __repr__(self) -> str:
        """Hide the token."""
        return f"Watched({self._address!r})"

    def opened(self, tls: ssl.SSLObject | None) -> None:
        """Explain the connection: plain TCP, or TLS with its parameters."""
        _ = self._
        lines = [_("-> sent, <- received; ** is a secret byte.")] if self._number == 1 else []
        if tls is None:
            lines.append(_("Plain TCP: anyone on the network can read all of this, secrets included."))
        else:
            lines += self._explain_tls(tls)
        heading = _("connection {number} to {address}").format(number=self._number, address=self._address)
        self._explainer.say("==", heading, lines, AROUND)

    def _explain_tls(self, tls: ssl.SSLObject) -> Iterator[str]:
        _ = self._
        cipher = tls.cipher()
        yield _("TLS is ready: {version}, {cipher}. What follows is encrypted on the network.").format(
            version=tls.version(), cipher=cipher[0] if cipher else "?"
        )
        certificate = tls.getpeercert(binary_form=True) or b""
        try:
            yield _("The server's certificate has the key {fingerprint}").format(
                fingerprint=fingerprint_of(certificate)
            )
            yield _("Channel binding (tls-server-end-point): {binding}").format(
                binding=binding_of(certificate).hex()
            )
        except ValueError:
            yield _("A sign-in cannot be bound to a certificate of this kind.")

    def sent(self, data: bytes) -> None:
        """Explain frames that the client sends."""
        for frame in self._out.split(data):
            self._explain(Side.CLIENT, frame)

    def received(self, data: bytes) -> None:
        """Explain the frames that `data` completes."""
        for frame in self._in.split(data):
            self._explain(Side.SERVER, frame)

    def closed(self) -> None:
        """Tell that the connection is closed."""
        heading = self._("connection {number} is closed").format(number=self._number)
        self._explainer.say("==", heading, [], AROUND)

    def _explain(self, side: Side, frame: bytes | None) -> None:
        sign, colour = ("->", SENT) if side is Side.CLIENT else ("<-", RECEIVED)
        if frame is None:
            lines = [self._("These bytes are not a frame: they are not shown, nor is anything after them.")]
            self._explainer.say(sign, "?", lines, colour)
            return
        length, kind, flags, _reserved, id = read_header(frame)
        body = frame[HEADER_SIZE:]
        mask, hidden = shown(side, kind, body)
        lines = [self._meaning(side, kind, flags, id), *self._rule(side, kind), _header_line(frame)]
        if _token_size(side, kind) and self._spoiled(body, mask):
            lines.append(
                self._("The token is not this session's (!! marks the difference): the server will refuse it.")
            )
        self._learn(side, kind, body)
        lines += self._text(side, kind, flags, body, mask)
        lines += _dump(body[:DUMPED], mask)
        if len(body) > DUMPED:
            lines.append(self._("… and {count} bytes more.").format(count=len(body) - DUMPED))
        if hidden:
            lines.append(self._("Hidden: {what}.").format(what=", ".join(hidden)))
        words = [
            _name(kind),
            f"id {id}",
            *(word for bit, word in _FLAGS.items() if flags & bit),
            f"length {length}",
        ]
        self._explainer.say(sign, "  ".join(words), lines, colour)

    def _meaning(self, side: Side, kind: int, flags: int, id: int) -> str:
        if (side, kind) == (Side.SERVER, Kind.MESSAGE) and (id == 0 or flags & Flag.LAST):
            return self._(_ANSWER if id else _PUSH)
        if (side, kind, id) == (Side.SERVER, Kind.ERROR, 0):
            return self._(_FATAL)
        return self._(_MEANINGS[side, Kind(kind)] if (side, kind) in _ROWS else _UNKNOWN)

    def _rule(self, side: Side, kind: int) -> Iterator[str]:
        """Yield who may send a frame of this kind and when, by the table of kinds."""
        _ = self._
        row = _ROWS.get((side, kind))
        if row is not None:
            yield _(_RULE).format(
                side=_(_SIDES[side]),
                phase=_(_PHASES[row.phases]),
                token=_(_WITH_TOKEN if row.token else _WITHOUT_TOKEN),
            )

    def _text(self, side: Side, kind: int, flags: int, body: bytes, mask: bytearray) -> Iterator[str]:
        """Yield the content of a body that is text, a count or JSON."""
        begin = _token_size(side, kind)
        if kind == Kind.MESSAGE and flags & Flag.TEXT:
            text = _quoted(body[begin:], mask[begin:], QUOTED)
            yield self._("Text: {text}").format(text=text)
        elif (side, kind) == (Side.CLIENT, Kind.ACK):
            count = int.from_bytes(body[begin:], "big")
            yield self._("Frames received: {count}.").format(count=count)
        elif (side, kind) in bodies.SCHEMAS:
            yield from _lines(_quoted(body[begin:], mask[begin:], JSON_QUOTED))

    def _spoiled(self, body: bytes, mask: bytearray) -> bool:
        """Mark in `mask` the bytes of a token that differ from the session's; return whether there are any."""
        wrong = [at for at, byte in enumerate(body[:TOKEN_SIZE]) if self._token and byte != self._token[at]]
        for at in wrong:
            mask[at] = SPOILED
        return bool(wrong)

    def _learn(self, side: Side, kind: int, body: bytes) -> None:
        """Keep the session's token when a RESUME or a WELCOME carries it."""
        if (side, kind) == (Side.CLIENT, Kind.RESUME):
            self._token = body[:TOKEN_SIZE]
        elif (side, kind) == (Side.SERVER, Kind.WELCOME):
            try:
                welcome = bodies.decode(side, kind, body)
            except AntiphonError:  # the client reports it
                return
            assert isinstance(welcome, Welcome)
            self._token = welcome.token or self._token


class _Splitter:
    """Splits the bytes of one direction into frames; yields None, as the last item, if they are not frames."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._broken = False

    def split(self, data: bytes) -> Iterator[bytes | None]:
        if self._broken:
            return
        self._data += data
        while len(self._data) >= HEADER_SIZE:
            length, _, _, reserved, _ = read_header(self._data)
            if reserved or not COUNTED_HEADER_SIZE <= length <= LARGEST:
                self._broken = True
                self._data.clear()
                yield None
                return
            end = LENGTH_SIZE + length
            if len(self._data) < end:
                return
            frame = bytes(self._data[:end])
            del self._data[:end]
            yield frame


def _token_size(side: Side, kind: int) -> int:
    row = _ROWS.get((side, kind))
    return TOKEN_SIZE if row is not None and row.token else 0


def _name(kind: int) -> str:
    return Kind(kind).name if kind in Kind.__members__.values() else f"0x{kind:02x}"


def _header_line(frame: bytes) -> str:
    """Return the header with each field named."""
    parts = (("length", 0, 4), ("kind", 4, 5), ("flags", 5, 6), ("reserved", 6, 8), ("id", 8, 12))
    return " | ".join(f"{name} {frame[begin:end].hex(' ')}" for name, begin, end in parts)


def _dump(body: bytes, mask: bytearray) -> Iterator[str]:
    """Yield a body as `hexdump -C` shows it, with offsets in the frame; secret bytes are stars in both columns."""
    for at in range(0, len(body), 16):
        pairs = list(zip(body[at : at + 16], mask[at : at + 16], strict=True))
        digits = [("**", "!!")[hidden - HIDDEN] if hidden else f"{byte:02x}" for byte, hidden in pairs]
        letters = "".join(
            "*!"[hidden - HIDDEN] if hidden else chr(byte) if 0x20 <= byte < 0x7F else "."
            for byte, hidden in pairs
        )
        yield f"{HEADER_SIZE + at:08x}  {' '.join(digits[:8]):23}  {' '.join(digits[8:]):23}  |{letters}|"


def _lines(text: str) -> list[str]:
    """Break JSON into lines, between two fields."""
    lines = [""]
    for part in re.split(r'(?<=,)(?=")', text):
        if lines[-1] and len(lines[-1] + part) > WIDTH:
            lines.append("")
        lines[-1] += part
    return lines if text else []


def _quoted(payload: bytes, mask: bytearray, most: int) -> str:
    """Return the beginning of a payload as one line of text, with `***` for secret bytes."""
    seen = bytearray()
    for byte, hidden in zip(payload[: 4 * most], mask, strict=False):
        if not hidden:
            seen.append(byte)
        elif not seen.endswith(_STARS):
            seen += _STARS
    text = printable(seen.decode("utf-8", "backslashreplace"))
    return text[:most] + "…" if len(text) > most or len(payload) > 4 * most else text
