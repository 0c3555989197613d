"""The chat over sockets: names, broken connections, sessions that end, and one order of lines for all."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from antiphon.identity.names import prepare
from antiphon.server.session import registry
from antiphon.services import Chat
from antiphon.store.sql import SqlStore, open_sqlite
from antiphon.wire.bodies import Identify, Resume, Welcome
from antiphon.wire.kinds import Kind
from support.chat_clients import ChatClient
from support.serving import Serving, in_session, seed, serving

Come = Callable[[str], ChatClient]


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, list[bytes]]:
    return {name: seed(tmp_path / "data", name, sessions=2) for name in ("ann", "bob", "eve")}


@pytest.fixture
def server(tmp_path: Path, tokens: dict[str, list[bytes]]) -> Iterator[Serving]:
    with serving(tmp_path / "data", Chat(at_once=1000), plain=True) as server:
        yield server


@pytest.fixture
def come(server: Serving, tokens: dict[str, list[bytes]]) -> Iterator[Come]:
    with contextlib.ExitStack() as stack:
        yield lambda name: ChatClient(stack.enter_context(server.session(tokens[name].pop())))


@contextlib.contextmanager
def entered(server: Serving, source: str, name: str | None) -> Iterator[ChatClient]:
    """Yield a client that has signed in without a password."""
    with server.client(source) as client:
        client.hello()
        welcome = client.request(Kind.IDENTIFY, Identify(name=name))
        assert isinstance(welcome, Welcome), welcome
        yield ChatClient(client)


def test_what_is_said_is_answered_by_an_end_and_what_cannot_be_said_by_a_sentence(come: Come) -> None:
    ann, bob = come("ann"), come("bob")
    assert bob.say("hello") == []
    assert bob.say("/rooms") == ["lobby (2)"]
    assert bob.say("/msg carl psst") == ["There is nobody here by the name of carl."]
    ann.hears("[lobby] bob: hello")
    bob.client.leave()
    ann.hears("[lobby] -- bob has left")


def test_all_hear_all_lines_in_one_order_and_an_end_comes_after_all_before_it(come: Come) -> None:
    ann, bob, eve, listener = come("ann"), come("bob"), come("eve"), come("eve")
    lasts = {talker: talker.send(*map(str, range(300))) for talker in (ann, bob)}
    for name in ("ann", "bob"):
        for each in (eve, listener):
            each.hears(f"[lobby] {name}: 299")
    said = [line for line in eve.heard if line.startswith("[lobby] ") and "--" not in line]
    assert len(said) == 600
    assert [line for line in listener.heard if line in said] == said
    for speaker, name in ((ann, "ann"), (bob, "bob")):
        others = [line for line in said if not line.startswith(f"[lobby] {name}:")]
        heard: list[str] = []
        ends = 0
        while ends < 300 or len(heard) < 300:
            frame = speaker.next()
            if frame.id:
                place = said.index(f"[lobby] {name}: {ends}")
                ends += 1
                assert len(heard) >= place - (ends - 1)  # all that was said before this line
            elif (line := str(frame.payload)) in said:
                heard.append(line)
        assert heard == others
        assert frame.id in (0, lasts[speaker])


def test_each_is_told_in_their_own_language(server: Serving, come: Come, tokens: dict[str, list[bytes]]) -> None:
    ann = come("ann")
    with server.client() as client:
        client.hello()
        assert isinstance(client.request(Kind.RESUME, Resume(language="ru"), tokens["bob"].pop()), Welcome)
        bob = ChatClient(client, "Вы говорите в комнате lobby. Что ещё можно сделать, покажет /help.")
        assert bob.say("/leave") == ["Вы ни в одной комнате; войти в комнату: /join КОМНАТА."]
        ann.hears("[lobby] -- bob has left")
        bob.say("/join lobby")
        ann.client.leave()
        bob.hears("[lobby] -- выход: ann")


# --- connections and sessions that end ----------------------------------------------------------------------


def test_whoever_comes_back_after_a_broken_link_has_missed_nothing_and_nobody_noticed(
    server: Serving, come: Come, tokens: dict[str, list[bytes]]
) -> None:
    token = tokens["bob"][-1]
    ann, bob = come("ann"), come("bob")
    assert bob.say("/join maths")[0].startswith("You speak in maths now.")
    bob.cut()
    ann.say(*map(str, range(200)))
    ann.say("/msg bob psst")
    assert ann.say("/who") == ["[lobby] -- ann, bob"]
    with server.client() as client:
        client.hello()
        welcome = client.resume(token, bob.frames)
        assert isinstance(welcome, Welcome)
        assert (welcome.missed, welcome.received) == (0, 1)
        again = ChatClient(client, "[lobby] ann: 199")
        again.hears("[ann to you] psst")
        again.heard.remove("[ann to you] psst")  # a message to one person has no place among those of a room
        assert again.heard == [f"[lobby] ann: {number}" for number in range(200)]
        assert again.say("/who") == ["[maths] -- bob"]
        assert ann.say("/rooms") == ["lobby (2)", "maths (1)"]
        assert ann.heard[1:] == ["[lobby] -- bob has joined"]


def test_whoever_does_not_come_back_has_left(come: Come, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "AWAY_SECONDS", 0.1)
    ann, bob = come("ann"), come("bob")
    bob.cut()
    ann.hears("[lobby] -- bob has left")


def disable(store: SqlStore, account: int) -> Any:
    return store.accounts.set_disabled(account, disabled=True)


def remove(store: SqlStore, account: int) -> Any:
    return store.accounts.remove(account)


def rename(store: SqlStore, account: int) -> Any:
    return store.accounts.rename(account, prepare("rob"))


@pytest.mark.parametrize("act", [disable, remove, rename])
@pytest.mark.parametrize("away", [False, True], ids=["there", "away"])
def test_a_session_that_the_operator_ends_leaves_the_chat(
    server: Serving, come: Come, tmp_path: Path, *, act: Callable[[SqlStore, int], Any], away: bool
) -> None:
    """`act` does what the operator's commands in `cli/accounts.py` do to the account and its sessions."""
    ann, bob = come("ann"), come("bob")
    if away:
        bob.cut()

    async def operate() -> None:
        store = await open_sqlite(tmp_path / "data")
        account = await store.accounts.find("bob")
        assert account is not None
        await act(store, account.id)
        await store.sessions.revoke_account(account.id, "disabled", datetime.now(UTC))
        await store.close()

    asyncio.run(operate())
    ann.hears("[lobby] -- bob has left")
    assert ann.say("/who") == ["[lobby] -- ann"]


# --- names without passwords --------------------------------------------------------------------------------


def test_two_sessions_of_one_name_from_one_address_are_one_person_and_from_another_they_are_not(
    tmp_path: Path,
) -> None:
    with (
        serving(tmp_path / "data", Chat(), plain=True, access="identify") as server,
        entered(server, "127.0.0.1", "ann") as ann,
        entered(server, "127.0.0.2", "Bob") as bob,
        entered(server, "127.0.0.2", "bob") as also_bob,
        entered(server, "127.0.0.3", "bob") as other,
    ):
        assert ann.say("/who") == ["[lobby] -- ann, Bob, bob-2"]
        other.say("I am bob")
        also_bob.say("who is that?")
        bob.hears("[lobby] Bob: who is that?")
        ann.say("/msg bob-2 you are not")
        other.hears("[ann to you] you are not")
        assert bob.heard[-2:] == ["[lobby] bob-2: I am bob", "[lobby] Bob: who is that?"]


def test_without_names_everybody_is_a_guest_with_a_number(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "data", Chat(), plain=True, access="anyone") as server,
        entered(server, "127.0.0.1", None) as first,
        entered(server, "127.0.0.1", None) as second,
    ):
        second.say("hello")
        first.hears("[lobby] guest-2: hello")
        assert second.say("/msg guest-1 psst") == []
        first.hears("[guest-2 to you] psst")


def test_a_session_that_outlives_the_server_goes_on_in_its_rooms(
    tmp_path: Path, tokens: dict[str, list[bytes]]
) -> None:
    """What was said in them is gone with the server."""
    (token,) = tokens["ann"][:1]
    with serving(tmp_path / "data", Chat(), plain=True) as server:
        ann = ChatClient(in_session(server.address, token))
        ann.say("/join maths", "two", "/join physics", "/join lobby", "/leave physics")
        ann.cut()
    with serving(tmp_path / "data", Chat(), plain=True) as server, server.client() as client:
        client.hello()
        assert isinstance(client.resume(token, ann.frames), Welcome)
        again = ChatClient(client, "You speak in lobby now. /help tells what else you can do.")
        assert again.say("/rooms") == ["lobby (1)", "maths (1)"]
        assert again.say("/who") == ["[lobby] -- ann"]
        again.hears("[maths] -- lines may be missing here")
        assert not any("speaks" in line for line in again.heard)  # that topic is of the chat alone
