"""JSON bodies of control frames, each with a fixed schema (docs/protocol.md).

A server refuses unknown fields. A client ignores them, so that later servers can add fields.
"""

import json
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from antiphon.errors import BodyInvalid
from antiphon.wire.kinds import TOKEN_SIZE, Kind, Side

VERSION = 1
"""Version of the wire."""
SECRET_SIZE = 16
"""Bytes of an invitation's secret: 128 bits."""
SASL_LIMIT = 1024
"""Bytes of one SASL message, at most; the limit of PostgreSQL (promise 10)."""
SCRAM_SHA_256 = "scram-sha-256"
"""Type of the only credential of this version."""

Sasl = Annotated[bytes, Meta(max_length=SASL_LIMIT)]
Language = Annotated[str, Meta(max_length=35)]
"""Language tag (RFC 5646); 35 characters are enough for every registered one."""


Invitation = Annotated[bytes, Meta(min_length=SECRET_SIZE, max_length=SECRET_SIZE)]
"""Secret of an invitation, which allows one registration."""
INVITATIONS = "invitations"
"""Word in HELLO's `features`: IDENTIFY and REGISTER take an invitation."""
REPLACE = "replace"
"""Word in HELLO's `features`: what opens a session, AUTHENTICATE or IDENTIFY, takes `replace`."""
Replace = bool | UnsetType
"""Whether the sign-in may end a session that a connection holds. Unset, it is not sent: servers that do not offer
it refuse the field."""
END_OTHERS = "end-others"
"""Word in HELLO's `features`: inside a session the server takes END_OTHERS."""

OLD_FORM = "old-form:"
"""Beginning of words in HELLO's `features`: the rest names what an old system has made of passwords."""

Count = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
"""Whole number of 32 bits; JSON itself would allow thousands of digits."""
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
"""Seconds: not negative, and not more than a clock can wait."""


Frames = Annotated[int, Meta(ge=0, le=2**53)]
"""Number of frames of a session in one direction; numbers in JSON are exact up to the limit."""


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body that a client sends."""


class FirstRequest(Request, frozen=True, kw_only=True):
    """Body that a client may send first: it names the version, and the language of texts for the person."""

    version: Count = VERSION
    language: Language = "en"


class Identify(FirstRequest, frozen=True, kw_only=True):
    """The name of the person; without one, the client asks for the names known at its address.

    The answer is `Identified`, or `Welcome` if the access needs nothing else.
    """

    name: str | None = None
    instead_of: str | None = None
    """A known name at this address that was wrong: `name` replaces it."""
    invitation: Invitation | None = None
    replace: Replace = UNSET

    def __repr__(self) -> str:
        """Hide the invitation."""
        return f"Identify(name={self.name!r}, instead_of={self.instead_of!r})"


class Credential(Request, frozen=True, kw_only=True):
    """SCRAM verifier (RFC 5802, 3). The client makes it: the server never gets the password."""

    type: str = SCRAM_SHA_256
    salt: bytes
    iterations: Count
    stored_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        """Hide the keys."""
        return f"Credential(type={self.type!r}, iterations={self.iterations})"


class Register(FirstRequest, frozen=True, kw_only=True):
    """Registration of a name; the answer is `Identified`."""

    name: str
    credential: Credential
    invitation: Invitation | None = None

    def __repr__(self) -> str:
        """Hide the invitation."""
        return f"Register(name={self.name!r}, credential={self.credential!r})"


class Authenticate(FirstRequest, frozen=True, kw_only=True):
    """First SASL message of the client; the answer is `Challenge`."""

    mechanism: str
    data: Sasl
    replace: Replace = UNSET

    def __repr__(self) -> str:
        """Hide the SASL message."""
        return f"Authenticate(mechanism={self.mechanism!r})"


class ChallengeAnswer(Request, frozen=True, kw_only=True):
    """Next SASL message of the client; the answer is `Welcome`."""

    data: Sasl

    def __repr__(self) -> str:
        """Hide the proof: passwords can be guessed against it."""
        return "ChallengeAnswer()"


class Resume(FirstRequest, frozen=True, kw_only=True):
    """Resumption of the session whose token stands before this body; the answer is `Welcome`."""

    received: Frames | None = None
    """Counted frames received from the server in this session; None: both counts start again."""


class ChangePassword(Request, frozen=True, kw_only=True):
    """Step of a password change, inside the session; the answer is `PasswordAnswer`.

    Step 1 holds mechanism and data, the start of a SASL exchange; step 2 data alone, the proof of the old
    password; step 3 the new credential.
    """

    mechanism: str | None = None
    data: Sasl | None = None
    credential: Credential | None = None

    def __post_init__(self) -> None:
        """Accept the three steps and nothing else."""
        given = (self.mechanism is not None, self.data is not None, self.credential is not None)
        if given not in _STEPS:
            raise ValueError("mechanism and data, data alone, or a credential alone")

    def __repr__(self) -> str:
        """Hide the proof: passwords can be guessed against it."""
        return f"ChangePassword(mechanism={self.mechanism!r}, credential={self.credential!r})"


_STEPS = ((True, True, False), (False, True, False), (False, False, True))


class EndOthers(Request, frozen=True, kw_only=True):
    """The end of all other sessions of the account, inside a session; the answer is `OthersEnded`."""


class Bye(Request, frozen=True, kw_only=True):
    """Last frame of a client: `left` ends the session, any other reason keeps it."""

    reason: str = "left"


class ServerBye(Bye, frozen=True, forbid_unknown_fields=False, kw_only=True):
    """Last frame of the server: `left`, `drained`, `replaced`, `revoked`, `expired` or `closed`."""

    text: str = ""
    """Text for the person, if the service has said why it closes."""
    cause: str = ""
    """With `revoked`: why, one word of the revocation log; `errors.SessionRevoked` has the known ones."""


class Limits(Struct, frozen=True, kw_only=True):
    """Limits for the client."""

    message: Count
    """Bytes of one message, at most."""
    heartbeat: Seconds
    """Seconds without sending after which the client sends a heartbeat."""
    silence: Seconds
    """Seconds without receiving after which the server cuts the connection."""


class Scram(Struct, frozen=True, kw_only=True):
    """Parameters of a new credential."""

    salt_length: Count
    iterations: Count


class Hello(Struct, frozen=True, kw_only=True):
    """First frame of the server: what it offers and needs."""

    versions: list[Count]
    product: str
    access: str
    mechanisms: list[str]
    features: list[str]
    limits: Limits
    registration: bool
    scram: Scram
    password_minimum: Count
    imports: bool = False
    """Whether there are accounts left with an MD5 digest from an old system; `features` names other forms."""


class Identified(Struct, frozen=True, kw_only=True):
    """Answer to IDENTIFY and REGISTER."""

    name: str | None
    """The name in the server's spelling; None if the question had none."""
    free: bool | None
    """Whether it can be registered; None if registration is closed and there is no invitation."""
    known: list[str] | None = None
    """Names known at the client's address, the last visitor first; None if that was not asked."""


class Challenge(Struct, frozen=True, kw_only=True):
    """SASL message of the server."""

    data: bytes


class Lifetimes(Struct, frozen=True, kw_only=True):
    """Lifetimes of a session, in seconds."""

    unheld: Seconds
    """Without a connection."""
    total: Seconds
    """In all."""


class Welcome(Struct, frozen=True, kw_only=True):
    """The session is open."""

    name: str
    """Empty if the access needs none."""
    first: bool
    """Whether this is the first visit."""
    last_visit: str | None
    """Time of the last visit: RFC 3339, UTC."""
    last_address: str | None
    refusals: Count
    """Refused sign-ins since the last visit."""
    token: Annotated[bytes, Meta(min_length=TOKEN_SIZE, max_length=TOKEN_SIZE)] | None
    """Token of the session; None after RESUME, which keeps the token."""
    lifetimes: Lifetimes
    must_change: bool
    """Whether the password must be changed before anything else."""
    greeting: str
    """Text for the person, in the requested language."""
    data: bytes | None
    """Last message of the mechanism (SCRAM: the server's signature). The client verifies it first."""
    received: Frames | None = None
    """After RESUME: counted frames received from the client; None: the server no longer knows."""
    missed: Frames = 0
    """After RESUME: frames that the client has not received and that are lost."""
    sent: Frames = 0
    """After RESUME: counted frames that the server has sent, lost ones included."""
    open: list[Count] = []
    """After RESUME: ids of the received messages that are not answered yet, in order."""

    def __repr__(self) -> str:
        """Hide the token."""
        return f"Welcome(name={self.name!r}, first={self.first})"


class PasswordAnswer(Struct, frozen=True, kw_only=True):
    """SASL message of the server: its challenge, then its signature; None once the password is changed."""

    data: bytes | None


class OthersEnded(Struct, frozen=True, kw_only=True):
    """Answer to END_OTHERS."""

    sessions: Count
    """How many sessions have ended."""


class Error(Struct, frozen=True, kw_only=True):
    """Refusal; with id 0 it ends the connection."""

    code: str
    text: str
    hint: str = ""
    wait: Seconds = 0
    """Seconds after which another try makes sense."""


Body = (
    Identify
    | Register
    | Authenticate
    | ChallengeAnswer
    | Resume
    | ChangePassword
    | EndOthers
    | Bye
    | Hello
    | Identified
    | Challenge
    | Welcome
    | PasswordAnswer
    | OthersEnded
    | Error
)

SCHEMAS: dict[tuple[Side, int], type[Body]] = {
    (Side.CLIENT, Kind.IDENTIFY): Identify,
    (Side.CLIENT, Kind.REGISTER): Register,
    (Side.CLIENT, Kind.AUTHENTICATE): Authenticate,
    (Side.CLIENT, Kind.CHALLENGE): ChallengeAnswer,
    (Side.CLIENT, Kind.RESUME): Resume,
    (Side.CLIENT, Kind.PASSWORD): ChangePassword,
    (Side.CLIENT, Kind.END_OTHERS): EndOthers,
    (Side.CLIENT, Kind.BYE): Bye,
    (Side.SERVER, Kind.HELLO): Hello,
    (Side.SERVER, Kind.IDENTIFY): Identified,
    (Side.SERVER, Kind.REGISTER): Identified,
    (Side.SERVER, Kind.CHALLENGE): Challenge,
    (Side.SERVER, Kind.WELCOME): Welcome,
    (Side.SERVER, Kind.PASSWORD): PasswordAnswer,
    (Side.SERVER, Kind.END_OTHERS): OthersEnded,
    (Side.SERVER, Kind.ERROR): Error,
    (Side.SERVER, Kind.BYE): ServerBye,
}
"""The body of each kind from each sender; other kinds have no JSON body."""

_DECODERS = {which: msgspec.json.Decoder(schema) for which, schema in SCHEMAS.items()}
_encoder = msgspec.json.Encoder()


def encode(body: Body) -> bytes:
    """Return a body as JSON."""
    return _encoder.encode(body)


def decode(sender: Side, kind: int, payload: bytes) -> Body:
    """Return the body of a frame of `kind` from `sender`; an empty payload counts as an empty object.

    Raises:
        BodyInvalid: the payload is not JSON, or does not match the schema.
    """
    payload = payload or b"{}"
    try:
        body = _DECODERS[sender, kind].decode(payload)
        # Of two fields with one name msgspec takes the last, another reader may take the first: refuse both.
        _fields.decode(payload.decode())
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BodyInvalid(kind=Kind(kind).name, problem=_problem(error)) from None
    return body


def _each_once(fields: list[tuple[str, object]]) -> None:
    if len({name for name, _ in fields}) < len(fields):
        raise msgspec.ValidationError("Object contains a field twice")


_fields = json.JSONDecoder(object_pairs_hook=_each_once, parse_int=str)
"""Used for its check only."""


def _problem(error: Exception) -> str:
    """Return what is wrong; msgspec names fields and types, never a value."""
    return str(error).rstrip(".") if isinstance(error, msgspec.ValidationError) else "not JSON in UTF-8"
