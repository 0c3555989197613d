"""The chat against a model: after any actions, each line reaches exactly the people in its room, in one order."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from antiphon.services import Chat
from antiphon.services.chat_rooms import REMEMBERED, ROOMS_OF_ONE
from support.chat_room import ChatRoom, Guest

NAMES = ("ann", "bob", "Вадим")
ROOMS = ("lobby", "a", "b", "c")
SESSIONS = 5

ACTS = st.one_of(
    st.tuples(st.sampled_from(["come", "go", "/leave", "say", "say", "say", "lines", "/me"]), st.none()),
    st.tuples(st.sampled_from(["/join", "/leave"]), st.sampled_from(ROOMS)),
    st.tuples(st.just("/msg"), st.sampled_from(NAMES)),
)


@dataclass(eq=False)
class Someone:
    """A session in the model."""

    name: str
    guest: Guest
    rooms: list[str]
    hears: list[str] = field(default_factory=list)


class Model:
    """The model: who is in which room, and the lines that each session must have received."""

    def __init__(self, hall: ChatRoom) -> None:
        self.hall = hall
        self.people: list[Someone] = []
        self.said: dict[str, list[str]] = {"lobby": []}
        self.number = 0

    def inside(self, room: str, *, name: str | None = None) -> list[Someone]:
        return [each for each in self.people if room in each.rooms and name in (None, each.name)]

    def hear(self, room: str, line: str, *, but: Someone | None = None) -> None:
        for each in self.inside(room):
            if each is not but:
                each.hears.append(line)

    def enter(self, someone: Someone, room: str) -> None:
        if self.said.setdefault(room, []):
            someone.hears += [f"[{room}] -- what was said before you came:", *self.said[room][-REMEMBERED:]]
        if not self.inside(room, name=someone.name):
            self.hear(room, f"[{room}] -- {someone.name} has joined")
        someone.rooms.append(room)

    def go_out(self, someone: Someone, room: str) -> None:
        someone.rooms.remove(room)
        if not self.inside(room, name=someone.name):
            self.hear(room, f"[{room}] -- {someone.name} has left")
        if not self.inside(room) and room != "lobby":
            del self.said[room]

    def come(self, name: str) -> None:
        someone = Someone(name, self.hall.come(name), [])
        self.enter(someone, "lobby")
        self.people.append(someone)
        someone.hears.append("You speak in lobby now. /help tells what else you can do.")

    def go(self, someone: Someone) -> None:
        for room in list(someone.rooms):
            self.go_out(someone, room)
        self.people.remove(someone)
        self.hall.go(someone.guest)

    def act(self, someone: Someone, act: str, what: str | None) -> None:
        """Do something in the chat, and update the model."""
        self.number += 1
        text = f"text {self.number}"
        if act == "go":
            self.go(someone)
        elif act == "/join":
            assert what is not None
            answers = self.hall.say(someone.guest, f"/join {what}")
            if what in someone.rooms:
                someone.rooms.remove(what)
                someone.rooms.append(what)
            else:
                self.enter(someone, what)
            assert answers[0].startswith(f"You speak in {what} now.")
        elif act == "/leave":
            self.hall.say(someone.guest, "/leave" if what is None else f"/leave {what}")
            room = what or (someone.rooms[-1] if someone.rooms else None)
            if room in someone.rooms:
                self.go_out(someone, str(room))
        elif act == "/msg":
            answers = self.hall.say(someone.guest, f"/msg {what} {text}")
            found = [each for each in self.people if each.name == what]
            for each in found:
                each.hears.append(f"[{someone.name} to you] {text}")
            assert bool(answers) == (not found)
        else:
            message, lines = {
                "say": (text, [f"{someone.name}: {text}"]),
                "lines": (f"{text}\n\n{text}b", [f"{someone.name}: {text}", f"{someone.name}: {text}b"]),
                "/me": (f"/me {text}", [f"* {someone.name} {text}"]),
            }[act]
            answers = self.hall.say(someone.guest, message)
            assert bool(answers) == (not someone.rooms)
            for line in lines if someone.rooms else []:
                room = someone.rooms[-1]
                self.said[room].append(f"[{room}] {line}")
                self.hear(room, f"[{room}] {line}", but=someone)

    def check(self) -> None:
        for each in self.people:
            assert each.guest.heard == each.hears
            who = self.hall.say(each.guest, "/who")
            if each.rooms:
                room = each.rooms[-1]
                names = dict.fromkeys(other.name for other in self.inside(room))
                assert sorted(who[0].removeprefix(f"[{room}] -- ").split(", ")) == sorted(names)
            rooms = self.hall.say(each.guest, "/rooms")
            counts = {room: len({other.name for other in self.inside(room)}) for room in self.said}
            assert sorted(rooms) == sorted(f"{room} ({count})" for room, count in counts.items())


@given(st.lists(st.tuples(st.integers(0, SESSIONS - 1), st.sampled_from(NAMES), ACTS), max_size=60))
def test_each_line_reaches_exactly_those_in_the_room_in_one_order(
    steps: list[tuple[int, str, tuple[str, str | None]]],
) -> None:
    assert len(ROOMS) <= ROOMS_OF_ONE
    with ChatRoom(Chat(at_once=10_000)) as hall:
        model = Model(hall)
        for place, name, (act, what) in steps:
            if act == "come" or not model.people:
                if len(model.people) < SESSIONS:
                    model.come(name)
            else:
                model.act(model.people[place % len(model.people)], act, what)
        model.check()
