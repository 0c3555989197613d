"""Explainer of connections: tells each frame as it is sent or received, at length or in one line.

`wire/secrecy.py` decides which bytes of a frame are secret. Explaining changes nothing in what the client does.
"""

import contextlib
import ssl
import time
from collections.abc import Callable, Iterator

from antiphon.errors import AntiphonError
from antiphon.identity.certificates import binding_of, fingerprint_of
from antiphon.language import N_
from antiphon.printable import printable
from antiphon.terminal.console import Console
from antiphon.terminal.explain import words
from antiphon.terminal.explain.layout import SPOILED, dump, header_lines, json_lines, quoted
from antiphon.terminal.explain.splitter import Splitter
from antiphon.wire import bodies
from antiphon.wire.bodies import Welcome
from antiphon.wire.frames import HEADER_SIZE, read_header
from antiphon.wire.kinds import TABLE, TOKEN_SIZE, Flag, Kind, Side
from antiphon.wire.secrecy import shown
from antiphon.wrapping import cut

DUMPED = 128
"""Bytes of a body in the dump: enough for most bodies, and few enough for several frames on a screen."""
QUOTED = 200
"""Characters of a message shown as text."""
JSON_QUOTED = 2000
"""Characters of a JSON body shown as text."""
INDENT = "    "
SENT, RECEIVED, AROUND = 36, 32, 1
"""Cyan, green, bold."""

_BEFORE_QUESTION = N_(
    "The client closes it before it asks you: you may type for longer than the server waits for a sign-in. "
    "With your answer it connects again."
)

_ROWS = {(row.sender, int(row.kind)): row for row in TABLE}
_FLAGS = {int(flag): str(flag.name) for flag in Flag}


class Explainer:
    """Explains all connections of one run of the client."""

    def __init__(
        self, console: Console, clock: Callable[[], float] = time.monotonic, *, short: bool = False
    ) -> None:
        """Explain on `console`; times are counted from now, by `clock` in seconds. `short`: one line a frame."""
        self.console = console
        self.short = short
        self._asks = False
        """The client closes a connection in order to ask a question, which is still to be explained."""
        self._explained = False
        self._clock = clock
        self._began = clock()
        self._connections = 0

    def watch(self, address: str) -> "Watched":
        """Return the observer of the next connection, to `address` (`client.aio.connection.Observe`)."""
        self._connections += 1
        return Watched(self, address, self._connections)

    @property
    def columns(self) -> int | None:
        """Columns for what is indented below a heading; None where there is no terminal."""
        columns = self.console.columns
        return None if columns is None else columns - len(INDENT)

    @contextlib.contextmanager
    def before_question(self) -> Iterator[None]:
        """Explain, once, why the connection that is closed in the block is closed."""
        self._asks = not self._explained
        try:
            yield
        finally:
            self._asks = False

    def why_closed(self) -> list[str]:
        """Return the lines that explain why a connection was closed."""
        if not self._asks:
            return []
        self._asks, self._explained = False, True
        return [self.console.translations.gettext(_BEFORE_QUESTION)]

    def say(self, sign: str, heading: str, lines: list[str], colour: int) -> None:
        """Print a heading and indented lines on standard error, above the prompt; a short heading is one line."""
        heading = f"[{self._clock() - self._began:8.3f} s] {sign} {heading}"
        if self.short and self.console.columns is not None:
            heading = cut(printable(heading), self.console.columns)

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
        self._out = Splitter()
        self._in = Splitter()
        self._token = b""
        """The session's token, to recognise a spoiled one."""

    def __repr__(self) -> str:
        """Hide the token."""
        return f"Watched({self._address!r})"

    def opened(self, tls: ssl.SSLObject | None) -> None:
        """Explain the connection: plain TCP, or TLS with its parameters."""
        _ = self._
        heading = _("connection {number} to {address}").format(number=self._number, address=self._address)
        if self._explainer.short:
            heading += "  " + ("TCP" if tls is None else str(tls.version()))
            self._explainer.say("==", heading, [], AROUND)
            return
        lines = [_("-> sent, <- received; ** is a secret byte.")] if self._number == 1 else []
        if tls is None:
            lines.append(_("Plain TCP: anyone on the network can read all of this, secrets included."))
        else:
            lines += self._explain_tls(tls)
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
        self._explainer.say("==", heading, self._explainer.why_closed(), AROUND)

    def _explain(self, side: Side, frame: bytes | None) -> None:
        sign, colour = ("->", SENT) if side is Side.CLIENT else ("<-", RECEIVED)
        if frame is None:
            lines = [self._("These bytes are not a frame: they are not shown, nor is anything after them.")]
            self._explainer.say(sign, "?", lines, colour)
            return
        length, kind, flags, _reserved, id = read_header(frame)
        body = frame[HEADER_SIZE:]
        mask, hidden = shown(side, kind, body)
        spoiled = _token_size(side, kind) > 0 and self._spoiled(body, mask)
        self._learn(side, kind, body)
        if self._explainer.short:
            parts = [_name(kind), f"id {id}", *([self._(words.WRONG_TOKEN)] if spoiled else [])]
            parts.append(self._in_short(side, kind, flags, body, mask))
            self._explainer.say(sign, "  ".join(parts), [], colour)
            return
        columns = self._explainer.columns
        lines = [self._meaning(side, kind, flags, id), *self._rule(side, kind), *header_lines(frame, columns)]
        if spoiled:
            lines.append(
                self._("The token is not this session's (!! marks the difference): the server will refuse it.")
            )
        lines += self._text(side, kind, flags, body, mask)
        lines += dump(body[:DUMPED], mask, columns)
        if len(body) > DUMPED:
            lines.append(self._("… and {count} bytes more.").format(count=len(body) - DUMPED))
        if hidden:
            lines.append(self._("Hidden: {what}.").format(what=", ".join(hidden)))
        parts = [
            _name(kind),
            f"id {id}",
            *(word for bit, word in _FLAGS.items() if flags & bit),
            f"length {length}",
        ]
        self._explainer.say(sign, "  ".join(parts), lines, colour)

    def _in_short(self, side: Side, kind: int, flags: int, body: bytes, mask: bytearray) -> str:
        """Return what a frame means, or what it holds, in a few words."""
        if (side, kind) not in _ROWS:
            return self._(words.UNKNOWN)
        if (side, kind) in words.SHORT:
            return self._(words.SHORT[side, Kind(kind)])
        begin = _token_size(side, kind)
        if kind != Kind.MESSAGE:
            return "".join(self._text(side, kind, flags, body, mask))
        if flags & Flag.TEXT:
            return quoted(body[begin:], mask[begin:], QUOTED)
        return self._(words.BYTES).format(count=len(body) - begin)

    def _meaning(self, side: Side, kind: int, flags: int, id: int) -> str:
        if (side, kind) == (Side.SERVER, Kind.MESSAGE) and (id == 0 or flags & Flag.LAST):
            return self._(words.ANSWER if id else words.PUSH)
        if (side, kind, id) == (Side.SERVER, Kind.ERROR, 0):
            return self._(words.FATAL)
        return self._(words.MEANINGS[side, Kind(kind)] if (side, kind) in _ROWS else words.UNKNOWN)

    def _rule(self, side: Side, kind: int) -> Iterator[str]:
        """Yield who may send a frame of this kind and when, by the table of kinds."""
        _ = self._
        row = _ROWS.get((side, kind))
        if row is not None:
            yield _(words.RULE).format(
                side=_(words.SIDES[side]),
                phase=_(words.PHASES[row.phases]),
                token=_(words.WITH_TOKEN if row.token else words.WITHOUT_TOKEN),
            )

    def _text(self, side: Side, kind: int, flags: int, body: bytes, mask: bytearray) -> Iterator[str]:
        """Yield the content of a body that is text, a count or JSON."""
        begin = _token_size(side, kind)
        if kind == Kind.MESSAGE and flags & Flag.TEXT:
            text = quoted(body[begin:], mask[begin:], QUOTED)
            yield self._("Text: {text}").format(text=text)
        elif (side, kind) == (Side.CLIENT, Kind.ACK):
            count = int.from_bytes(body[begin:], "big")
            yield self._("Frames received: {count}.").format(count=count)
        elif (side, kind) in bodies.SCHEMAS:
            yield from json_lines(quoted(body[begin:], mask[begin:], JSON_QUOTED), self._explainer.columns)

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


def _token_size(side: Side, kind: int) -> int:
    row = _ROWS.get((side, kind))
    return TOKEN_SIZE if row is not None and row.token else 0


def _name(kind: int) -> str:
    return Kind(kind).name if kind in Kind.__members__.values() else f"0x{kind:02x}"
