"""Sign-in joined in memory: a real store, key ring and `Authenticator`, clients in the same event loop, no socket.

The clock is the test's. What a client sends goes through both conversations of the wire, so that the gate and the
bodies are as on a connection; what a connection does beside that (writing, deadlines, closing) is not here.
"""

import secrets
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from antiphon.data.credentials import seal
from antiphon.data.folder import DataFolder
from antiphon.data.keyring import LiveKeyRing
from antiphon.errors import AntiphonError, ProtocolError
from antiphon.identity.invitations import Secret
from antiphon.identity.invitations import fingerprint as invitation_mark
from antiphon.identity.names import prepare
from antiphon.identity.passwords import Password
from antiphon.identity.scram import (
    LEAST_ITERATIONS,
    SALT_SIZE,
    ClientExchange,
    Verifier,
    make_verifier,
    mechanism_for,
)
from antiphon.identity.throttle import name_mark
from antiphon.observe.log import ServerLog
from antiphon.server.auth.admission import Admission, Reply
from antiphon.server.auth.authenticator import Authenticator
from antiphon.server.auth.invitations import InvitationCheck
from antiphon.server.auth.proof import Passwords
from antiphon.server.auth.registration import Registration
from antiphon.server.auth.throttle import Throttle
from antiphon.server.hello import hello_of
from antiphon.server.listen.limits import (
    SOURCE_FAILURES,
    TABLE_SIZE,
    WRONG_MOST,
    RegistrationLimits,
    SourceFailures,
)
from antiphon.server.peer import Peer
from antiphon.server.session.holder import Session
from antiphon.server.session.manager import SessionManager
from antiphon.server.tasks import BackgroundTasks
from antiphon.settings import ServerSettings
from antiphon.store.contracts import Account, NewAccount, Store
from antiphon.store.sql import open_sqlite
from antiphon.wire.bodies import (
    SCRAM_SHA_256,
    Authenticate,
    Body,
    Challenge,
    ChallengeAnswer,
    ChangePassword,
    Error,
    Identify,
    Lifetimes,
    PasswordAnswer,
    Register,
    Resume,
    Welcome,
)
from antiphon.wire.conversation import ClientConversation, Control, ServerConversation
from antiphon.wire.frames import Refused
from antiphon.wire.kinds import Kind
from support.processes import PASSWORD
from support.serving import credential

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOME, OFFICE, ATTACKER = "127.0.0.1", "127.0.0.3", "127.0.0.2"
NONCE = "bm9uY2Ugb2YgdGhlIHRlc3QncyBjbGllbnQ="
BINDING = b"hash of the certificate, 32 byte"

CHEAP = make_verifier(Password(PASSWORD), bytes(SALT_SIZE), LEAST_ITERATIONS)
"""What is kept of `PASSWORD` with 4096 iterations, so that a right proof costs a client a millisecond."""


class Record(NamedTuple):
    """One record of the log."""

    level: str
    event: str
    fields: dict[str, object]


class RecordingLog(ServerLog):
    """Log that keeps its records."""

    def __init__(self) -> None:
        self.debug_on = False
        self.records: list[Record] = []

    def _write(self, level: str, event: str, fields: Any) -> None:
        self.records.append(Record(level, event, dict(fields)))

    def of(self, event: str) -> list[Record]:
        """Return the records of one event."""
        return [record for record in self.records if record.event == event]


@dataclass
class Clock:
    """Wall time that stands still until a test sets it."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Alone:
    """The processes of a store without others (`session.manager.Homes`)."""

    id = "here"

    async def find(self, id: str) -> None:
        """Find none."""


async def _relay_to_nobody(*_: object) -> None:
    raise AssertionError("there is no other process")


class AuthServer:
    """What a server has for sign-ins, on the store and the key ring of a data folder; `options` are settings."""

    def __init__(
        self, store: Store, ring: LiveKeyRing, clock: Clock, *, wrong_invitations: int = WRONG_MOST, **options: Any
    ) -> None:
        settings = ServerSettings(**{"registration": "open"} | options)
        self.store, self.ring, self.clock = store, ring, clock
        self.settings = settings
        self.log = RecordingLog()
        self.tasks = BackgroundTasks()
        self.sessions = SessionManager(
            store.sessions,
            store.revocations,
            store.accounts,
            ring.token_key,
            Alone(),
            unheld=timedelta(seconds=settings.session_unheld),
            total=timedelta(seconds=settings.session_total),
            clock=clock,
            random=secrets.token_bytes,
            access=settings.access,
        )
        self.passwords = passwords = Passwords(ring, self.throttle(), secrets.token_bytes)
        wrong = RegistrationLimits(wrong_invitations, TABLE_SIZE)
        invitations = InvitationCheck(store.invitations, ring.token_key, clock, wrong)
        is_open = settings.registration == "open" and settings.access != "anyone"
        self.auth = Authenticator(
            access=settings.access,
            accounts=store.accounts,
            clients=store.clients,
            sessions=self.sessions,
            resume=self.sessions.resume,
            relay=_relay_to_nobody,
            throttle=passwords.throttle,
            passwords=passwords,
            registration=Registration(
                store.accounts,
                passwords,
                invitations,
                RegistrationLimits(settings.registrations_source, settings.registrations_most),
                clock,
                is_open=is_open,
            ),
            lifetimes=Lifetimes(unheld=settings.session_unheld, total=settings.session_total),
            language="en",
            clock=clock,
            tasks=self.tasks,
            log=self.log,
        )
        self.is_open = is_open

    def client(self, host: str = HOME, binding: bytes | None = None) -> "AuthClient":
        """Connect a client from `host`."""
        return AuthClient(self, Peer(f"{host}:1024", host, binding))

    async def seed(self, name: str = "ann", *, verifier: Verifier = CHEAP, **fields: Any) -> Account:
        """Keep an account with the password `PASSWORD`; `fields` are those of `NewAccount`."""
        new = NewAccount(
            name=prepare(name),
            seal=lambda number, key: seal(self.ring, verifier, number, key, secrets.token_bytes),
            credential_type=SCRAM_SHA_256,
            **fields,
        )
        (account,) = await self.store.accounts.add([new], self.clock(), "test")
        return account

    async def session(self, name: str = "ann", host: str = HOME) -> "AuthClient":
        """Return a client that has signed in."""
        client = self.client(host)
        welcome = await client.authenticate(name)
        assert isinstance(welcome, Welcome), welcome
        return client

    async def invite(self, *names: str, days: float = 7) -> list[bytes]:
        """Invite names; return the secrets."""
        made = []
        for name in names:
            secret = secrets.token_bytes(16)
            mark = invitation_mark(Secret(secret), self.ring.token_key)
            until = self.clock() + timedelta(days=days)
            await self.store.invitations.invite(mark, prepare(name), self.clock(), until, "test")
            made.append(secret)
        return made

    async def fail(self, name: str, times: int, host: str = ATTACKER, *, ago: float = 0) -> None:
        """Have `times` sign-ins under a name fail from `host`, the last `ago` seconds ago."""
        last = self.clock() - timedelta(seconds=ago)
        moments = (last - timedelta(hours=number) for number in reversed(range(times)))  # never too early
        throttle = Throttle(self.store.failures, self.ring.mock_key, lambda: next(moments), SourceFailures())
        for _ in range(times):
            await throttle.attempt(throttle.marks(prepare(name).key, host), host)

    async def refusals(self, name: str) -> int:
        """Return how many sign-ins were refused under a name since its last one."""
        return (await self.store.failures.refusals()).get(name_mark(prepare(name).key, self.ring.mock_key), 0)

    def limit_sources(self, most: int) -> None:
        """Take so many failures in an hour from one source."""
        self.passwords.throttle = self.throttle(most)

    def throttle(self, most: int = SOURCE_FAILURES) -> Throttle:
        """Return a throttle that takes so many failures in an hour from one source."""
        sources = SourceFailures(most, self.clock)
        return Throttle(self.store.failures, self.ring.mock_key, self.clock, sources, most)

    async def follow(self) -> None:
        """Apply what the revocation log has got."""
        for entry in await self.sessions.new_revocations():
            self.sessions.apply(entry)

    async def settled(self) -> None:
        """Wait for the background work."""
        for task in self.tasks:
            await task


@dataclass(eq=False)
class AuthClient:
    """Both ends of one connection: the client's conversation, and the server's with its `ControlHandler`."""

    server: AuthServer
    peer: Peer
    lost: list[str] = field(default_factory=list)
    """Why the session was taken from the connection."""
    causes: list[str] = field(default_factory=list)
    """What revoked it each time, in a word of the revocation log; empty if nothing did."""
    closed: bool = False
    """An error has ended the connection."""
    accepted_at = accepted_by = 0.0
    present = True
    can_half_close = True
    session: Session | None = None
    welcome: Welcome | None = None

    def __post_init__(self) -> None:
        self.conversation = ClientConversation()
        self._there = ServerConversation()
        server = self.server
        hello = hello_of(server.settings, self.peer.mechanism, registration=server.is_open)
        self._hear(self._there.hello(hello))
        self.control = server.auth.begin(self)

    def lose(self, reason: str, cause: str = "") -> None:
        """See `Holder`."""
        self.lost.append(reason)
        self.causes.append(cause)

    def _hear(self, data: bytes) -> Body:
        self.conversation.feed(data)
        event = self.conversation.next()
        assert isinstance(event, Control)
        return event.body

    async def request(self, kind: Kind, body: Body, token: bytes = b"") -> Body:
        """Send a control frame; return what answers."""
        _, data = self.conversation.resume(token, body) if token else self.conversation.request(kind, body)
        return await self.send(data)

    async def send(self, data: bytes) -> Body:
        """Send the bytes of one control frame; return what answers."""
        assert not self.closed
        id = 0
        self._there.feed(data)
        try:
            event = self._there.next()
            if isinstance(event, Refused):
                return self._hear(self._there.error(event.id, event.error))
            assert isinstance(event, Control)
            id = event.id
            outcome = await self.control.answer(event)
        except ProtocolError as error:
            self.closed = True
            return self._hear(self._there.error(0, error, self.control.translate))
        except AntiphonError as error:
            return self._hear(self._there.error(id, error, self.control.translate))
        if not isinstance(outcome, Admission):
            assert isinstance(outcome, Reply)
            return self._hear(self._there.reply(outcome.kind, id, outcome.body))
        self.session = outcome.session
        self.control.admitted(outcome.session)
        self.welcome = outcome.welcome
        return self._hear(self._there.welcome(id, outcome.welcome, bytes(outcome.token)))

    @property
    def token(self) -> bytes:
        """The token of the session."""
        return self.conversation.token

    async def leave(self) -> None:
        """End the session."""
        assert self.session is not None
        await self.server.sessions.end(self.session)

    async def break_off(self) -> None:
        """Leave the session to be resumed."""
        assert self.session is not None
        await self.server.sessions.release(self.session)

    # --- what clients ask -----------------------------------------------------------------------------------

    async def identify(self, name: str | None = None, **fields: Any) -> Body:
        return await self.request(Kind.IDENTIFY, Identify(name=name, **fields))

    async def register(self, name: str, invitation: bytes | None = None, **fields: Any) -> Body:
        """Register with `PASSWORD`, without hashing: the server never sees more than a verifier."""
        fields = {"credential": credential()} | fields
        return await self.request(Kind.REGISTER, Register(name=name, invitation=invitation, **fields))

    async def resume(self, token: bytes) -> Body:
        return await self.request(Kind.RESUME, Resume(), token)

    async def begin(self, name: str, **fields: Any) -> Challenge:
        """Begin a proof, with a first message that costs nothing."""
        first = f"n,,n={name},r={NONCE}".encode()
        asked = Authenticate(mechanism="SCRAM-SHA-256", data=first, **fields)
        challenge = await self.request(Kind.AUTHENTICATE, asked)
        assert isinstance(challenge, Challenge), challenge
        return challenge

    async def guess(self, name: str) -> Error:
        """Prove nothing, at none of the cost of a real proof."""
        body = await self.request(Kind.CHALLENGE, wrong_proof((await self.begin(name)).data))
        assert isinstance(body, Error), body
        return body

    async def authenticate(self, name: str, password: str = PASSWORD, **fields: Any) -> Body:
        """Do a whole exchange; return WELCOME or what was said instead."""
        exchange = self.exchange(name, password)
        mechanism = mechanism_for(self.peer.binding)
        first = Authenticate(mechanism=mechanism, data=exchange.first(), **fields)
        challenge = await self.request(Kind.AUTHENTICATE, first)
        if not isinstance(challenge, Challenge):
            return challenge
        proof = ChallengeAnswer(data=exchange.answer(challenge.data))
        welcome = await self.request(Kind.CHALLENGE, proof)
        if isinstance(welcome, Welcome):
            assert welcome.data is not None
            exchange.verify(welcome.data, "the test's server")
        return welcome

    def exchange(self, name: str, password: str, binding: bytes | None = None) -> ClientExchange:
        """Return the client's side of SCRAM; `binding` is another channel's."""
        bound = binding or self.peer.binding
        nonce = b64encode(secrets.token_bytes(24)).decode()
        return ClientExchange(mechanism_for(bound), name, Password(password), bound, nonce)

    # --- what clients ask inside a session ------------------------------------------------------------------

    async def change(self, **fields: Any) -> Body:
        """Send one PASSWORD."""
        return await self.request(Kind.PASSWORD, ChangePassword(**fields))

    async def prove(
        self, password: str = PASSWORD, name: str = "ann", binding: bytes | None = None
    ) -> Body | bytes:
        """Prove the old password; return the proof, to be sent once more, or the refusal."""
        exchange = self.exchange(name, password, binding)
        begun = await self.change(mechanism=mechanism_for(self.peer.binding), data=exchange.first())
        if not isinstance(begun, PasswordAnswer):
            return begun
        assert begun.data
        proof = exchange.answer(begun.data)
        proved = await self.change(data=proof)
        if not isinstance(proved, PasswordAnswer):
            return proved
        assert proved.data
        exchange.verify(proved.data, "the test's server")
        return proof


def wrong_proof(challenge: bytes) -> ChallengeAnswer:
    """Return a proof of nothing."""
    nonce = challenge.decode().split(",")[0]
    return ChallengeAnswer(data=f"c=biws,{nonce},p={'A' * 43}=".encode())


def code(body: object) -> str:
    """Return the code of an error; of anything else its type."""
    return body.code if isinstance(body, Error) else type(body).__name__


class Place:
    """A data folder with its store and key ring, and as many servers on it as a test wants."""

    def __init__(self, folder: Path) -> None:
        self._data = DataFolder.open(folder)
        self.path = self._data.path
        self.ring = self._data.key_ring(secrets.token_bytes)
        self.clock = Clock()
        self._stores: list[Store] = []

    async def server(self, **options: Any) -> AuthServer:
        """Return a server with a store of its own."""
        store = await open_sqlite(self.path)
        self._stores.append(store)
        return AuthServer(store, self.ring, self.clock, **options)

    async def close(self) -> None:
        for store in self._stores:
            with suppress(AntiphonError):
                await store.close()
