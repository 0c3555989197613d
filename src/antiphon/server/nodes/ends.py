"""Both ends of the proof on a TLS channel between two nodes, before a relay link begins on it.

Nothing else is read before the far end has proved, and nothing is kept beyond the few bytes of the proof.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any, Protocol

from antiphon.identity import node_proof
from antiphon.identity.node_proof import ANSWER_SIZE, CHALLENGE_MOST, PROOF_SIZE, Answer, Challenge
from antiphon.transport.contract import Receiver
from antiphon.transport.tls import TlsTransport

READ_LIMIT = 4 * 1024
"""Bytes that are read at once from a peer that has not proved."""

Random = Callable[[int], bytes]
KeysOf = Callable[[], Mapping[int, bytes]]
"""Returns the keys that may prove now (`node_proof.proof_keys`)."""


class NotProved(OSError):
    """The far end has not proved that it holds the key ring; `why` is a word for the log (docs/monitoring.md)."""

    def __init__(self, why: str) -> None:
        """Say why."""
        super().__init__(why)
        self.why = why


class _End:
    """One end until both have proved (`Receiver`)."""

    tls: TlsTransport

    def __init__(self) -> None:
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        """The id of the far process, once it has proved; `OSError` if it has not."""
        self._came = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TlsTransport)
        self.tls = transport
        transport.limit_reading(READ_LIMIT)
        self.began()

    def began(self) -> None:
        """Say what this end begins with."""

    def took(self, came: bytes) -> None:
        """Take all that has come so far.

        Raises:
            NotProved: it is no proof.
            ValueError: it has another form.
        """

    def received(self, buffer: bytearray, size: int) -> None:
        if self.done.done():
            return
        self._came += memoryview(buffer)[:size]
        try:
            self.took(bytes(self._came))
        except NotProved as error:
            self.fail(error)
        except ValueError:
            self.fail(NotProved("malformed"))

    def proved(self, far: bytes, receiver: Receiver) -> None:
        """Hand the channel over to `receiver`."""
        self.tls.limit_reading(0)
        self.tls.set_protocol(receiver)
        receiver.connection_made(self.tls)
        self.done.set_result(far.hex())

    def fail(self, error: OSError) -> None:
        """Close, because of `error`."""
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # or asyncio would report it as never retrieved
        self.tls.abort()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def peer_lags(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if not self.done.done():
            self.done.set_exception(NotProved("closed"))
            self.done.exception()


class Begin(Protocol):
    """Beginning of a link on a proved channel."""

    def __call__(self, far: str, /) -> Receiver:
        """Return what serves the channel to the process `far`."""


class ListenerEnd(_End):
    """The end that listens: it says nothing that its keys have made before the far end has proved."""

    def __init__(self, id: str, keys: KeysOf, certificate: bytes, random: Random, begin: Begin) -> None:
        """Let in who proves.

        Args:
            id: this process.
            keys: returns the keys.
            certificate: SHA-256 of the one that is served.
            random: returns random bytes.
            begin: is called once the far end has proved.
        """
        super().__init__()
        self._keys = keys()
        self._certificate = certificate
        self._begin = begin
        self._challenge = Challenge.of(bytes.fromhex(id), random(node_proof.NONCE_SIZE), self._keys)

    def began(self) -> None:
        """Send the challenge."""
        self.tls.write(self._challenge.encode())

    def took(self, came: bytes) -> None:
        """Check the answer."""
        if len(came) < ANSWER_SIZE:
            return
        if len(came) > ANSWER_SIZE:  # nobody says more before it is let in
            raise NotProved("malformed")
        said = Answer.decode(came)
        if said.number not in self._challenge.numbers:
            raise NotProved("unknown-key")
        if not node_proof.is_proved(self._challenge, said, self._keys, self._certificate):
            raise NotProved("wrong-proof")
        self.tls.write(node_proof.confirmation(self._challenge, said, self._keys, self._certificate))
        self.proved(said.dialer, self._begin(said.dialer.hex()))


class DialerEnd(_End):
    """The end that connects: it says nothing before it has compared the certificate."""

    def __init__(
        self, id: str, far: str, keys: KeysOf, certificate: bytes, receiver: Receiver, *, random: Random
    ) -> None:
        """Prove, and have the far end prove.

        Args:
            id: this process.
            far: the process that should be there.
            keys: returns the keys.
            certificate: SHA-256 of the one that it should show.
            receiver: serves the channel afterwards.
            random: returns random bytes.
        """
        super().__init__()
        self._id = bytes.fromhex(id)
        self._far = bytes.fromhex(far)
        self._keys = keys()
        self._certificate = certificate
        self._random = random
        self._receiver = receiver
        self._confirm: Callable[[bytes], bool] | None = None

    def began(self) -> None:
        """Compare the certificate."""
        shown = self.tls.peer_certificate()
        if shown is None or sha256(shown).digest() != self._certificate:
            self.fail(NotProved("another-certificate"))

    def took(self, came: bytes) -> None:
        """Answer the challenge, then check the confirmation."""
        if self._confirm is not None:
            self._confirmed(came, self._confirm)
            return
        if len(came) > CHALLENGE_MOST:
            raise NotProved("malformed")
        found = Challenge.decode(came)
        if found is None:
            return
        challenge, size = found
        if size != len(came):
            raise NotProved("malformed")
        if challenge.listener != self._far:
            raise NotProved("another-process")
        said = node_proof.answer(
            challenge, self._keys, self._id, self._random(node_proof.NONCE_SIZE), self._certificate
        )
        if said is None:
            raise NotProved("unknown-key")
        self._came.clear()
        self._confirm = partial(node_proof.is_confirmed, challenge, said, self._keys, self._certificate)
        self.tls.write(said.encode())

    def _confirmed(self, came: bytes, is_confirmed: Callable[[bytes], bool]) -> None:
        if len(came) < PROOF_SIZE:
            return
        if len(came) > PROOF_SIZE or not is_confirmed(came):
            raise NotProved("wrong-proof")
        self.proved(self._far, self._receiver)
