"""The chat service: rooms, private messages, and lists of the people in a room.

People have the names of their accounts. Text that others typed is escaped, so that no control character reaches a
terminal.
"""

import asyncio
import textwrap
import unicodedata
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from itertools import count

from antiphon.errors import NameInvalid
from antiphon.identity.names import LONGEST, prepare
from antiphon.language import N_
from antiphon.printable import printable
from antiphon.services.contract import Session
from antiphon.services.rate_limit import RateLimit

LOBBY = "lobby"
"""The room in which everybody begins; it always exists."""
REMEMBERED = 50
"""Lines of a room's history, shown to a person who joins."""
LINE_LIMIT = 1000
"""Bytes of a line with room and name before it: below the lowest `--message-limit`."""
LINES_MOST = 20
"""Lines of one text: enough for pasted code, too few for a file."""
AT_ONCE = 50
"""Lines and commands of one person that pass without a wait (burst)."""
A_SECOND = 10
"""Lines and commands of one person a second after that: more than anybody reads, and no flood."""
TAB = 4
"""Columns of a tab."""
ROOM_NAME_MOST = 32
"""Characters of a room's name."""
ROOMS_OF_ONE = 10
"""Rooms that one person can be in."""
ROOMS_MOST = 100
"""Rooms in all."""
WIDTH = 200
"""Characters of a line of the answer to /who."""

_HELP = (
    N_("A line that begins with a slash is a command; //text says a text that begins with one."),
    N_("/join ROOM: go into a room and speak there; it is made if it is not there"),
    N_("/leave [ROOM]: go out of a room, or of the one in which you speak"),
    N_("/rooms: which rooms there are, and how many people are in each"),
    N_("/who [ROOM]: who is in a room, or in the one in which you speak"),
    N_("/msg NAME text: say something to one person only"),
    N_("/me text: say what you do"),
)
_EARLIER = N_("[{room}] -- what was said before you came:")
_JOINED = N_("[{room}] -- {name} has joined")
_LEFT = N_("[{room}] -- {name} has left")
_YOU_SPEAK_IN = N_("You speak in {room} now. /help tells what else you can do.")
_TOO_LONG = N_("This line is too long; say it in parts.")
_TOO_MANY = N_("This text has more than {most} lines; say it in parts.")
_NO_ROOM = N_("You are in no room; /join ROOM goes into one.")
_NO_SUCH_ROOM = N_("There is no room {room}; /rooms shows those there are.")
_NOT_IN_ROOM = N_("You are not in {room}.")
_ROOM_INVALID = N_("A room has a name of up to {most} letters and digits, - and _.")
_ROOMS_OF_ONE = N_("You are in {most} rooms, and cannot be in more; /leave goes out of one.")
_ROOMS_MOST = N_("There are {most} rooms, and there cannot be more; /rooms lists them.")
_NOTHING_SAID = N_("There is no text to say; /help shows how it is done.")
_NOT_HERE = N_("There is nobody here by the name of {name}.")
_TO_YOU = N_("[{name} to you] {text}")
_UNKNOWN = N_("There is no command {command}; /help shows those there are, //text says a text with a slash.")
_GUEST = "guest-{number}"


class _Refused(Exception):
    """A command cannot be carried out; `sentence`, filled with `fields`, tells the person why."""

    def __init__(self, sentence: str, **fields: object) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.fields = fields


@dataclass(eq=False)
class _Person:
    """A person in the chat, with one session or several."""

    identity: tuple[int, str]
    """Account number and key of the account's name; `name` may have a number added to it."""
    name: str
    key: str
    """The name in the form that is compared; unique in the chat."""
    rate_limit: RateLimit
    seats: "list[_Seat]" = field(default_factory=list)


@dataclass(eq=False)
class _Seat:
    """One session of a person, with the rooms that it is in."""

    session: Session
    person: _Person
    rooms: "list[_Room]" = field(default_factory=list)
    """Rooms that this session is in; it speaks in the last one."""

    @property
    def room(self) -> "_Room":
        """The room in which this session speaks.

        Raises:
            _Refused: it is in none.
        """
        if not self.rooms:
            raise _Refused(_NO_ROOM)
        return self.rooms[-1]

    def translated(self, sentence: str, **fields: object) -> str:
        return self.session.translate(sentence).format(**fields)

    def tell(self, sentence: str, **fields: object) -> None:
        self.session.send(self.translated(sentence, **fields))


@dataclass(eq=False)
class _Room:
    name: str
    seats: list[_Seat] = field(default_factory=list)
    history: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def names(self) -> list[str]:
        """Return the names of the people in the room, each once, however many sessions they have."""
        return list({seat.person: seat.person.name for seat in self.seats}.values())

    def holds(self, person: _Person) -> bool:
        return any(seat.person is person for seat in self.seats)

    def tell(self, sentence: str, person: _Person) -> None:
        """Send a sentence about a person to everybody in the room."""
        for seat in self.seats:
            seat.tell(sentence, room=self.name, name=person.name)


class Chat:
    """A chat for all sessions of a server; rooms and their histories are kept in memory only."""

    def __init__(self, *, at_once: float = AT_ONCE, a_second: float = A_SECOND) -> None:
        """Create the chat with the lobby.

        Args:
            at_once: lines of one person that pass without a wait.
            a_second: lines of one person a second after that.
        """
        self._at_once = at_once
        self._a_second = a_second
        self._rooms = {LOBBY: _Room(LOBBY)}
        self._people: dict[tuple[int, str], _Person] = {}
        self._guests = count(1)

    def opened(self, session: Session) -> None:
        """Put a new session into the lobby."""
        person = self._person(session)
        seat = session.state = _Seat(session, person)
        person.seats.append(seat)
        self._enter(seat, self._rooms[LOBBY])
        seat.tell(_YOU_SPEAK_IN, room=LOBBY)

    def closed(self, session: Session) -> None:
        """Take a session that has ended out of all rooms."""
        seat: _Seat | None = session.state
        if seat is None:
            return
        for room in list(seat.rooms):
            self._exit(seat, room)
        seat.person.seats.remove(seat)
        if not seat.person.seats:
            del self._people[seat.person.identity]

    async def received(self, message: str, session: Session) -> AsyncIterator[str]:
        """Send a text to the room, or carry out a command and answer it; a text gets no answer."""
        seat: _Seat = session.state
        steps = min(len(message.splitlines()), LINES_MOST)
        if wait := seat.person.rate_limit.wait(asyncio.get_running_loop().time(), steps or 1):
            await asyncio.sleep(wait)
        try:
            answers = self._do(seat, message)
        except _Refused as refused:
            answers = [seat.translated(refused.sentence, **refused.fields)]
        for answer in answers:
            yield answer

    def _do(self, seat: _Seat, message: str) -> list[str]:
        """Carry out a message completely, without waiting; return the answers.

        Raises:
            _Refused: it cannot be carried out.
        """
        if not message.strip():
            return []
        if len(message) > LINES_MOST * LINE_LIMIT:  # checked before the text is processed
            raise _Refused(_TOO_LONG)
        if not message.startswith("/") or message.startswith("//"):
            return self._say(seat, ": ", message.removeprefix("/"))
        command, *rest = message.split(maxsplit=1)
        text = rest[0].rstrip() if rest else ""
        match command.casefold():
            case "/help":
                return [seat.translated(line) for line in _HELP]
            case "/join":
                return self._join(seat, text)
            case "/leave":
                return self._leave(seat, text)
            case "/rooms":
                return [f"{room.name} ({len(room.names())})" for room in self._rooms.values()]
            case "/who":
                return _listed(self._room(text) if text else seat.room)
            case "/me":
                return self._say(seat, " ", text, mark="* ")
            case "/msg":
                return self._say_privately(seat, text)
        raise _Refused(_UNKNOWN, command=printable(command[:ROOM_NAME_MOST]))

    # --- people ---------------------------------------------------------------------------------------------

    def _person(self, session: Session) -> _Person:
        """Return the person of a session.

        With `--access identify`, people at two addresses may give the same name: the second gets a number added.
        """
        name = session.name or _GUEST.format(number=next(self._guests))
        identity = session.account, _key(name)
        if identity not in self._people:
            taken = {person.key for person in self._people.values()}
            numbered = (f"{name}-{number}" if number > 1 else name for number in count(1))
            free = next(each for each in numbered if _key(each) not in taken)
            limit = RateLimit(self._at_once, self._a_second)
            self._people[identity] = _Person(identity, free, _key(free), limit)
        return self._people[identity]

    # --- texts ----------------------------------------------------------------------------------------------

    def _say(self, seat: _Seat, separator: str, text: str, mark: str = "") -> list[str]:
        """Send a text, as `mark`, name, `separator` and text, to everybody else in the room."""
        room = seat.room
        lines = [f"[{room.name}] {mark}{seat.person.name}{separator}{line}" for line in _lines(text)]
        _check_length(lines)
        room.history.extend(lines)
        for other in room.seats:
            if other is not seat:
                for line in lines:
                    other.session.send(line)
        return []

    def _say_privately(self, seat: _Seat, text: str) -> list[str]:
        """Send a private message (`text` is recipient and message) to all sessions of the recipient."""
        to, said = (*text.split(maxsplit=1), "", "")[:2]
        lines = _lines(said)
        name, key = seat.person.name, _key(to)
        _check_length(name + line + 2 * _TO_YOU for line in lines)  # room for a longer translation of _TO_YOU
        person = next((each for each in self._people.values() if each.key == key), None)
        if person is None:
            raise _Refused(_NOT_HERE, name=printable(to[:LONGEST]))
        for other in person.seats:
            for line in lines:
                other.tell(_TO_YOU, name=name, text=line)
        return []

    # --- rooms ----------------------------------------------------------------------------------------------

    def _room(self, name: str) -> _Room:
        """Return the room of this name.

        Raises:
            _Refused: there is none.
        """
        room = self._rooms.get(_room_name(name))
        if room is None:
            raise _Refused(_NO_SUCH_ROOM, room=_room_name(name))
        return room

    def _join(self, seat: _Seat, text: str) -> list[str]:
        name = _room_name(text)
        room = self._rooms.get(name)
        if room is not None and room in seat.rooms:
            seat.rooms.remove(room)
            seat.rooms.append(room)
        else:
            mine = {each.name for other in seat.person.seats for each in other.rooms}
            if len(mine | {name}) > ROOMS_OF_ONE:
                raise _Refused(_ROOMS_OF_ONE, most=ROOMS_OF_ONE)
            if room is None and len(self._rooms) >= ROOMS_MOST:
                raise _Refused(_ROOMS_MOST, most=ROOMS_MOST)
            self._enter(seat, self._rooms.setdefault(name, _Room(name)))
        return [seat.translated(_YOU_SPEAK_IN, room=name)]

    def _leave(self, seat: _Seat, text: str) -> list[str]:
        room = self._room(text) if text else seat.room
        if room not in seat.rooms:
            raise _Refused(_NOT_IN_ROOM, room=room.name)
        self._exit(seat, room)
        return [seat.translated(_YOU_SPEAK_IN, room=seat.room.name)]

    def _enter(self, seat: _Seat, room: _Room) -> None:
        """Add a session to a room: show it the history, and tell the others unless the person is there already."""
        if room.history:
            seat.tell(_EARLIER, room=room.name)
        for line in room.history:
            seat.session.send(line)
        if not room.holds(seat.person):
            room.tell(_JOINED, seat.person)
        room.seats.append(seat)
        seat.rooms.append(room)

    def _exit(self, seat: _Seat, room: _Room) -> None:
        """Remove a session from a room: tell the others unless the person is still there; drop an empty room."""
        room.seats.remove(seat)
        seat.rooms.remove(room)
        if not room.holds(seat.person):
            room.tell(_LEFT, seat.person)
        if not room.seats and room.name != LOBBY:
            del self._rooms[room.name]


def _key(name: str) -> str:
    """Return the form of a name that is compared; a name with a number added may be too long for `prepare`."""
    try:
        return prepare(name).key
    except NameInvalid:
        return name.casefold()


def _room_name(text: str) -> str:
    """Return the canonical name of a room; a leading `#` is ignored.

    Raises:
        _Refused: it is not a valid name.
    """
    try:
        name = prepare(text.removeprefix("#")).key
    except NameInvalid:
        name = ""
    fits = all(unicodedata.category(character)[0] in "LMN" or character in "-_" for character in name)
    if not (fits and 0 < len(name) <= ROOM_NAME_MOST):
        raise _Refused(_ROOM_INVALID, most=ROOM_NAME_MOST)
    return name


def _lines(text: str) -> list[str]:
    """Return the lines of a text that are not empty, escaped; each is sent as a message of its own.

    Raises:
        _Refused: there is none, or there are too many.
    """
    lines = [line.rstrip() for line in text.expandtabs(TAB).splitlines() if line.strip()]
    if not lines:
        raise _Refused(_NOTHING_SAID)
    if len(lines) > LINES_MOST:
        raise _Refused(_TOO_MANY, most=LINES_MOST)
    return [printable(line) for line in lines]


def _check_length(lines: Iterable[str]) -> None:
    if any(len(line.encode(errors="replace")) > LINE_LIMIT for line in lines):
        raise _Refused(_TOO_LONG)


def _listed(room: _Room) -> list[str]:
    wrapped = textwrap.wrap(", ".join(room.names()), WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"[{room.name}] -- {line}" for line in wrapped]
