"""Sign-in to the page: SCRAM-SHA-256 in two requests, by the same proof as any sign-in.

The browser has no channel binding, so the mechanism is the one without. That is why the page exists only over TLS
and on this machine.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from antiphon.errors import SignInRefused
from antiphon.identity.scram import SCRAM_SHA_256
from antiphon.language import N_
from antiphon.observe.log import ServerLog
from antiphon.server.auth.proof import Passwords, Proof
from antiphon.server.auth.refusals import UNLIMITED, Refusals
from antiphon.server.auth.sign_in import allowed, prepared
from antiphon.server.auth.throttle import Throttle
from antiphon.server.listen.limits import SourceFailures, source_of
from antiphon.server.peer import Peer
from antiphon.server.status.access.answers import Refused
from antiphon.server.status.access.store import Opened, PageStore
from antiphon.server.tasks import BackgroundTasks
from antiphon.store.contracts import Account

EXCHANGE_SECONDS = 60.0
"""Time from the challenge to the proof: a slow telephone hashes for ten seconds."""
EXCHANGES_MOST = 256
"""Exchanges at once; beyond that, the oldest one is forgotten."""
PER_SOURCE = 16
"""Exchanges of one source at once; likewise."""

_FORGOTTEN = N_("This sign-in has taken too long. Try again.")
_MAYBE_IMPORTED = N_(
    "Name or password is wrong. An account that was imported from another system must first sign in with antiphon"
    " connect, and choose a password there."
)
_NO_MARK = N_("This account is no administrator's. An operator makes it one with: antiphon accounts admin NAME")
_MUST_CHANGE = N_("This account needs a new password first: sign in with antiphon connect, and choose one there.")


@dataclass(eq=False, kw_only=True)
class _Exchange:
    """A sign-in whose challenge was sent."""

    proof: Proof
    host: str
    imports: bool
    """whether any account at all has an imported password, which only `antiphon connect` can prove"""
    began_at: float


class PageSignIn:
    """The sign-ins of one page."""

    def __init__(self, store: PageStore, log: ServerLog, clock: Callable[[], datetime]) -> None:
        """Look accounts up in `store`; `clock` is wall time in UTC."""
        self._store = store
        self._log = log
        self._clock = clock
        self._failures = SourceFailures()
        """Of this page alone: what counts the other sign-ins may be in another process."""
        self._tasks = BackgroundTasks()
        self._passwords: tuple[Opened, Passwords] | None = None
        self._exchanges: dict[str, _Exchange] = {}  # in the order in which they began

    async def begin(self, client_first: bytes, peer: Peer) -> tuple[str, bytes]:
        """Answer the client's first message; return the number of the exchange, and the challenge.

        Raises:
            SignInRefused: the message breaks a rule.
            ServerError: the store does not answer, or is unusable.
        """
        opened = await self._store.opened()
        passwords = self._passwords_of(opened)
        refusals = Refusals(peer, passwords.throttle, self._tasks, self._log, most=UNLIMITED)
        proof = passwords.proof(peer, SCRAM_SHA_256, refusals)
        with proof.refusals_counted():
            claimed = proof.claim(client_first)
            name = prepared(claimed)
            account = await opened.store.accounts.find(name.key) if name else None
            proof.concern(claimed, name.key if name else claimed, account)
            challenge = proof.challenge()
        imports = bool(await opened.store.accounts.old_forms(self._clock()))
        number = secrets.token_urlsafe(16)
        self._make_room(peer.host)
        self._exchanges[number] = _Exchange(proof=proof, host=peer.host, imports=imports, began_at=_now())
        return number, challenge

    async def prove(self, number: str, client_final: bytes, peer: Peer) -> tuple[Account, bytes]:
        """Return the administrator's account if the client's final message proves its password, and the signature.

        Raises:
            Refused: the exchange is over, or the account is no administrator's.
            SignInRefused: the message does not prove it, or the account may not sign in.
            TooManyFailures, NameLocked: the attempt comes too early; the message was not looked at.
            ServerError: the store does not answer, or is unusable.
        """
        exchange = self._exchanges.pop(number, None)
        if exchange is None or exchange.host != peer.host or _now() - exchange.began_at > EXCHANGE_SECONDS:
            raise Refused(410, _FORGOTTEN, "sign-in-timed-out")
        try:
            account, signature = await self._proved(exchange.proof, client_final)
        except SignInRefused:
            if exchange.imports:  # said to everybody then: it tells nothing of the account (promise 5)
                raise Refused(401, _MAYBE_IMPORTED, SignInRefused.code) from None
            raise
        if not account.administrator:
            self._refuse(account, peer, "no-administrator")
            raise Refused(403, _NO_MARK, "no-administrator")
        if account.must_change:
            self._refuse(account, peer, "password-due")
            raise Refused(403, _MUST_CHANGE, "password-due")
        return account, signature

    async def _proved(self, proof: Proof, client_final: bytes) -> tuple[Account, bytes]:
        """Return the account whose password a message proves, and the server's signature; it raises as `prove`."""
        with proof.refusals_counted():
            signature = await proof.verify(client_final)
            account = allowed(proof.account, self._clock())
            opened = await self._store.opened()
            # Read again: the account may have lost the mark, or its password, since the challenge.
            account = allowed(_same(account, await opened.store.accounts.find(account.key)), self._clock())
            await proof.forgive()
        return account, signature

    async def close(self) -> None:
        """Wait for the refusals that are being counted."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=1)

    def _refuse(self, account: Account, peer: Peer, why: str) -> None:
        """Log a refusal to somebody who has proved a password: nothing was guessed."""
        self._log.warning("refused", name=account.display, address=peer.address, code=SignInRefused.code, why=why)

    def _passwords_of(self, opened: Opened) -> Passwords:
        if self._passwords is None or self._passwords[0] is not opened:
            throttle = Throttle(opened.store.failures, opened.ring.mock_key, self._clock, self._failures)
            self._passwords = opened, Passwords(opened.ring, throttle, secrets.token_bytes)
        return self._passwords[1]

    def _make_room(self, host: str) -> None:
        """Forget the exchanges that are over, and the oldest of too many."""
        began = _now() - EXCHANGE_SECONDS
        kept = {number: each for number, each in self._exchanges.items() if each.began_at > began}
        source = source_of(host)
        own = [number for number, each in kept.items() if source_of(each.host) == source]
        for number in own[: max(0, len(own) - PER_SOURCE + 1)]:
            del kept[number]
        while len(kept) >= EXCHANGES_MOST:
            del kept[next(iter(kept))]
        self._exchanges = kept


def _same(proved: Account, found: Account | None) -> Account | None:
    """Return the account as it is now; None if it is another one, or its password may be."""
    return found if found and (found.id, found.epoch) == (proved.id, proved.epoch) else None


def _now() -> float:
    return asyncio.get_running_loop().time()
