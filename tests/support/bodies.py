"""One example of each message body of the protocol."""

from antiphon.wire.bodies import (
    INVITATIONS,
    REPLACE,
    Authenticate,
    Body,
    Bye,
    Challenge,
    ChallengeAnswer,
    ChangePassword,
    Credential,
    Error,
    Hello,
    Identified,
    Identify,
    Lifetimes,
    Limits,
    PasswordAnswer,
    Register,
    Resume,
    Scram,
    ServerBye,
    Welcome,
)
from antiphon.wire.kinds import Kind, Side

CREDENTIAL = Credential(salt=bytes(32), iterations=600_000, stored_key=b"S" * 32, server_key=b"K" * 32)
HELLO = Hello(
    versions=[1],
    product="antiphon",
    access="authenticate",
    mechanisms=["SCRAM-SHA-256"],
    features=[INVITATIONS, REPLACE],
    limits=Limits(message=1024, heartbeat=20, silence=40),
    registration=True,
    scram=Scram(salt_length=32, iterations=600_000),
    password_minimum=15,
)
WELCOME = Welcome(
    name="Вадим",
    first=False,
    last_visit="2026-01-02T03:04:05Z",
    last_address="::1",
    refusals=2,
    token=b"T" * 16,
    lifetimes=Lifetimes(unheld=1800, total=86400),
    must_change=False,
    greeting="Здравствуйте, Вадим!",
    data=b"v=signature",
)
BODIES: dict[tuple[Side, int], Body] = {
    (Side.CLIENT, Kind.IDENTIFY): Identify(name="Вадим", language="ru"),
    (Side.CLIENT, Kind.REGISTER): Register(name="ann", credential=CREDENTIAL, invitation=b"I" * 16),
    (Side.CLIENT, Kind.AUTHENTICATE): Authenticate(mechanism="SCRAM-SHA-256", data=b"n,,n=ann,r=1"),
    (Side.CLIENT, Kind.CHALLENGE): ChallengeAnswer(data=b"c=biws,r=12,p=proof"),
    (Side.CLIENT, Kind.RESUME): Resume(),
    (Side.CLIENT, Kind.PASSWORD): ChangePassword(mechanism="SCRAM-SHA-256", data=b"n,,n=ann,r=1"),
    (Side.CLIENT, Kind.BYE): Bye(),
    (Side.SERVER, Kind.HELLO): HELLO,
    (Side.SERVER, Kind.IDENTIFY): Identified(name="ann", free=None),
    (Side.SERVER, Kind.REGISTER): Identified(name="ann", free=False),
    (Side.SERVER, Kind.CHALLENGE): Challenge(data=b"r=12,s=,i=600000"),
    (Side.SERVER, Kind.WELCOME): WELCOME,
    (Side.SERVER, Kind.PASSWORD): PasswordAnswer(data=b"v=signature"),
    (Side.SERVER, Kind.ERROR): Error(code="try-later", text="Not now.", hint="Wait.", wait=3),
    (Side.SERVER, Kind.BYE): ServerBye(reason="drained"),
}
