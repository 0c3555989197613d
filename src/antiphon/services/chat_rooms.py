"""Rooms of the chat: who is in them, who comes and goes, and where a session speaks.

Each room is a topic. Nothing is kept here: who is in a room is subscribed to its topic, and the broker has its
history.
"""

import asyncio
from dataclasses import dataclass, field

from antiphon.language import N_
from antiphon.services.chat_lines import Kind, Note, Refused, listed
from antiphon.services.contract import ServiceServer, Session
from antiphon.services.rate_limit import RateLimit
from antiphon.topics import Subscriber

LOBBY = "lobby"
"""The room in which everybody begins; it always exists."""
REMEMBERED = 50
"""Lines of a room's history, shown to a person who joins."""
READ_BACK = 4 * REMEMBERED
"""Notes of a room that are read for them: some are no lines, and tell who came and went."""
ROOMS_OF_ONE = 10
"""Rooms that one person can be in."""
ROOMS_MOST = 100
"""Rooms in all."""
ROOM = "room/"
"""Beginning of the topics that are rooms."""
SPEAKS = "speaks"
"""Topic without messages: the `info` says where a session speaks that does not speak in its last room."""

_EARLIER = N_("[{room}] -- what was said before you came:")
YOU_SPEAK_IN = N_("You speak in {room} now. /help tells what else you can do.")
_NO_ROOM = N_("You are in no room; /join ROOM goes into one.")
_NO_SUCH_ROOM = N_("There is no room {room}; /rooms shows those there are.")
_NOT_IN_ROOM = N_("You are not in {room}.")
_ROOMS_OF_ONE = N_("You are in {most} rooms, and cannot be in more; /leave goes out of one.")
_ROOMS_MOST = N_("There are {most} rooms, and there cannot be more; /rooms lists them.")


@dataclass(eq=False)
class Seat:
    """One session of a person, with the rooms that it is in."""

    session: Session
    mark: str
    name: str = ""
    """The name in the chat, which may have a number added."""
    rate_limit: RateLimit = field(default_factory=lambda: RateLimit(1, 1))
    rooms: list[str] = field(default_factory=list)
    """Rooms that this session is in; it speaks in the last one."""
    entering: dict[str, list[str]] = field(default_factory=dict)
    """Rooms that it is just going into, with what was said in them."""

    @property
    def server(self) -> ServiceServer:
        """The server of the session."""
        return self.session.server

    @property
    def room(self) -> str:
        """The room in which this session speaks.

        Raises:
            Refused: it is in none.
        """
        if not self.rooms:
            raise Refused(_NO_ROOM)
        return self.rooms[-1]

    def translated(self, sentence: str, **fields: object) -> str:
        """Return a sentence in the person's language."""
        return self.session.translate(sentence).format(**fields)

    def tell(self, sentence: str, **fields: object) -> None:
        """Push a sentence to the session, in the person's language."""
        self.session.send(self.translated(sentence, **fields))

    async def publish(self, topic: str, kind: Kind, text: str) -> None:
        """Publish a note of this session to a topic."""
        await self.session.publish(topic, Note(kind, self.mark, text).written())


async def join(seat: Seat, room: str) -> list[str]:
    """Have a session speak in a room, which it goes into if it is not there; return the answer.

    Raises:
        Refused: the person is in too many rooms, or there are too many.
    """
    if room in seat.rooms:
        seat.rooms.remove(room)
        seat.rooms.append(room)
        await _keep_room(seat)
    else:
        rooms = await rooms_in(seat.server)
        mine = {each for each, names in rooms.items() if seat.name in names}
        if len(mine | {room}) > ROOMS_OF_ONE:
            raise Refused(_ROOMS_OF_ONE, most=ROOMS_OF_ONE)
        if room not in rooms and len(rooms) >= ROOMS_MOST:
            raise Refused(_ROOMS_MOST, most=ROOMS_MOST)
        await enter(seat, room)
        await _keep_room(seat)
    return [seat.translated(YOU_SPEAK_IN, room=room)]


async def leave(seat: Seat, room: str) -> list[str]:
    """Take a session out of a room; return the answer.

    Raises:
        Refused: it is not in that room, or in none any more.
    """
    if room not in seat.rooms:
        await _names(seat.server, room)
        raise Refused(_NOT_IN_ROOM, room=room)
    seat.rooms.remove(room)
    seat.session.unsubscribe(ROOM + room)
    await _keep_room(seat)
    await tell_left(seat, room)
    return [seat.translated(YOU_SPEAK_IN, room=seat.room)]


async def who(seat: Seat, room: str) -> list[str]:
    """Return the list of the people in a room.

    Raises:
        Refused: there is no such room.
    """
    return listed(room, await _names(seat.server, room))


async def enter(seat: Seat, room: str) -> None:
    """Add a session to a room: show it the history, and tell the others unless the person is there already."""
    topic, session = ROOM + room, seat.session
    there = await session.server.present(topic)
    new = not there and room != LOBBY
    before: list[str] = []
    seat.entering[room] = before
    try:
        await session.subscribe(topic, 0 if new else READ_BACK, seat.name)
    finally:
        del seat.entering[room]
    seat.rooms.append(room)
    if before:
        seat.tell(_EARLIER, room=room)
    for line in before[-REMEMBERED:]:
        session.send(line)
    if seat.name not in _each_once(there):
        await seat.publish(topic, Kind.BEGAN if new else Kind.JOINED, seat.name)


def rooms_of(session: Session) -> list[str]:
    """Return the rooms of a session as its topics know them, in the order in which it has come in."""
    return [topic.removeprefix(ROOM) for topic in session.topics if topic.startswith(ROOM)]


async def _keep_room(seat: Seat) -> None:
    """Have the session speak in the same room when it goes on in another process, with its topics alone."""
    seat.session.unsubscribe(SPEAKS)
    if seat.rooms[-1:] != rooms_of(seat.session)[-1:]:
        await seat.session.subscribe(SPEAKS, info=seat.room)


async def tell_joined(seat: Seat, room: str) -> None:
    """Tell those in a room that a person is back, unless the person was there with another session."""
    there = await seat.server.present(ROOM + room)
    if [each.info for each in there].count(seat.name) == 1:
        await seat.publish(ROOM + room, Kind.JOINED, seat.name)


async def tell_left(seat: Seat, room: str) -> None:
    """Tell those who are left in a room, unless the person is still there with another session."""
    there = await seat.server.present(ROOM + room)
    if there and seat.name not in _each_once(there):
        await seat.publish(ROOM + room, Kind.LEFT, seat.name)


async def rooms_in(server: ServiceServer) -> dict[str, list[str]]:
    """Return all rooms, and who is in each; the lobby always is one."""
    topics = await server.topics(ROOM)
    present = await asyncio.gather(*map(server.present, topics))
    rooms = {topic.removeprefix(ROOM): _each_once(there) for topic, there in zip(topics, present, strict=True)}
    return {LOBBY: []} | {room: names for room, names in rooms.items() if names}


async def _names(server: ServiceServer, room: str) -> list[str]:
    """Return the people in a room.

    Raises:
        Refused: there is no such room.
    """
    names = _each_once(await server.present(ROOM + room))
    if not names and room != LOBBY:
        raise Refused(_NO_SUCH_ROOM, room=room)
    return names


def _each_once(there: list[Subscriber]) -> list[str]:
    """Return the names of people, each once, however many sessions they have."""
    return list(dict.fromkeys(each.info for each in there))
