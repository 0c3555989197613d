"""The chat in memory: who receives which line, and what one person cannot do to others."""

from collections.abc import Iterator

import pytest

from antiphon.services import Chat
from antiphon.services.chat_lines import LINE_LIMIT, LINES_MOST
from antiphon.services.chat_rooms import ROOMS_MOST
from antiphon.wire.kinds import KIB
from support.chat_room import ChatRoom, Guest

LOBBY = "You speak in lobby now. /help tells what else you can do."


@pytest.fixture
def hall() -> Iterator[ChatRoom]:
    with ChatRoom() as hall:
        yield hall


@pytest.fixture
def ann(hall: ChatRoom) -> Guest:
    ann = hall.come("ann")
    assert ann.hears() == [LOBBY]
    return ann


@pytest.fixture
def bob(hall: ChatRoom, ann: Guest) -> Guest:
    bob = hall.come("bob")
    assert bob.hears() == [LOBBY]
    assert ann.hears() == ["[lobby] -- bob has joined"]
    return bob


# --- texts --------------------------------------------------------------------------------------------------


def test_a_line_is_heard_by_others_under_the_name_of_the_account(hall: ChatRoom, ann: Guest, bob: Guest) -> None:
    assert hall.say(bob, "hello", "//join", "/me waves") == []
    assert ann.hears() == ["[lobby] bob: hello", "[lobby] bob: /join", "[lobby] * bob waves"]
    assert bob.hears() == []


def test_a_text_of_many_lines_is_said_line_by_line(hall: ChatRoom, ann: Guest, bob: Guest) -> None:
    hall.say(bob, "if x:\n\n\ty()\r\n[lobby] eve: hi\u2028[lobby] -- bob has left\x0b/me\n")
    assert ann.hears() == [
        "[lobby] bob: if x:",
        "[lobby] bob:     y()",
        "[lobby] bob: [lobby] eve: hi",
        "[lobby] bob: [lobby] -- bob has left",
        "[lobby] bob: /me",
    ]
    hall.say(bob, "/me a\nb")
    hall.say(bob, "/msg ann a\nb")
    assert ann.hears() == ["[lobby] * bob a", "[lobby] * bob b", "[bob to you] a", "[bob to you] b"]


@pytest.mark.parametrize("say", ["{}", "/me {}", "/msg ann {}", "//{}"])
@pytest.mark.parametrize(
    "character",
    ["\x00", "\x07", "\x08", "\x1b", "\x7f", "\x9b", "\xad", "\u200b", "\u200f", "\u202e", "\u2066", "\ufeff"],
)
def test_nothing_that_a_terminal_would_obey_reaches_others(
    hall: ChatRoom, ann: Guest, bob: Guest, say: str, character: str
) -> None:
    hall.say(bob, say.format(f"a{character}b"))
    (line,) = ann.hears()
    assert line.endswith("a" + character.encode("unicode_escape").decode() + "b")


def test_the_command_that_is_not_known_comes_back_safe_to_show(hall: ChatRoom, ann: Guest) -> None:
    (answer,) = hall.say(ann, "/\x1b[2J")
    assert answer.startswith("There is no command /\\x1b[2J;")
    (answer,) = hall.say(ann, "/msg \x1b[2J text")
    assert answer == "There is nobody here by the name of \\x1b[2J."


@pytest.mark.parametrize("message", ["", "  ", "\n\t\n"])
def test_an_empty_line_says_nothing(hall: ChatRoom, ann: Guest, bob: Guest, message: str) -> None:
    assert hall.say(bob, message) == []
    assert ann.hears() == []


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ("x" * LINE_LIMIT, "This line is too long"),
        ("fine\n" + "\u202e" * (LINE_LIMIT // 6), "This line is too long"),
        ("/msg ann " + "x" * LINE_LIMIT, "This line is too long"),
        ("fine" + " " * LINE_LIMIT * LINES_MOST, "This line is too long"),
        ("x\n" * (LINES_MOST + 1), "This text has more than 20 lines"),
        ("/shout x", "There is no command /shout;"),
        ("/", "There is no command /;"),
        ("/join", "A room has a name of up to 32"),
        ("/join a]b", "A room has a name of up to 32"),
        ("/join a b", "A room has a name of up to 32"),
        ("/join " + "x" * 33, "A room has a name of up to 32"),
        ("/leave maths", "There is no room maths;"),
        ("/who maths", "There is no room maths;"),
        ("/who \x1b", "A room has a name of up to 32"),
        ("/me", "There is no text to say"),
        ("/msg", "There is no text to say"),
        ("/msg ann", "There is no text to say"),
        ("/msg eve psst", "There is nobody here by the name of eve."),
    ],
)
def test_a_command_that_is_refused_is_answered_with_a_hint_and_reaches_nobody(
    hall: ChatRoom, ann: Guest, bob: Guest, message: str, answer: str
) -> None:
    assert hall.say(bob, message)[0].startswith(answer)
    assert ann.hears() == []


def test_the_longest_line_fits_into_the_smallest_message(hall: ChatRoom, ann: Guest, bob: Guest) -> None:
    hall.say(bob, "я" * ((LINE_LIMIT - len("[lobby] bob: ")) // 2))
    (line,) = ann.hears()
    assert LINE_LIMIT - 2 < len(line.encode()) <= LINE_LIMIT < KIB


def test_a_text_to_one_person_reaches_all_sessions_of_that_one_only(
    hall: ChatRoom, ann: Guest, bob: Guest
) -> None:
    also_ann, eve = hall.come("ann"), hall.come("eve")
    for each in (ann, also_ann, bob, eve):
        each.hears()
    assert hall.say(bob, "/msg ANN psst  psst") == []
    assert [each.hears() for each in (ann, also_ann, bob, eve)] == [["[bob to you] psst  psst"]] * 2 + [[], []]


def test_commands_are_explained_in_the_language_of_each(hall: ChatRoom, ann: Guest) -> None:
    assert [line.split(":")[0] for line in hall.say(ann, "/HELP")[1:]] == [
        "/join ROOM", "/leave [ROOM]", "/rooms", "/who [ROOM]", "/msg NAME text", "/me text",
    ]  # fmt: skip
    vadim = hall.come("Вадим", language="ru")
    assert vadim.hears() == ["Вы говорите в комнате lobby. Что ещё можно сделать, покажет /help."]
    assert hall.say(vadim, "/msg ann привет", "/me") == ["В этом нет текста; как это делается, покажет /help."]
    assert ann.hears() == ["[lobby] -- Вадим has joined", "[Вадим to you] привет"]
    hall.say(ann, "/msg вадим hi")
    hall.go(ann)
    assert vadim.hears() == ["[ann — вам] hi", "[lobby] -- выход: ann"]
    commands = hall.say(vadim, "/help")
    assert not [line for line in commands if not any("а" <= character <= "я" for character in line)]


# --- rooms --------------------------------------------------------------------------------------------------


def test_rooms_keep_apart_what_is_said(hall: ChatRoom, ann: Guest, bob: Guest) -> None:
    assert hall.say(ann, "/join #Maths") == ["You speak in maths now. /help tells what else you can do."]
    hall.say(ann, "two")
    hall.say(bob, "hello")
    assert bob.hears() == []
    assert ann.hears() == ["[lobby] bob: hello"]
    assert hall.say(bob, "/rooms") == ["lobby (2)", "maths (1)"]
    assert hall.say(bob, "/who") == ["[lobby] -- ann, bob"]
    assert hall.say(bob, "/who MATHS") == ["[maths] -- ann"]


def test_the_last_lines_are_shown_to_whoever_joins(hall: ChatRoom, ann: Guest, bob: Guest) -> None:
    hall.say(ann, "/join maths", *map(str, range(51)))
    assert hall.say(bob, "/join maths") == ["You speak in maths now. /help tells what else you can do."]
    assert bob.hears() == [
        "[maths] -- what was said before you came:",
        *(f"[maths] ann: {number}" for number in range(1, 51)),
    ]
    assert ann.hears() == ["[maths] -- bob has joined"]


def test_to_join_again_is_to_speak_there(hall: ChatRoom, ann: Guest, bob: Guest) -> None:
    hall.say(ann, "/join maths")
    hall.say(ann, "/join lobby", "back")
    assert bob.hears() == ["[lobby] ann: back"]
    assert hall.say(ann, "/leave maths") == [LOBBY]
    assert hall.say(ann, "/rooms") == ["lobby (2)"]
    assert hall.say(ann, "/leave") == ["You are in no room; /join ROOM goes into one."]
    assert bob.hears() == ["[lobby] -- ann has left"]
    for message in ("hello", "/me waves", "/who", "/leave"):
        assert hall.say(ann, message) == ["You are in no room; /join ROOM goes into one."]
    assert hall.say(bob, "/join maths", "/join lobby")
    assert hall.say(ann, "/leave maths") == ["You are not in maths."]


def test_a_room_that_everybody_has_left_is_gone_and_the_lobby_stays(hall: ChatRoom, ann: Guest) -> None:
    hall.say(ann, "in the lobby", "/join maths", "two")
    hall.go(ann)
    bob = hall.come("bob")
    assert bob.hears() == ["[lobby] -- what was said before you came:", "[lobby] ann: in the lobby", LOBBY]
    assert hall.say(bob, "/rooms") == ["lobby (1)"]
    hall.say(bob, "/join maths")
    assert bob.hears() == []


def test_of_a_room_that_was_empty_nothing_older_is_shown(hall: ChatRoom, ann: Guest, bob: Guest) -> None:
    hall.say(ann, "/join maths", "two", "/leave")
    hall.say(bob, "/join maths", "three")
    ann.hears()
    hall.say(ann, "/join maths")
    assert ann.hears() == ["[maths] -- what was said before you came:", "[maths] bob: three"]


def test_a_person_is_in_ten_rooms_at_the_most_in_all_sessions_together(hall: ChatRoom, ann: Guest) -> None:
    for number in range(9):
        hall.say(ann, f"/join room{number}")
    also = hall.come("ann")
    for session in (ann, also):
        assert hall.say(session, "/join more")[0].startswith("You are in 10 rooms")
    assert hall.say(also, "/join room1")[0].startswith("You speak in room1")


def test_there_are_a_hundred_rooms_at_the_most(hall: ChatRoom, ann: Guest) -> None:
    for number in range(ROOMS_MOST - 1):
        guest = hall.come(f"user{number // 9}")
        assert hall.say(guest, f"/join room{number}")[0].startswith("You speak in room")
    assert hall.say(ann, "/join more") == ["There are 100 rooms, and there cannot be more; /rooms lists them."]
    assert hall.say(ann, "/join room1")[0].startswith("You speak in room1")


def test_a_crowd_is_listed_in_lines_that_fit(hall: ChatRoom, ann: Guest) -> None:
    names = ["ann", *("я" * 60 + str(number) for number in range(30))]
    for name in names[1:]:
        hall.come(name)
    lines = hall.say(ann, "/who")
    assert max(len(line.encode()) for line in lines) <= LINE_LIMIT
    assert ", ".join(line.removeprefix("[lobby] -- ").removesuffix(",") for line in lines) == ", ".join(names)


# --- people -------------------------------------------------------------------------------------------------


def test_somebody_with_several_sessions_comes_once_and_goes_once(hall: ChatRoom, ann: Guest, bob: Guest) -> None:
    also = hall.come("bob")
    assert hall.say(ann, "/who") == ["[lobby] -- ann, bob"]
    hall.say(also, "hello")
    assert bob.hears() == ["[lobby] bob: hello"]
    hall.go(bob)
    assert ann.hears() == ["[lobby] bob: hello"]
    hall.go(also)
    assert ann.hears() == ["[lobby] -- bob has left"]
    hall.come("bob")
    assert ann.hears() == ["[lobby] -- bob has joined"]


def test_of_two_people_with_one_name_the_second_gets_a_number(hall: ChatRoom, ann: Guest) -> None:
    first = hall.come("Bob", account=-1)
    second, named_so = hall.come("bob", account=-2), hall.come("bob-2", account=-2)
    also_second = hall.come("bob", account=-2)
    assert hall.say(ann, "/who") == ["[lobby] -- ann, Bob, bob-2, bob-2-2"]
    hall.go(first)
    hall.say(second, "it is me")
    hall.say(also_second, "and me")
    ann.heard = ann.heard[-3:]
    assert ann.hears() == ["[lobby] -- Bob has left", "[lobby] bob-2: it is me", "[lobby] bob-2: and me"]
    named_so.hears()
    hall.say(ann, "/msg bob-2-2 psst")
    assert named_so.hears() == ["[ann to you] psst"]


def test_a_number_behind_the_longest_name_makes_no_two_of_one_name(hall: ChatRoom, ann: Guest) -> None:
    for address in range(3):
        hall.come("x" * 64, account=-address)
    assert " ".join(hall.say(ann, "/who")).count("x" * 64) == 3
    assert hall.say(ann, "/msg " + "x" * 64 + "-3 psst") == []


def test_a_guest_gets_a_name_that_no_guest_had_before(hall: ChatRoom) -> None:
    guests = [hall.come("", account=-1) for _ in range(2)]
    assert hall.say(guests[1], "/who") == ["[lobby] -- guest-1, guest-2"]
    hall.go(guests[1])
    hall.come("", account=-1)
    assert hall.say(guests[0], "/who") == ["[lobby] -- guest-1, guest-3"]


def test_a_name_that_looks_like_a_mark_of_the_chat_is_still_seen_to_be_a_name(hall: ChatRoom, ann: Guest) -> None:
    """After the room comes a name with a colon, or else only `*` or `--`."""
    for name in ("*", "--", "bob:", "[lobby]", "lobby]"):
        hall.say(hall.come(name), "bob: has left", "/me bob: x")
    said = [line for line in ann.hears() if "has joined" not in line]
    assert said == [
        "[lobby] *: bob: has left", "[lobby] * * bob: x",
        "[lobby] --: bob: has left", "[lobby] * -- bob: x",
        "[lobby] bob:: bob: has left", "[lobby] * bob: bob: x",
        "[lobby] [lobby]: bob: has left", "[lobby] * [lobby] bob: x",
        "[lobby] lobby]: bob: has left", "[lobby] * lobby] bob: x",
    ]  # fmt: skip


# --- sessions that move ---------------------------------------------------------------------------------------


def test_a_session_that_moves_goes_on_in_its_rooms_and_nobody_is_told(
    hall: ChatRoom, ann: Guest, bob: Guest
) -> None:
    hall.say(bob, "/join maths", "/join lobby")
    hall.say(ann, "/join maths")
    for each in (ann, bob):
        each.hears()
    moved = hall.move(bob, says=lambda: hall.say(ann, "one", "/join lobby", "two"))
    assert sorted(moved.hears()) == sorted([LOBBY, "[maths] ann: one", "[lobby] ann: two"])
    assert ann.hears() == []
    hall.say(moved, "here I am", "/join maths", "and here")
    assert ann.hears() == ["[lobby] bob: here I am", "[maths] bob: and here"]
    assert hall.say(ann, "/rooms") == ["lobby (2)", "maths (2)"]


def test_a_session_that_was_given_up_has_left_and_joins_again_and_has_missed_nothing(
    hall: ChatRoom, ann: Guest, bob: Guest
) -> None:
    moved = hall.move(bob, says=lambda: hall.say(ann, "one"), stops=False)
    assert moved.hears() == [LOBBY, "[lobby] ann: one"]
    assert ann.hears() == ["[lobby] -- bob has left", "[lobby] -- bob has joined"]


def test_a_guest_who_was_away_is_the_same_guest(hall: ChatRoom) -> None:
    guests = [hall.come("", account=-1) for _ in range(2)]
    guests[0] = hall.move(guests[0], stops=False)
    assert sorted(hall.say(guests[1], "/who")[0].removeprefix("[lobby] -- ").split(", ")) == ["guest-1", "guest-2"]


@pytest.mark.parametrize("stops", [False, True])
def test_a_name_that_somebody_else_took_meanwhile_is_theirs(hall: ChatRoom, ann: Guest, *, stops: bool) -> None:
    first = hall.come("bob", account=-1)
    hall.say(first, "/join maths")
    moved = hall.move(first, says=lambda: hall.come("bob", account=-2), stops=stops)
    assert moved.hears()[-1] == LOBBY
    assert sorted(hall.say(ann, "/who")[0].removeprefix("[lobby] -- ").split(", ")) == ["ann", "bob", "bob-2"]
    assert hall.say(ann, "/rooms") == ["lobby (3)"]


# --- rate limit ---------------------------------------------------------------------------------------------


def test_whoever_says_much_is_slowed_in_all_sessions_together_and_loses_nothing() -> None:
    with ChatRoom(Chat(at_once=5, a_second=10)) as hall:
        bob, also, ann = hall.come("bob"), hall.come("bob"), hall.come("ann")
        ann.hears()
        hall.say(bob, "0", "1", "2", "3\n4")
        assert hall.now == 0
        hall.say(ann, "mine")
        assert hall.now == 0
        hall.say(also, *map(str, range(5, 15)))
        assert hall.now == pytest.approx(1.0, abs=0.01)
        assert ann.hears() == [f"[lobby] bob: {number}" for number in range(15)]
        hall.say(also, "/join maths", "/leave")
        assert hall.now == pytest.approx(1.2, abs=0.01)
