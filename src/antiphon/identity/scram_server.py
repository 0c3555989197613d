"""Server side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 5929, 7677).

It limits the size of every message before it is parsed, lets the caller look up the account between two steps, and
turns every failure into one error. The caller passes nonces in.
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from hashlib import sha256
from operator import xor

from antiphon.errors import SignInRefused
from antiphon.identity.names import LONGEST as LONGEST_NAME
from antiphon.identity.scram import (
    BINDING_TYPE,
    KEY_SIZE,
    LEAST_NONCE,
    Verifier,
    check_base64,
    check_mechanism,
    text_of,
)

WRONG_BINDING = "channel-binding-wrong"
NO_BINDING = "channel-binding-missing"
MALFORMED = "malformed"
"""Values of `why` in `SignInRefused`, for the server's log alone: the peer gets the same refusal for all."""

_ESCAPED = re.compile(r"=(2C|3D)?")
"""An equals sign in a name, with the two digits that must follow it (RFC 5802, 5.1): capitals, and no others."""

_VALUE = r"[^,\0]+"
_NONCE = r"[!-+\--~]+"
_EXTENSIONS = rf"(?:,[A-Zbdfghjkloqtuwxyz]={_VALUE})*"
"""Attributes that this version does not know, and ignores (RFC 5802, 5.1): letters that no other attribute has."""
_FIRST_BARE = re.compile(rf"n={_VALUE},r=(?P<nonce>{_NONCE})(?P<extensions>{_EXTENSIONS})")
_FINAL = re.compile(
    rf"c=(?P<channel>{_VALUE}),r=(?P<nonce>{_NONCE})(?P<extensions>{_EXTENSIONS}),p=(?P<proof>{_VALUE})"
)
"""The client's messages, the first one without its GS2 header (RFC 5802, 7)."""


class _Step(IntEnum):
    """The next step of a server's exchange."""

    FIRST = 0
    CHALLENGE = 1
    FINAL = 2
    OVER = 3


class ServerExchange:
    """The server's side of one SCRAM exchange. Call `name_in`, `challenge` and `verify` in this order, each once.

    After a refusal, and for a call out of order, every further step is refused.
    """

    __slots__ = (
        "_authzid",
        "_binding",
        "_challenge",
        "_first_bare",
        "_flag",
        "_name",
        "_next",
        "_nonce",
        "_verifier",
    )

    def __init__(self, mechanism: str, binding: bytes | None, nonce: str) -> None:
        """Begin with the `mechanism` that the client chose.

        `binding` is the channel binding of this connection (RFC 5929, 4), None on plain TCP; `nonce` is 18 or more
        random bytes in base64, never used before.

        Raises:
            MechanismUnsupported: this kind of connection needs the other mechanism.
        """
        check_mechanism(mechanism, binding)
        self._binding = binding
        self._nonce = nonce
        """The server's part of the nonce; the whole of it once the challenge is made."""
        self._next = _Step.FIRST
        self._name = ""
        self._flag = ""
        """GS2 flag: the way in which the client binds itself to the channel."""
        self._authzid = ""
        self._first_bare = ""
        self._challenge = ""

    def name_in(self, client_first: bytes) -> str:
        """Return the name that the client's first message claims, as sent. Pass it to `names.prepare`.

        Raises:
            SignInRefused: the message is not a valid first message, or has more than `MESSAGE_LIMIT` bytes.
        """
        with self._step(_Step.FIRST):
            self._flag, self._authzid, self._first_bare = text_of(client_first).split(",", 2)
            claim, _, rest = self._first_bare.partition(",")
            if not claim.startswith("n="):
                raise ValueError("the third field is not a name")
            if len(rest.partition(",")[0].removeprefix("r=")) < LEAST_NONCE:
                raise ValueError("the nonce is too short")
            self._name = _ESCAPED.sub(_unescaped, claim[2:])
            if len(self._name) > LONGEST_NAME:
                raise ValueError("longer than any name; preparing it would take milliseconds")
            return self._name

    def challenge(self, verifier: Verifier) -> bytes:
        """Return the server's first message; `verifier` is that of the account, or a mock one.

        Raises:
            SignInRefused: the client's first message breaks a rule of RFC 5802, or is not bound to the TLS channel
                (flag `n` or `y`).
        """
        with self._step(_Step.CHALLENGE):
            self._check_flag()
            _check_saslprep(self._name)
            if self._authzid:
                raise ValueError("on behalf of somebody else")
            first = _matched(_FIRST_BARE, self._first_bare)
            self._verifier = verifier
            self._nonce = first["nonce"] + self._nonce
            salt = b64encode(verifier.salt).decode()
            self._challenge = f"r={self._nonce},s={salt},i={verifier.iterations}"
            return self._challenge.encode()

    def verify(self, client_final: bytes) -> bytes:
        """Check the client's proof; return the server's final message, which proves that it knows the account.

        Raises:
            SignInRefused: the proof does not match the verifier, or the message is invalid.
        """
        with self._step(_Step.FINAL):
            text = text_of(client_final)
            final = _matched(_FINAL, text)
            self._check_channel(final["channel"])
            if final["nonce"] != self._nonce:
                raise ValueError("another nonce")
            check_base64(final["proof"])
            signed = ",".join((self._first_bare, self._challenge, text.rpartition(",p=")[0])).encode()
            self._check_proof(b64decode(final["proof"]), signed)
            return b"v=" + b64encode(hmac.digest(self._verifier.server_key, signed, "sha256"))

    @contextmanager
    def _step(self, step: _Step) -> Iterator[None]:
        due, self._next = self._next, _Step.OVER
        if due != step:
            raise SignInRefused
        try:
            yield
        except ValueError:
            raise SignInRefused(why=MALFORMED) from None
        self._next = _Step(step + 1)

    def _check_flag(self) -> None:
        """Check how the client's first message is to be bound to the channel: over TLS there is one way.

        Raises:
            SignInRefused: over TLS it is to be bound in no way, or in another one.
            ValueError: the flag breaks RFC 5802, or binds to a channel that there is not.
        """
        if self._binding is None:
            if self._flag not in ("n", "y"):
                raise ValueError("no flag of a channel without a binding")
        elif self._flag in ("n", "y"):
            raise SignInRefused(why=NO_BINDING)
        elif not self._flag.startswith("p="):
            raise ValueError("no flag")
        elif self._flag != f"p={BINDING_TYPE}":
            raise SignInRefused(why=WRONG_BINDING)

    def _check_channel(self, field: str) -> None:
        """Check that the first field of the client's final message is of this channel.

        A relay with another certificate fails here, with the right password as with a wrong one.

        Raises:
            SignInRefused: over TLS the field is of another channel, or of none.
            ValueError: it is no base64, or on plain TCP not what the first message began with.
        """
        channel = b64decode(field, validate=True)
        header = f"{self._flag},,".encode()
        if channel == header + (self._binding or b""):
            return
        if self._binding is None:
            raise ValueError("another channel binding")
        raise SignInRefused(why=NO_BINDING if channel in (header, b"n,,", b"y,,") else WRONG_BINDING)

    def _check_proof(self, proof: bytes, signed: bytes) -> None:
        """Check that the client knows the key of the verifier (RFC 5802, 3).

        Raises:
            SignInRefused: it does not.
        """
        stored_key = self._verifier.stored_key
        signature = hmac.digest(stored_key, signed, "sha256")
        client_key = bytes(map(xor, signature, proof))
        if len(proof) != KEY_SIZE or not hmac.compare_digest(sha256(client_key).digest(), stored_key):
            raise SignInRefused


def _unescaped(found: re.Match[str]) -> str:
    """Return the character that an escape in a name stands for.

    Raises:
        ValueError: it is neither `=2C` nor `=3D`.
    """
    if found[1] is None:
        raise ValueError("an equals sign without 2C or 3D")
    return "," if found[1] == "2C" else "="


def _matched(form: re.Pattern[str], message: str) -> re.Match[str]:
    """Return the parts of a message of the client.

    Raises:
        ValueError: it breaks RFC 5802, or has one extension twice.
    """
    found = form.fullmatch(message)
    if found is None:
        raise ValueError("not of this form")
    letters = [extension[0] for extension in found["extensions"].split(",")[1:]]
    if len(set(letters)) < len(letters):
        raise ValueError("an extension twice")
    return found


def _check_saslprep(name: str) -> None:
    """Check that a name passes SASLprep (RFC 5802, 5.1), as printable ASCII does.

    Raises:
        ValueError: it does not.
    """
    if name.isascii() and name.isprintable():
        return
    from scramp import ScramException  # noqa: PLC0415 - see `make_verifier`
    from scramp.utils import saslprep  # noqa: PLC0415

    try:
        prepared = saslprep(name)
    except ScramException as error:
        raise ValueError("SASLprep forbids it") from error
    if not prepared:
        raise ValueError("nothing is left of it")
