"""The JSON bodies of control frames: one fixed schema each (docs/protocol.md).

A server refuses fields that it does not know; a client passes over them, so that servers may say more later.
"""

import json
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from antiphon.errors import BodyInvalid
from antiphon.wire.kinds import TOKEN_SIZE, Kind, Side

VERSION = 1
"""The version of the wire that this package speaks."""
SECRET_SIZE = 16
"""Bytes of an invitation's secret: 128 bits."""
SASL_LIMIT = 1024
"""Bytes of one SASL message, as PostgreSQL has it (promise 10)."""
SCRAM_SHA_256 = "scram-sha-256"
"""The type of the only credential of this version."""

Sasl = Annotated[bytes, Meta(max_length=SASL_LIMIT)]
Language = Annotated[str, Meta(max_length=35)]
"""A language tag (RFC 5646); 35 characters hold every registered one."""


Invitation = Annotated[bytes, Meta(min_length=SECRET_SIZE, max_length=SECRET_SIZE)]
"""An invitation's secret: the right to register, once."""
INVITATIONS = "invitations"
"""The word in HELLO's `features` that says that IDENTIFY and REGISTER take one."""

Count = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
"""A whole number that fits the header's width; JSON itself would allow thousands of digits."""
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
"""Never negative, and never more than a clock can wait."""


Frames = Annotated[int, Meta(ge=0, le=2**53)]
"""How many frames of a session have passed in one direction; JSON's numbers are exact up to there."""


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a client sends."""


class FirstRequest(Request, frozen=True, kw_only=True):
    """What a client may send first: it names the version, and the language for what people will read."""

    version: Count = VERSION
    language: Language = "en"


class Identify(FirstRequest, frozen=True, kw_only=True):
    """Who I say I am; without a name, the question whether I am known.

    Answered with `Identified`, or with `Welcome` where the access asks for no more than that.
    """

    name: str | None = None
    instead_of: str | None = None
    """A name that the server knows at this address and that was wrong: `name` replaces it."""
    invitation: Invitation | None = None

    def __repr__(self) -> str:
        """Hide the invitation."""
        return f"Identify(name={self.name!r}, instead_of={self.instead_of!r})"


class Credential(Request, frozen=True, kw_only=True):
    """A SCRAM verifier (RFC 5802, 3), made by the client: the server never sees the password."""

    type: str = SCRAM_SHA_256
    salt: bytes
    iterations: Count
    stored_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        """Hide the keys."""
        return f"Credential(type={self.type!r}, iterations={self.iterations})"


class Register(FirstRequest, frozen=True, kw_only=True):
    """Remember me; answered with `Identified`."""

    name: str
    credential: Credential
    invitation: Invitation | None = None

    def __repr__(self) -> str:
        """Hide the invitation."""
        return f"Register(name={self.name!r}, credential={self.credential!r})"


class Authenticate(FirstRequest, frozen=True, kw_only=True):
    """Begin a SASL exchange with the client's first message; answered with `Challenge`."""

    mechanism: str
    data: Sasl

    def __repr__(self) -> str:
        """Hide what is between the person and the server."""
        return f"Authenticate(mechanism={self.mechanism!r})"


class ChallengeAnswer(Request, frozen=True, kw_only=True):
    """The client's next SASL message; answered with `Welcome`."""

    data: Sasl

    def __repr__(self) -> str:
        """Hide the proof: passwords can be tried against it."""
        return "ChallengeAnswer()"


class Resume(FirstRequest, frozen=True, kw_only=True):
    """Take up the session whose token stands before this body; answered with `Welcome`."""

    received: Frames | None = None
    """How many counted frames of the session have come from the server; None: begin the counts anew."""


class ChangePassword(Request, frozen=True, kw_only=True):
    """A step of a change of password, inside the session; answered with `PasswordAnswer`.

    First mechanism and data begin a SASL exchange, then data alone proves the old password, then the credential
    takes its place.
    """

    mechanism: str | None = None
    data: Sasl | None = None
    credential: Credential | None = None

    def __post_init__(self) -> None:
        """Take the three forms and no other."""
        given = (self.mechanism is not None, self.data is not None, self.credential is not None)
        if given not in _STEPS:
            raise ValueError("mechanism and data, data alone, or a credential alone")

    def __repr__(self) -> str:
        """Hide the proof: passwords can be tried against it."""
        return f"ChangePassword(mechanism={self.mechanism!r}, credential={self.credential!r})"


_STEPS = ((True, True, False), (False, True, False), (False, False, True))


class Bye(Request, frozen=True, kw_only=True):
    """The last words of a client: `left` ends the session, any other reason keeps it."""

    reason: str = "left"


class ServerBye(Bye, frozen=True, forbid_unknown_fields=False, kw_only=True):
    """The last words of the server: `left`, `drained`, `replaced`, `revoked`, `expired` or `closed`."""

    text: str = ""
    """For the person, where the service has said why it closes."""


class Limits(Struct, frozen=True, kw_only=True):
    """What a client must keep to."""

    message: Count
    """Bytes in one message."""
    heartbeat: Seconds
    """Seconds of sending nothing after which a heartbeat is due."""
    silence: Seconds
    """Seconds of hearing nothing after which the server cuts the connection."""


class Scram(Struct, frozen=True, kw_only=True):
    """The parameters with which a new credential must be made."""

    salt_length: Count
    iterations: Count


class Hello(Struct, frozen=True, kw_only=True):
    """The server's first frame: what it speaks and wants."""

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
    """Whether accounts remain whose password is the MD5 of an old system's."""


class Identified(Struct, frozen=True, kw_only=True):
    """The answer to IDENTIFY and REGISTER."""

    name: str | None
    """The name as the server spells it; None where none was asked about."""
    free: bool | None
    """Whether it can be registered; None where registration is closed and there is no invitation."""
    known: list[str] | None = None
    """The names known at the client's address, the one that came last first; None where that was not asked."""


class Challenge(Struct, frozen=True, kw_only=True):
    """The server's SASL message."""

    data: bytes


class Lifetimes(Struct, frozen=True, kw_only=True):
    """How long a session lives, in seconds."""

    unheld: Seconds
    """without a connection"""
    total: Seconds
    """in all"""


class Welcome(Struct, frozen=True, kw_only=True):
    """The session is open."""

    name: str
    """Empty where nobody has to give one."""
    first: bool
    """Whether this is the first visit."""
    last_visit: str | None
    """When the last one was: RFC 3339, UTC."""
    last_address: str | None
    refusals: Count
    """Refused sign-ins since then."""
    token: Annotated[bytes, Meta(min_length=TOKEN_SIZE, max_length=TOKEN_SIZE)] | None
    """16 bytes for every frame that needs a session; None after RESUME, which keeps its token."""
    lifetimes: Lifetimes
    must_change: bool
    """Whether a new password must be chosen before anything else."""
    greeting: str
    """For the person, in the language asked for."""
    data: bytes | None
    """The mechanism's last word (SCRAM: the server's signature), which the client verifies first."""
    received: Frames | None = None
    """After RESUME: how many counted frames have come from the client; None: the server does not know any more."""
    missed: Frames = 0
    """After RESUME: how many frames that the client has not got are gone for good."""
    sent: Frames = 0
    """After RESUME: how many counted frames the server has sent, lost and kept ones alike."""
    open: list[Count] = []
    """After RESUME: the ids of the messages that have come and are not answered yet, in order."""

    def __repr__(self) -> str:
        """Hide the token."""
        return f"Welcome(name={self.name!r}, first={self.first})"


class PasswordAnswer(Struct, frozen=True, kw_only=True):
    """The server's SASL message: its challenge, then its signature; None when the password is changed."""

    data: bytes | None


class Error(Struct, frozen=True, kw_only=True):
    """A refusal; with id 0 it ends the connection."""

    code: str
    text: str
    hint: str = ""
    wait: Seconds = 0
    """Seconds before another try makes sense."""


Body = (
    Identify
    | Register
    | Authenticate
    | ChallengeAnswer
    | Resume
    | ChangePassword
    | Bye
    | Hello
    | Identified
    | Challenge
    | Welcome
    | PasswordAnswer
    | Error
)

SCHEMAS: dict[tuple[Side, int], type[Body]] = {
    (Side.CLIENT, Kind.IDENTIFY): Identify,
    (Side.CLIENT, Kind.REGISTER): Register,
    (Side.CLIENT, Kind.AUTHENTICATE): Authenticate,
    (Side.CLIENT, Kind.CHALLENGE): ChallengeAnswer,
    (Side.CLIENT, Kind.RESUME): Resume,
    (Side.CLIENT, Kind.PASSWORD): ChangePassword,
    (Side.CLIENT, Kind.BYE): Bye,
    (Side.SERVER, Kind.HELLO): Hello,
    (Side.SERVER, Kind.IDENTIFY): Identified,
    (Side.SERVER, Kind.REGISTER): Identified,
    (Side.SERVER, Kind.CHALLENGE): Challenge,
    (Side.SERVER, Kind.WELCOME): Welcome,
    (Side.SERVER, Kind.PASSWORD): PasswordAnswer,
    (Side.SERVER, Kind.ERROR): Error,
    (Side.SERVER, Kind.BYE): ServerBye,
}
"""Who sends which body in which kind; kinds that are not here have no body of ours."""

_DECODERS = {which: msgspec.json.Decoder(schema) for which, schema in SCHEMAS.items()}
_encoder = msgspec.json.Encoder()


def encode(body: Body) -> bytes:
    """Return a body as JSON."""
    return _encoder.encode(body)


def decode(sender: Side, kind: int, payload: bytes) -> Body:
    """Return the body that `sender` put into a frame of `kind`; an empty payload counts as an empty object.

    Raises:
        BodyInvalid: not JSON, or not of the schema.
    """
    payload = payload or b"{}"
    try:
        body = _DECODERS[sender, kind].decode(payload)
        # msgspec takes the last of two fields of one name, where another reader may take the first.
        _fields.decode(payload.decode())
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BodyInvalid(kind=Kind(kind).name, problem=_problem(error)) from None
    return body


def _each_once(fields: list[tuple[str, object]]) -> None:
    if len({name for name, _ in fields}) < len(fields):
        raise msgspec.ValidationError("Object contains a field twice")


_fields = json.JSONDecoder(object_pairs_hook=_each_once, parse_int=str)
"""Only looks: what it gives is nothing."""


def _problem(error: Exception) -> str:
    """Return what did not fit; msgspec names fields and types, never a value."""
    return str(error).rstrip(".") if isinstance(error, msgspec.ValidationError) else "not JSON in UTF-8"
