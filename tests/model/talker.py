"""One session of the model: a real client, and what it was told about each of its messages."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from antiphon.address import Address
from antiphon.client.aio.answers import Answers
from antiphon.client.aio.password_change import PasswordChange
from antiphon.client.aio.session import ClientSession
from antiphon.errors import AntiphonError, OutcomeUnknown, SignInRefused
from antiphon.identity.passwords import Password
from antiphon.wire.bodies import Resume
from antiphon.wire.conversation import ClientConversation
from antiphon.wire.frames import HEADER_SIZE
from antiphon.wire.kinds import KIB
from model.network import Network
from model.service import big
from support.sessions import session_of

OVERFLOW = 128 * KIB
"""Bytes of answers that may be too much for a server to keep: with what the client has not acknowledged yet."""
UNANSWERED_MOST = 40
"""Messages that wait for an answer at once."""
STEP_SECONDS = 3.0
"""Longest time in seconds for a connection, and for each step of a sign-in: far less than a freeze."""


@dataclass(eq=False)
class Asked:
    """One message."""

    number: int
    text: str
    kind: str
    argument: int
    excused: bool = False
    """Whether its outcome may be unknown: it was on its way when its home was killed, or could be claimed."""
    cancelled: bool = False
    got: list[str] = field(default_factory=list)
    end: str | None = None
    """How it ended: `answered`, or the code of an error."""

    @property
    def expected(self) -> list[str]:
        """The whole answer."""
        if self.kind == "stream":
            return [f"{self.text}={number}" for number in range(self.argument)]
        return [big(self.text, self.argument) if self.kind == "big" else f"{self.text}="]


class Talker:
    """A session that asks, and checks what it is told."""

    def __init__(self, name: str, network: Network, password: str) -> None:
        """Talk through `network`; call `enter` next."""
        self.name = name
        self.network = network
        self.asked: list[Asked] = []
        self.waiting: set[Asked] = set()
        """Messages that have no end yet."""
        self.faults: list[str] = []
        """Rules that were broken."""
        self.told: Counter[str] = Counter()
        """How messages ended."""
        self.back = 0
        """How often a lost connection came back."""
        self._passwords = [password]
        """Passwords of which one is right: the end of a change may be lost."""
        self._ended = 0
        self._welcome = ""
        """The counts of the last WELCOME."""
        self._risk_from: int | None = None
        self._pushed: Counter[int] = Counter()
        self._last_push = (0, -1)
        self._beginning: set[asyncio.Task[None]] = set()
        self._order = asyncio.Lock()
        self._changing = False
        self._stack = AsyncExitStack()
        self._token = b""
        self.session: ClientSession

    async def enter(self, address: Address, token: bytes) -> None:
        """Resume the session of `token`."""
        self._token = token
        entering = session_of(address, token, timeout=STEP_SECONDS)
        self.session = await self._stack.enter_async_context(entering)
        self.session.on_back = self._back
        self.session._replay.resume = self._counted(self.session._replay.resume)  # type: ignore[method-assign]
        pushes = aiter(self.session)
        assert isinstance(pushes, Answers)
        pushes.on_news = partial(self._push, pushes)

    def _back(self, _: float) -> None:
        self.back += 1

    def _counted(self, resume: Callable[..., Any]) -> Callable[..., Any]:
        """Return `resume` of the session's counts, noting the counts, and excusing what did not fit the server."""

        def noted(received: int | None, *, missed: int = 0, **counts: Any) -> Any:
            self._welcome = f"received {received}, missed {missed}, {counts}"
            if missed and sum(len(answer) for asked in self.waiting for answer in asked.expected) > OVERFLOW:
                self.told["overflow"] += 1
                for asked in self.waiting:
                    asked.excused = True
            return resume(received, missed=missed, **counts)

        return noted

    # --- asking -----------------------------------------------------------------------------------------------

    def ask(self, kind: str, argument: int = 0, padding: int = 0) -> Asked | None:
        """Send a message, unless too many wait; `padding` makes it larger."""
        if len(self.waiting) >= UNANSWERED_MOST:
            return None
        number = len(self.asked) + 1
        text = f"{self.name}:{number}:{kind}:{argument:0{padding + 1}}"
        asked = Asked(number, text, kind, argument, excused=self._risk_from is not None)
        self.asked.append(asked)
        self.waiting.add(asked)
        beginning = asyncio.ensure_future(self._begin(asked))
        self._beginning.add(beginning)
        beginning.add_done_callback(self._beginning.discard)
        return asked

    async def _begin(self, asked: Asked) -> None:
        try:
            async with self._order:
                answers = await self.session.begin(asked.text)
        except AntiphonError as error:
            self._end(asked, error)
            return
        answers.stream = True
        answers.on_news = partial(self._news, asked, answers)
        if asked.kind == "cancel":
            await asyncio.sleep(asked.argument / 10_000)
            asked.cancelled = True
            answers.close()

    def _news(self, asked: Asked, answers: Answers) -> None:
        while asked.end is None and answers.ready:
            try:
                answer = answers.take()
            except AntiphonError as error:
                self._end(asked, error)
                return
            if answer is None:
                self._end(asked, None)
            else:
                asked.got.append(str(answer))

    def _end(self, asked: Asked, error: AntiphonError | None) -> None:
        asked.end = "answered" if error is None else error.code
        if asked.cancelled:
            asked.end = "cancelled"
        self.told[asked.end] += 1
        self.waiting.discard(asked)
        if asked.cancelled:
            return
        if isinstance(error, OutcomeUnknown):
            if not asked.excused:
                self.faults.append(f"{asked.text[:60]} has an unknown outcome without a cause ({self._welcome})")
        elif error is not None:
            self.faults.append(f"{asked.text[:60]} ended with {error!r}: {error}")
        else:
            self._answered(asked)

    def _answered(self, asked: Asked) -> None:
        if asked.got != asked.expected:
            shown = [answer[:60] for answer in asked.got]
            self.faults.append(f"{asked.text[:60]} was answered with {len(shown)}: {shown}")
        if asked.number < self._ended:
            self.faults.append(f"the answer to {asked.text[:60]} came after the one to number {self._ended}")
        self._ended = asked.number
        if asked.kind == "push" and self._pushed[asked.number] != asked.argument:
            self.faults.append(f"of {asked.argument} pushes of {asked.text} {self._pushed[asked.number]} came")
        if self._risk_from is not None and asked.number > self._risk_from:
            self._risk_from = None

    def _push(self, pushes: Answers) -> None:
        with contextlib.suppress(AntiphonError):  # the end of the session is looked at elsewhere
            while pushes.ready:
                push = pushes.take()
                if push is None:
                    return
                number, place = int(str(push).split(":")[1]), int(str(push).split("=")[1])
                if (number, place) <= self._last_push:
                    self.faults.append(f"the push {push!r} came twice, or late")
                self._last_push = (number, place)
                self._pushed[number] += 1

    def excuse(self) -> None:
        """Note that the home was killed, or may be taken for dead: what is on its way may become unknown.

        It ends when a message that is sent from now on is answered.
        """
        for asked in self.waiting:
            asked.excused = True
        self._risk_from = len(self.asked)

    async def resume_late(self, port: int) -> None:
        """Connect to a server, then resume on another connection, and then on this one: the later one counts."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await reader.readexactly(HEADER_SIZE)  # of HELLO: it was accepted
                back = self.back
                self.network.cut()
                for _ in range(200):
                    if self.back > back:
                        break
                    await asyncio.sleep(0.01)
                else:
                    return
                body = Resume(received=self.session._replay.received)
                _, data = ClientConversation().resume(self._token, body)
                writer.write(data)
                await asyncio.wait({asyncio.ensure_future(reader.read())}, timeout=0.1)
            finally:
                writer.transport.abort()

    # --- password ---------------------------------------------------------------------------------------------

    async def change_password(self, new: str) -> None:
        """Change the password, unless a change is under way; a cut may leave open which one counts."""
        if self._changing:
            return
        self._changing = True
        try:
            await self._change(new)
        finally:
            self._changing = False

    async def _change(self, new: str) -> None:
        old = await self._right_one()
        if old is None:
            return
        change = PasswordChange(self.session.connection, self.name, STEP_SECONDS)
        with contextlib.suppress(AntiphonError):
            await change.prove(Password(old))
            self._passwords = [old, new]
            await change.choose(Password(new))
            self._passwords = [new]

    async def _right_one(self) -> str | None:
        """Return the password that counts; None if a cut keeps it from being known now."""
        while True:
            password = self._passwords[-1]
            try:
                await PasswordChange(self.session.connection, self.name, STEP_SECONDS).prove(Password(password))
            except SignInRefused:
                if len(self._passwords) == 1:
                    self.faults.append(f"the password of {self.name} is refused")
                    return None
                self._passwords.pop()
            except AntiphonError:
                return None
            else:
                self._passwords = [password]
                return password

    # --- the end ----------------------------------------------------------------------------------------------

    async def settled(self) -> None:
        """Wait until every message has an end, and no change of password is under way."""
        while self.waiting or self._changing:
            if self.session.over:
                return
            await asyncio.sleep(0.01)

    async def farewell(self) -> None:
        """Ask once more, prove the password, and leave the session."""
        last = self.ask("ask")
        assert last is not None
        await self.settled()
        if await self._right_one() is None:
            self.faults.append(f"the password of {self.name} cannot be proved any more")
        await self._stack.aclose()

    async def close(self) -> None:
        """Close everything, whatever has happened."""
        for beginning in self._beginning:
            beginning.cancel()
        if hasattr(self, "session"):
            await self.session.hang_up()
            await self._stack.aclose()
        await self.network.close()

    def look(self) -> list[str]:
        """Return the rules that were broken so far."""
        faults = list(self.faults)
        if self.session.over and (error := self.session._error) is not None:
            faults.append(f"the session of {self.name} has ended: {error!r}: {error}")
        return faults
