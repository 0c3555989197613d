"""The client's end of a connection without an event loop: frames, answers, heartbeats, the goodbye.

How it comes about is `blocking_dial.py`'s, who we are is `blocking.py`'s. Nothing happens between two calls: every
call sends, waits for at most the seconds that it is given, and sends heartbeats while it waits.
"""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from antiphon.client.framed import LENGTH, NOT_NOW, FramedSocket
from antiphon.client.manners import FAREWELLS, HANG_UP_SECONDS, beat_seconds, check_message
from antiphon.errors import (
    AntiphonError,
    ConnectionLost,
    PeerSilent,
    PeerTooSlow,
    TimedOut,
    from_wire,
)
from antiphon.wire.bodies import Body, Bye, Error, Hello, Welcome
from antiphon.wire.conversation import ClientConversation, Control, Event
from antiphon.wire.frames import COUNTED, Payload, Refused, encode_message
from antiphon.wire.kinds import MESSAGE_LIMIT_MOST, SERVER_CONTROL_LIMIT, TOKEN_SIZE, Flag, Kind

BACKLOG_LIMIT = MESSAGE_LIMIT_MOST
"""Bytes of messages that may wait for somebody to take them, while an answer behind them is waited for."""
COST = 64
"""Bytes that a message takes in memory beside its own."""
GLANCE = 1024
"""Frames that are taken without waiting, at the most: a server that never stops must not hold a program."""
LEAST_WAIT = 0.001
"""Seconds: a socket whose timeout is 0 would not wait at all."""

_LAST = int(Flag.LAST)

Answer = TypeVar("Answer")


class Question(Generic[Answer]):
    """What was asked under one id, and what has come for it; id 0 is what the server says unasked."""

    def __init__(self, id: int) -> None:
        """Nothing has come."""
        self.id = id
        self.answers: deque[Answer] = deque()
        self.over = False
        """Nothing more comes."""
        self.error: AntiphonError | None = None
        """How it was refused."""

    @property
    def ready(self) -> bool:
        """Whether there is something to take, or nothing to wait for."""
        return bool(self.answers) or self.over


class BlockingConnection:
    """One connection to a server, used by one thread at a time."""

    def __init__(self, sock: FramedSocket, address: str, seconds: float) -> None:
        """Speak on `sock`; `address` is how errors name the server; to send may take `seconds`."""
        self.address = address
        self.binding = sock.binding
        """The TLS channel's binding (tls-server-end-point), None on plain TCP."""
        self.pushes: Question[Payload] = Question(0)
        """What the server says unasked; over when it has said goodbye."""
        self._socket = sock
        self._seconds = seconds
        self._conversation = ClientConversation()
        self._requests: dict[int, Question[Body]] = {}
        self._questions: dict[int, Question[Payload]] = {0: self.pushes}
        self._backlog = 0
        self._reason: AntiphonError | None = None
        self._closed = self._said_bye = self._owes_bye = False
        self._spoke = time.monotonic()
        self._pause = self._silence = math.inf  # until HELLO has said
        sock.frame_limit = COUNTED + SERVER_CONTROL_LIMIT

    def __repr__(self) -> str:
        """Show neither token nor payloads."""
        return f"BlockingConnection({self.address!r})"

    # --- the entry ------------------------------------------------------------------------------------------

    @property
    def hello(self) -> Hello:
        """What the server speaks and wants; `greet` waits for it."""
        assert self._conversation.hello is not None
        return self._conversation.hello

    def greet(self, seconds: float) -> None:
        """Wait for HELLO.

        Raises:
            AntiphonError: something else came, or nothing.
        """
        self._wait(lambda: self._conversation.hello is not None, seconds)

    def request(self, kind: Kind, body: Body) -> Body:
        """Send a control frame of the entry and return the body of its answer.

        Raises:
            AntiphonError: as the server refused it, or as the connection was lost.
        """
        id, data = self._conversation.request(kind, body)
        request: Question[Body] = Question(id)
        self._requests[id] = request
        self._write(data)
        self._wait(lambda: request.ready, self._seconds)
        if request.error is not None:
            raise request.error
        return request.answers.popleft()

    # --- the session ----------------------------------------------------------------------------------------

    def ask(self, message: Payload) -> Question[Payload]:
        """Send a message that wants answers; `take` them, or `forget` it.

        Raises:
            MessageTooLarge, NotText: it was not sent.
            AntiphonError: there is no connection any more.
        """
        self._check_open()
        check_message(message, self.hello.limits)
        id, data = self._conversation.message(message)
        question: Question[Payload] = Question(id)
        self._questions[id] = question
        self._write(data)
        return question

    def send(self, message: Payload) -> None:
        """Send a message that wants no answer: its id is 0.

        Raises:
            MessageTooLarge, NotText: it was not sent.
            AntiphonError: there is no connection any more.
        """
        self._check_open()
        check_message(message, self.hello.limits)
        self._write(encode_message(0, message, token=self._conversation.token))

    def take(self, question: Question[Payload], seconds: float) -> Payload | None:
        """Return the next answer, waiting for it for `seconds`; None when nothing (more) comes.

        Raises:
            AntiphonError: as the server refused the message, or as the connection was lost.
            TimedOut: the answer may still come, and be taken.
        """
        self._wait(lambda: question.ready, seconds)
        if question.answers:
            answer = question.answers.popleft()
            self._backlog -= COST + len(answer)
            return answer
        if question.error is not None:
            raise question.error
        return None

    def forget(self, question: Question[Payload]) -> None:
        """Drop what still comes for a message. Once the wire has CANCEL, this is the place to send it."""
        self._questions.pop(question.id, None)
        self._backlog -= sum(COST + len(answer) for answer in question.answers)
        question.answers.clear()

    def look(self) -> None:
        """Take what has come already, and send the heartbeat that is due; does not wait.

        Raises:
            AntiphonError: the connection has ended.
        """
        self._check_open()
        with contextlib.suppress(*NOT_NOW):
            for _ in range(GLANCE):
                self._receive(0)
        self._beat()

    def heartbeat(self) -> None:
        """Say that this side is still there."""
        self._check_open()
        self._write(self._conversation.heartbeat())

    # --- the end --------------------------------------------------------------------------------------------

    def leave(self, seconds: float) -> None:
        """Say goodbye, wait for the server's, for at most `seconds`, and close."""
        with contextlib.suppress(AntiphonError):
            self._say_bye("left")
            self._wait(lambda: self._closed, seconds)
        self.abort()

    def hang_up(self) -> None:
        """Say goodbye and close, whatever the server does."""
        self._seconds = HANG_UP_SECONDS
        with contextlib.suppress(AntiphonError):
            self._say_bye("left")
        self.abort()

    def abort(self) -> None:
        """Close at once, saying nothing: the session stays for a while."""
        self._closed = True
        self._socket.close()

    def _say_bye(self, reason: str) -> None:
        if not (self._said_bye or self._closed):
            self._said_bye = True
            self._write(self._conversation.bye(reason))

    def _check_open(self) -> None:
        self._check_connected()
        if self._said_bye or self._reason is not None:
            raise self._reason or ConnectionLost(address=self.address)

    def _check_connected(self) -> None:
        if self._closed:
            raise self._reason or ConnectionLost(address=self.address)

    def _end(self, error: AntiphonError) -> AntiphonError:
        """Close, as nothing that still comes is believed; return why, which is the first reason there was."""
        self._reason = self._reason or error
        self.abort()
        return self._reason

    # --- bytes ----------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        self._socket.settimeout(self._seconds)
        with self._ending():
            try:
                self._socket.send_bytes(data[LENGTH.size :], meanwhile=self._feed)
            except TimeoutError:  # half a frame may be on its way: nothing can follow it
                raise TimedOut(address=self.address, seconds=f"{self._seconds:g}") from None
            except OSError:
                self._hear_last_words()
                raise
        self._spoke = time.monotonic()
        self._say_owed_bye()

    def _hear_last_words(self) -> None:
        """Read on from a server that takes nothing any more: it may have said why."""
        with contextlib.suppress(TimeoutError):
            while not self._closed:
                self._receive(HANG_UP_SECONDS)

    def _wait(self, until: Callable[[], bool], seconds: float) -> None:
        """Take what comes until there is what is waited for, for at most `seconds`; send heartbeats."""
        heard = time.monotonic()
        deadline = heard + seconds
        while not until():
            self._check_connected()
            self._beat()
            now = time.monotonic()
            if now >= deadline:
                raise TimedOut(address=self.address, seconds=f"{seconds:g}")
            if now >= heard + self._silence:
                raise self._end(PeerSilent(seconds=f"{self._silence:g}"))
            wake = min(deadline, heard + self._silence, self._spoke + self._pause)
            partial = self._socket.partial
            try:
                self._receive(max(LEAST_WAIT, wake - now))
            except TimeoutError:
                if self._socket.partial == partial:
                    continue
            heard = time.monotonic()

    def _beat(self) -> None:
        if time.monotonic() >= self._spoke + self._pause and not self._said_bye:
            self._write(self._conversation.heartbeat())

    def _receive(self, seconds: float) -> None:
        """Take one frame, or the end of the connection."""
        self._check_connected()
        self._socket.settimeout(seconds)
        with self._ending():
            frame = self._socket.receive_bytes()
            if frame is None:
                self.abort()
            else:
                self._feed(frame)
        self._say_owed_bye()

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """Turn what ends the connection into the one reason for its end; a wait that is over is none."""
        try:
            yield
        except (TimeoutError, *NOT_NOW):
            raise
        except (OSError, ConnectionLost):
            raise self._end(ConnectionLost(address=self.address)) from None
        except AntiphonError as error:
            raise self._end(error) from None

    # --- what comes -----------------------------------------------------------------------------------------

    def _feed(self, frame: bytes) -> None:
        self._conversation.feed(LENGTH.pack(len(frame)) + frame)
        while not self._closed and (event := self._conversation.next()) is not None:
            self._take(event)

    def _take(self, event: Event) -> None:
        if isinstance(event, Control):
            self._take_control(event.id, event.body)
        elif isinstance(event, Refused):
            raise event.error
        elif (question := self._questions.get(event.id)) is not None:
            if event.kind == Kind.MESSAGE:
                self._keep(question, event.payload)
            if event.id and (event.kind == Kind.END or event.flags & _LAST):
                self._questions.pop(event.id).over = True

    def _keep(self, question: Question[Payload], answer: Payload) -> None:
        if self._backlog > BACKLOG_LIMIT:
            raise PeerTooSlow
        self._backlog += COST + len(answer)
        question.answers.append(answer)

    def _take_control(self, id: int, body: Body) -> None:
        if isinstance(body, Hello):
            self._silence = body.limits.silence
            self._pause = beat_seconds(body.limits)
        elif isinstance(body, Error):
            self._refused(id, from_wire(body.code, body.text, body.hint, body.wait))
        elif isinstance(body, Bye):
            self._take_bye(body.reason)
        else:
            if isinstance(body, Welcome):
                largest = min(self.hello.limits.message, MESSAGE_LIMIT_MOST)
                self._socket.frame_limit = COUNTED + max(TOKEN_SIZE + largest, SERVER_CONTROL_LIMIT)
            request = self._requests.pop(id, None)
            if request is not None:
                request.answers.append(body)

    def _refused(self, id: int, error: AntiphonError) -> None:
        if id == 0:
            raise error
        asked = self._requests.pop(id, None) or self._questions.pop(id, None)
        if asked is not None:
            asked.error = error
            asked.over = True

    def _take_bye(self, reason: str) -> None:
        if reason in FAREWELLS:
            self._reason = self._reason or FAREWELLS[reason]()
        else:
            self.pushes.over = True
        if reason == "drained":  # we say our last, between two frames; what we asked before is still answered
            self._owes_bye = True
        else:
            self.abort()

    def _say_owed_bye(self) -> None:
        if self._owes_bye:
            self._owes_bye = False
            self._say_bye("drained")
