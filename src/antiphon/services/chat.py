"""Chat: rooms, private messages, and who is there.

Names are the accounts' own, and nothing that somebody else has typed reaches a terminal as a control character.
"""

import textwrap
import unicodedata
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

from antiphon.errors import NameInvalid
from antiphon.identity.names import prepare
from antiphon.language import N_, Translate
from antiphon.printable import printable
from antiphon.services.contract import Session

LOBBY = "lobby"
"""Where everybody begins; it is always there."""
REMEMBERED = 50
"""Lines of a room that are shown to whoever joins."""
LINE_LIMIT = 1000
"""Bytes of a line with all that stands before it: below the least that `--message-limit` can be."""
ROOM_NAME_MOST = 32
"""Characters."""
ROOMS_OF_ONE = 10
"""Rooms that a session can be in."""
ROOMS_MOST = 100
"""Rooms in all."""
WIDTH = 200
"""Characters of a line of names."""

_HELP = (
    N_("What begins with a slash is a command; //text says a text that begins with one."),
    N_("/join ROOM: go into a room and speak there; it is made if it is not there"),
    N_("/leave: go out of the room in which you speak"),
    N_("/rooms: which rooms there are, and how many people are in each"),
    N_("/who: who is in the room in which you speak"),
    N_("/msg NAME text: say something to one person only"),
    N_("/me text: say what you do"),
)
_JOINED = N_("[{room}] -- {name} has joined")
_LEFT = N_("[{room}] -- {name} has left")
_YOU_SPEAK_IN = N_("You speak in {room} now. /help tells what else you can do.")
_TOO_LONG = N_("This line is too long; say it in parts.")
_NO_ROOM = N_("You are in no room; /join ROOM goes into one.")
_ROOM_INVALID = N_("A room has a name of up to {most} letters and digits, - and _.")
_ROOMS_OF_ONE = N_("You are in {most} rooms, and cannot be in more; /leave goes out of one.")
_ROOMS_MOST = N_("There are {most} rooms, and there cannot be more; /rooms lists them.")
_NOTHING_SAID = N_("There is nothing to say in that; /help shows how it is done.")
_NOT_HERE = N_("There is nobody here by the name of {name}.")
_TO_YOU = N_("[{name} to you] {text}")
_UNKNOWN = N_("There is no command {command}; /help shows those there are, //text says a text with a slash.")
_GUEST = "guest-{number}"


@dataclass(eq=False)
class _Person:
    """One session of somebody."""

    session: Session
    name: str
    key: str
    """by which names are compared; the same for all sessions of an account"""
    rooms: "list[_Room]" = field(default_factory=list)
    """those that this session is in; it speaks in the last"""

    def tell(self, sentence: str, **fields: object) -> None:
        self.session.send(self.session.translate(sentence).format(**fields))


@dataclass(eq=False)
class _Room:
    name: str
    people: list[_Person] = field(default_factory=list)
    said: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def holds(self, key: str) -> bool:
        return any(each.key == key for each in self.people)


class Chat:
    """A chat for all sessions of a server; rooms and what was said in them live as long as it does."""

    def __init__(self) -> None:
        """Begin with the lobby."""
        self._rooms = {LOBBY: _Room(LOBBY)}
        self._people: dict[str, list[_Person]] = {}
        self._guests = 0

    def opened(self, session: Session) -> None:
        """Let somebody in, into the lobby."""
        name = session.name
        if not name:  # `--access anyone`: nobody was asked
            self._guests += 1
            name = _GUEST.format(number=self._guests)
        person = session.state = _Person(session, name, prepare(name).key)
        self._people.setdefault(person.key, []).append(person)
        self._enter(person, self._rooms[LOBBY])
        person.tell(_YOU_SPEAK_IN, room=LOBBY)

    def closed(self, session: Session) -> None:
        """Let somebody go, out of all rooms."""
        person: _Person | None = session.state
        if person is None:
            return
        for room in list(person.rooms):
            self._go_out(person, room)
        mine = self._people[person.key]
        mine.remove(person)
        if not mine:
            del self._people[person.key]

    def received(self, message: str, session: Session) -> str | AsyncIterator[str] | None:
        """Say a line in the room, or do what a command says."""
        person: _Person = session.state
        translate = session.translate
        if message.startswith("//"):
            return self._say(person, ": ", message[1:])
        if not message.startswith("/"):
            return self._say(person, ": ", message)
        command, _, rest = message.partition(" ")
        rest = rest.strip()
        match command:
            case "/help":
                return _lines([translate(line) for line in _HELP])
            case "/join":
                return self._join(person, rest)
            case "/leave":
                return self._leave(person)
            case "/rooms":
                return _listed(f"{room.name} ({len(_names(room.people))})" for room in self._rooms.values())
            case "/who":
                return _listed(_names(person.rooms[-1].people)) if person.rooms else translate(_NO_ROOM)
            case "/me":
                return self._say(person, " ", rest, mark="* ")
            case "/msg":
                return self._whisper(person, rest)
        return translate(_UNKNOWN).format(command=printable(command[:ROOM_NAME_MOST]))

    # --- what is said ---------------------------------------------------------------------------------------

    def _say(self, person: _Person, link: str, text: str, mark: str = "") -> str | None:
        """Say a line to everybody else in the room; return what hinders it."""
        translate = person.session.translate
        if not person.rooms:
            return translate(_NO_ROOM)
        if not text.strip():
            return translate(_NOTHING_SAID)
        room = person.rooms[-1]
        line = f"[{room.name}] {mark}{person.name}{link}{printable(text)}"
        if _is_too_long(line):
            return translate(_TOO_LONG)
        room.said.append(line)
        for other in room.people:
            if other is not person:
                other.session.send(line)
        return None

    def _whisper(self, person: _Person, rest: str) -> str | None:
        """Say a text to all sessions of one person; return what hinders it."""
        translate = person.session.translate
        name, _, text = rest.partition(" ")
        text = printable(text.strip())
        if not text:
            return translate(_NOTHING_SAID)
        if _is_too_long(person.name + text + _TO_YOU * 2):  # in whatever language it is told
            return translate(_TOO_LONG)
        try:
            found = self._people.get(prepare(name).key, ())
        except NameInvalid:
            found = ()
        if not found:
            return translate(_NOT_HERE).format(name=printable(name[:ROOM_NAME_MOST]))
        for other in found:
            other.tell(_TO_YOU, name=person.name, text=text)
        return None

    # --- rooms ----------------------------------------------------------------------------------------------

    def _join(self, person: _Person, name: str) -> str:
        translate = person.session.translate
        key = _room_key(name)
        if key is None:
            return translate(_ROOM_INVALID).format(most=ROOM_NAME_MOST)
        room = self._rooms.get(key)
        if room is not None and room in person.rooms:
            person.rooms.remove(room)
            person.rooms.append(room)
        elif len(person.rooms) >= ROOMS_OF_ONE:
            return translate(_ROOMS_OF_ONE).format(most=ROOMS_OF_ONE)
        elif room is None and len(self._rooms) >= ROOMS_MOST:
            return translate(_ROOMS_MOST).format(most=ROOMS_MOST)
        else:
            room = room or self._rooms.setdefault(key, _Room(key))
            self._enter(person, room)
        return translate(_YOU_SPEAK_IN).format(room=room.name)

    def _leave(self, person: _Person) -> str:
        translate: Translate = person.session.translate
        if person.rooms:
            self._go_out(person, person.rooms[-1])
        if not person.rooms:
            return translate(_NO_ROOM)
        return translate(_YOU_SPEAK_IN).format(room=person.rooms[-1].name)

    def _enter(self, person: _Person, room: _Room) -> None:
        """Show what was said in the room, and tell those inside, unless the same one is there already."""
        for line in room.said:
            person.session.send(line)
        if not room.holds(person.key):
            _tell(room.people, _JOINED, room=room.name, name=person.name)
        room.people.append(person)
        person.rooms.append(room)

    def _go_out(self, person: _Person, room: _Room) -> None:
        room.people.remove(person)
        person.rooms.remove(room)
        if not room.holds(person.key):
            _tell(room.people, _LEFT, room=room.name, name=person.name)
        if not room.people and room.name != LOBBY:
            del self._rooms[room.name]


def _room_key(name: str) -> str | None:
    """Return a room's name in the one form that it has; None, it cannot be one."""
    try:
        key = prepare(name).key
    except NameInvalid:
        return None
    fits = all(unicodedata.category(character)[0] in "LMN" or character in "-_" for character in key)
    return key if fits and len(key) <= ROOM_NAME_MOST else None


def _tell(people: Iterable[_Person], sentence: str, **fields: object) -> None:
    for person in people:
        person.tell(sentence, **fields)


def _names(people: Iterable[_Person]) -> list[str]:
    """Return who is there, each once, however many sessions they have."""
    return list({person.key: person.name for person in people}.values())


def _is_too_long(line: str) -> bool:
    return len(line.encode(errors="replace")) > LINE_LIMIT


def _listed(names: Iterable[str]) -> AsyncIterator[str]:
    return _lines(textwrap.wrap(", ".join(names), WIDTH, break_long_words=False, break_on_hyphens=False))


async def _lines(lines: Sequence[str]) -> AsyncIterator[str]:
    for line in lines:
        yield line
