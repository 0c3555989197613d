"""The chat service: rooms, private messages, and lists of the people in a room.

Each room is a topic, and each person's name too: who is subscribed to a room is in it, who is subscribed to a name
has it. So all workers of a server have one chat. People have the names of their accounts. Text that others typed
is escaped, so that no control character reaches a terminal.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import chain, count
from weakref import WeakValueDictionary

from antiphon.errors import TryLater
from antiphon.identity.names import LONGEST
from antiphon.language import N_
from antiphon.printable import printable
from antiphon.services.chat_lines import (
    LINES_MOST,
    NAME,
    ROOM_NAME_MOST,
    Kind,
    Note,
    Refused,
    check_length,
    check_whole,
    key_of,
    lines_of,
    mark_of,
    packed,
    room_name,
    topic_of,
)
from antiphon.services.chat_rooms import (
    LOBBY,
    ROOM,
    SPEAKS,
    YOU_SPEAK_IN,
    Seat,
    enter,
    join,
    leave,
    rooms_in,
    rooms_of,
    tell_joined,
    tell_left,
    who,
)
from antiphon.services.contract import Session
from antiphon.services.rate_limit import RateLimit
from antiphon.topics import Subscriber

AT_ONCE = 50
"""Lines and commands of one person that pass without a wait (burst)."""
A_SECOND = 10
"""Lines and commands of one person a second after that: more than anybody reads, and no flood."""

_HELP = (
    N_("A line that begins with a slash is a command; //text says a text that begins with one."),
    N_("/join ROOM: go into a room and speak there; it is made if it is not there"),
    N_("/leave [ROOM]: go out of a room, or of the one in which you speak"),
    N_("/rooms: which rooms there are, and how many people are in each"),
    N_("/who [ROOM]: who is in a room, or in the one in which you speak"),
    N_("/msg NAME text: say something to one person only"),
    N_("/me text: say what you do"),
)
_JOINED = N_("[{room}] -- {name} has joined")
_LEFT = N_("[{room}] -- {name} has left")
_MISSED = N_("[{room}] -- lines may be missing here")
_MISSED_PRIVATE = N_("Messages to you may be missing here.")
_NOT_HERE = N_("There is nobody here by the name of {name}.")
_NOT_NOW = N_("The chat cannot do this now; try again.")
_TO_YOU = N_("[{name} to you] {text}")
_UNKNOWN = N_("There is no command {command}; /help shows those there are, //text says a text with a slash.")
_GUEST = "guest-{number}"


class Chat:
    """A chat for all sessions; what is said is kept as topics are, in memory or by nodes for a day."""

    def __init__(self, *, at_once: float = AT_ONCE, a_second: float = A_SECOND) -> None:
        """Create the chat.

        Args:
            at_once: lines of one person that pass without a wait.
            a_second: lines of one person a second after that; with workers in each of them.
        """
        self._at_once = at_once
        self._a_second = a_second
        self._guests = count(1)
        self._rate_limits: WeakValueDictionary[str, RateLimit] = WeakValueDictionary()

    # --- sessions come and go ---------------------------------------------------------------------------------

    async def opened(self, session: Session) -> None:
        """Put a new session into the lobby, or one that goes on into its rooms."""
        seat = session.state = Seat(session, mark_of(session))
        brought = session.topics
        before = next(iter(brought.values()), "")
        seat.name = await self._claim_name(session, before)
        limit = RateLimit(self._at_once, self._a_second)
        seat.rate_limit = self._rate_limits.setdefault(key_of(seat.name), limit)
        if seat.name == before:
            seat.rooms = rooms_of(session)
            seat.rooms.sort(key=brought.get(SPEAKS, "").__eq__)  # stable: that one is the last
        else:  # somebody else has the name by now: the rooms know this one by it
            for topic in brought:
                session.unsubscribe(topic)
        if not seat.rooms:
            await enter(seat, LOBBY)
        elif not any(topic.startswith(NAME) for topic in brought):  # the others were told that it has left
            for room in seat.rooms:
                await tell_joined(seat, room)
        seat.tell(YOU_SPEAK_IN, room=seat.rooms[-1])

    async def closed(self, session: Session) -> None:
        """Tell the rooms of a session that it has left; should it come back, it goes on in them.

        A session that another process takes over keeps its name, and nobody is told.
        """
        seat: Seat | None = session.state
        if seat is None or session.server_stops:
            return
        session.unsubscribe(topic_of(seat.name))
        with suppress(TryLater):  # then the server is ending
            for room in seat.rooms:
                await tell_left(seat, room)

    async def _claim_name(self, session: Session, before: str) -> str:
        """Return a name that nobody else in the chat has, the one `before` if possible, and hold it.

        With `--access identify`, people at two addresses may give the same name: the second gets a number added.
        Of two that take one name at the same moment, both may get a number.
        """
        for name in chain(filter(None, [before]), self._names_for(session)):
            topic = topic_of(name)
            await session.subscribe(topic, info=name)
            there = await session.server.present(topic)
            if not (any(_is_other(session, each) for each in there) if session.name else there[1:]):
                return name
            session.unsubscribe(topic)
        raise AssertionError("names have no end")

    def _names_for(self, session: Session) -> Iterator[str]:
        """Yield names that a session may have, without end."""
        if not session.name:
            yield from (_GUEST.format(number=number) for number in self._guests)
        yield session.name
        yield from (f"{session.name}-{number}" for number in count(2))

    # --- what is published --------------------------------------------------------------------------------------

    def published(self, topic: str, message: str | bytes, session: Session) -> None:
        """Push to a session what a note of a topic tells, in its person's language."""
        seat: Seat = session.state
        note = Note.read(message)
        if note.kind is Kind.PRIVATE:
            name, *lines = note.text.split("\n")
            for line in lines:
                seat.tell(_TO_YOU, name=name, text=line)
            return
        room = topic.removeprefix(ROOM)
        if (before := seat.entering.get(room)) is not None:
            if note.kind is Kind.BEGAN:
                before.clear()
            elif note.kind is Kind.LINES:
                before += note.text.split("\n")
        elif note.by == seat.mark:
            pass
        elif note.kind is Kind.LINES:
            for line in note.text.split("\n"):
                session.send(line)
        else:
            seat.tell(_LEFT if note.kind is Kind.LEFT else _JOINED, room=room, name=note.text)

    def missed(self, topic: str, session: Session) -> str | None:
        """Return what a session is told that has missed something."""
        if topic == SPEAKS:
            return None
        if topic.startswith(NAME):
            return session.translate(_MISSED_PRIVATE)
        return session.translate(_MISSED).format(room=topic.removeprefix(ROOM))

    # --- what people say ----------------------------------------------------------------------------------------

    async def received(self, message: str, session: Session) -> AsyncIterator[str]:
        """Send a text to the room, or carry out a command and answer it; a text gets no answer."""
        seat: Seat = session.state
        steps = min(len(message.splitlines()), LINES_MOST)
        if wait := seat.rate_limit.wait(asyncio.get_running_loop().time(), steps or 1):
            await asyncio.sleep(wait)
        try:
            answers = await self._do(seat, message)
        except Refused as refused:
            answers = [seat.translated(refused.sentence, **refused.fields)]
        except TryLater:
            answers = [seat.translated(_NOT_NOW)]
        for answer in answers:
            yield answer

    async def _do(self, seat: Seat, message: str) -> list[str]:
        """Carry out a message; return the answers.

        Raises:
            Refused: it cannot be carried out.
            TryLater: it may be carried out or not.
        """
        if not message.strip():
            return []
        check_whole(message)
        if not message.startswith("/") or message.startswith("//"):
            return await _say(seat, ": ", message.removeprefix("/"))
        command, *rest = message.split(maxsplit=1)
        text = rest[0].rstrip() if rest else ""
        match command.casefold():
            case "/help":
                return [seat.translated(line) for line in _HELP]
            case "/join":
                return await join(seat, room_name(text))
            case "/leave":
                return await leave(seat, room_name(text) if text else seat.room)
            case "/rooms":
                return [f"{room} ({len(names)})" for room, names in (await rooms_in(seat.server)).items()]
            case "/who":
                return await who(seat, room_name(text) if text else seat.room)
            case "/me":
                return await _say(seat, " ", text, mark="* ")
            case "/msg":
                return await _say_privately(seat, text)
        raise Refused(_UNKNOWN, command=printable(command[:ROOM_NAME_MOST]))


# --- texts ------------------------------------------------------------------------------------------------------


async def _say(seat: Seat, separator: str, text: str, mark: str = "") -> list[str]:
    """Send a text, as `mark`, name, `separator` and text, to everybody else in the room."""
    room = seat.room
    lines = [f"[{room}] {mark}{seat.name}{separator}{line}" for line in lines_of(text)]
    check_length(lines)
    for each in packed(lines):
        await seat.publish(ROOM + room, Kind.LINES, each)
    return []


async def _say_privately(seat: Seat, text: str) -> list[str]:
    """Send a private message (`text` is recipient and message) to all sessions of the recipient."""
    to, said = (*text.split(maxsplit=1), "", "")[:2]
    lines, topic = lines_of(said), topic_of(to)
    check_length(seat.name + line + 2 * _TO_YOU for line in lines)  # room for a longer translation of _TO_YOU
    if not await seat.server.present(topic):
        raise Refused(_NOT_HERE, name=printable(to[:LONGEST]))
    for each in packed(lines, before=f"{seat.name}\n"):
        await seat.publish(topic, Kind.PRIVATE, each)
    return []


# --- people -------------------------------------------------------------------------------------------------


def _is_other(session: Session, there: Subscriber) -> bool:
    """Return whether a subscriber is another person than that of a session with a name."""
    return (there.account, key_of(there.name)) != (session.account, key_of(session.name))
