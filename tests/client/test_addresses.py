"""Several addresses of one server: what may stand together, which keys count where, and sessions that move on."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from antiphon import blocking, connect
from antiphon.address import Address, parse
from antiphon.client.addresses import Addresses, ProvedKeys, read_places
from antiphon.client.dialling import DialResult, dial_persistently
from antiphon.client.reconnect import Reconnector
from antiphon.client.trust import KnownServers, Standing
from antiphon.data.certificate import load_or_make
from antiphon.data.folder import DataFolder
from antiphon.errors import (
    AddressInvalid,
    AntiphonError,
    ConnectionLost,
    ConnectRefused,
    NotAntiphon,
    ServerKeyChanged,
    ServerKeyUnknown,
    TimedOut,
    UsageError,
)
from antiphon.identity.invitations import Code
from antiphon.wire.kinds import Kind
from support.fake_servers import Peer, faked
from support.moving import started
from support.processes import PASSWORD
from support.serving import seed

ONE, TWO, THREE = (f"sha256:{letter * 42}A" for letter in "abc")
A, B = parse("a.example"), parse("b.example:7000")


# --- what may stand together --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        "ann@a.example,b.example:7000",
        " ann@a.example , b.example:7000 ",
        "ann@a.example,ANN@b.example:7000,a.example",
        ["ann@a.example", "tls://b.example:7000"],
        ("ann@a.example", B),
        iter([replace(A, name="ann"), B]),
    ],
)
def test_text_with_commas_and_a_list_mean_the_same(given: Any) -> None:
    assert read_places(given) == Addresses((replace(A, name="ann"), replace(B, name="ann")), frozenset())


def test_one_address_or_an_invitation_stands_alone() -> None:
    code = Code.make(replace(A, name="ann", fingerprint=ONE), bytes)
    assert read_places("a.example") == Addresses((A,), frozenset()) == read_places(A)
    assert read_places(code.written()) == code == read_places(code)
    with pytest.raises(AddressInvalid, match="an invitation stands alone") as caught:
        read_places(["b.example", code.written()])
    assert code.written() not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "There is no address."),
        ("a.example,", "the host is missing"),
        ("a.example,tcp://b.example", "Either all addresses begin with tls:// or all with tcp://."),
        ("ann@a.example,bob@b.example", "The name stands before the first address"),
        ("a,b@c.example", "The name stands before the first address"),  # a name with a comma, or host a
        ("a.example,b:secret@c", "a password does not belong in it"),
    ],
)
def test_addresses_that_contradict_each_other_are_refused(given: Any, problem: str) -> None:
    with pytest.raises(UsageError, match=re.escape(problem)) as caught:
        read_places(given)
    assert "secret" not in str(caught.value)


def test_they_are_tried_from_the_one_in_use_on() -> None:
    each = [parse(host) for host in ("a", "b", "c")]
    turned = Addresses.of(each).starting_with(replace(each[1], fingerprint=ONE))
    assert [address.host for address in turned] == ["b", "c", "a"]
    assert turned.first.fingerprint == ONE
    assert not turned.pins  # a key that was found later says nothing about the others


# --- which keys count ---------------------------------------------------------------------------------------


@pytest.fixture
def known(tmp_path: Path) -> KnownServers:
    known = KnownServers(tmp_path / "known")
    known.remember(B.host, TWO, B.port)
    return known


def test_without_a_fingerprint_each_address_is_checked_by_itself(known: KnownServers) -> None:
    keys = Addresses.of([A, B]).keys(known)
    assert keys.standing(A, TWO) is Standing.UNKNOWN
    assert keys.standing(B, TWO) is Standing.KNOWN
    with pytest.raises(ServerKeyChanged):
        keys.standing(B, ONE)


def test_a_fingerprint_at_one_address_lets_no_other_show_a_key_that_nobody_gave(known: KnownServers) -> None:
    pinned, third = replace(A, fingerprint=ONE), parse("c.example")
    keys = Addresses.of([pinned, B, replace(third, fingerprint=THREE)]).keys(known)
    assert keys.standing(pinned, ONE) is Standing.PINNED
    assert keys.standing(B, ONE) is keys.standing(B, THREE) is Standing.PINNED
    for address, shown in [(pinned, THREE), (replace(third, fingerprint=THREE), ONE), (B, TWO)]:
        with pytest.raises(ServerKeyChanged):  # also one that is known for it, or would be vouched for
            keys.standing(address, shown)
    alone = Addresses.of([pinned, B]).starting_with(B).alone
    with pytest.raises(ServerKeyChanged):
        alone.keys(known).standing(B, TWO)


def test_a_session_goes_on_with_its_own_keys_or_those_that_something_speaks_for(known: KnownServers) -> None:
    keys = ProvedKeys(Addresses.of([A, B]).keys(known), A, ONE, Standing.PINNED)
    third = parse("c.example")
    assert keys.standing(A, ONE) is Standing.PINNED
    assert keys.standing(third, ONE) is Standing.PINNED  # two nodes of one data folder
    assert keys.standing(third, TWO) is Standing.UNKNOWN
    assert keys.standing(B, TWO) is Standing.KNOWN
    for address, shown in [(A, TWO), (B, ONE)]:  # one was proved, the other is known: nothing else counts there
        with pytest.raises(ServerKeyChanged):
            keys.standing(address, shown)
    keys.prove(third, THREE)
    with pytest.raises(ServerKeyChanged):
        keys.standing(third, ONE)


def reached(address: Address, standing: Standing) -> DialResult[Any]:
    connection = SimpleNamespace(token=bytes(16), address=str(address))
    return DialResult(connection, SimpleNamespace(), ONE, standing, address)  # type: ignore[arg-type] # no HELLO


@pytest.mark.parametrize(
    ("at_first", "accepted"),
    [
        (Standing.PINNED, {Standing.PINNED, Standing.KNOWN}),
        (Standing.KNOWN, {Standing.PINNED, Standing.KNOWN}),
        (Standing.UNKNOWN, {Standing.PINNED, Standing.KNOWN}),  # a sign-in proved the server, and RESUME would not
        (Standing.VOUCHED, {Standing.PINNED, Standing.KNOWN, Standing.VOUCHED}),
    ],
)
def test_the_token_is_sent_where_no_less_speaks_for_the_key_than_at_first(
    known: KnownServers, at_first: Standing, accepted: set[Standing]
) -> None:
    reconnector = Reconnector(Addresses.of([A, B]), known, reached(A, at_first), give_up=1)
    for standing in Standing:
        if standing in accepted:
            reconnector.check_key(reached(B, standing))
        else:
            with pytest.raises(ServerKeyUnknown):
                reconnector.check_key(reached(B, standing))


# --- the first connection -----------------------------------------------------------------------------------


async def dialled(*errors: AntiphonError | None) -> tuple[list[str], float, AntiphonError | None]:
    """Dial two addresses, whose servers do what `errors` say in turn; return order, pauses, outcome."""
    order, paused, left = [], 0.0, list(errors)

    async def once(address: Address) -> DialResult[Any]:
        order.append(address.host)
        if (error := left.pop(0)) is not None:
            raise error
        return None  # type: ignore[return-value] # nobody looks at it

    async def sleep(seconds: float) -> None:
        nonlocal paused
        paused += seconds

    try:
        await dial_persistently(Addresses.of([A, B]), once, sleep)
    except AntiphonError as error:
        return order, paused, error
    return order, paused, None


async def test_the_first_server_that_answers_is_taken() -> None:
    refused, dropped, slow = ConnectRefused(address="a", problem=""), ConnectionLost(address="a"), TimedOut()
    assert await dialled(None) == (["a.example"], 0, None)
    for first in (refused, dropped, slow, NotAntiphon(address="a")):
        assert await dialled(first, None) == (["a.example", "b.example"], 0, None)
    order, paused, error = await dialled(refused, dropped, refused, None)
    assert (order, error) == (["a.example", "b.example"] * 2, None)
    assert 0.1 <= paused <= 0.3
    order, paused, error = await dialled(refused, slow)
    assert (order, paused) == (["a.example", "b.example"], 0)
    assert str(error).startswith(
        "Nobody answers at tls://a.example:7862, tls://b.example:7000: none of these servers can be reached."
    )


async def test_a_server_with_a_wrong_key_is_not_passed_over() -> None:
    wrong = ServerKeyChanged(host="a", fingerprint=ONE, expected=TWO, remedy="")
    assert await dialled(wrong) == (["a.example"], 0, wrong)


# --- a session that moves -----------------------------------------------------------------------------------


async def restored_by_asyncio(addresses: list[Address], known: Path) -> None:
    """Sign in, and wait until the session has another connection."""
    back = asyncio.Event()
    async with connect(addresses, known_servers=known, timeout=20) as session:
        session.on_back = lambda _: back.set()
        await back.wait()


async def restored_by_blocking(addresses: list[Address], known: Path) -> None:
    """Do the same with the blocking client."""

    def work() -> None:
        back: list[float] = []
        with blocking.connect(addresses, known_servers=known, timeout=20) as session:
            session.on_back = back.append
            while not back:
                session.heartbeat()

    await asyncio.to_thread(work)


@pytest.mark.parametrize("restored", [restored_by_asyncio, restored_by_blocking])
async def test_nothing_is_said_to_a_second_address_whose_key_nothing_speaks_for(
    restored: Callable[[list[Address], Path], Awaitable[None]], tmp_path: Path
) -> None:
    """The token goes to no server with a weaker proof than the first one has given."""
    folders = [tmp_path / "one", tmp_path / "two"]
    mine, strange = (load_or_make(DataFolder.open(folder), ["localhost"]) for folder in folders)

    def honest(peer: Peer) -> None:
        if (number := len(first.peers)) == 2:
            return  # this connection is dropped: then the other address is tried
        peer.hello(access="anyone", mechanisms=[])
        peer.welcome(data=None)
        while number == 3 and getattr(peer.next(), "kind", Kind.BYE) != Kind.BYE:
            pass

    def unknown(peer: Peer) -> None:
        peer.hello(access="anyone", mechanisms=[])
        peer.rest()

    async with faked(honest, certificate=mine) as first, faked(unknown, certificate=strange) as second:
        known = KnownServers(tmp_path / "known")
        known.remember(first.address.host, mine.fingerprint, first.address.port)
        await restored([replace(each.address, fingerprint=None) for each in (first, second)], known.path)
        assert len(first.peers) == 3
        pinned = replace(first.address, port=1)  # nobody answers there
        known.remember(second.address.host, strange.fingerprint, second.address.port)
        with pytest.raises(ServerKeyChanged):
            await restored([pinned, replace(second.address, fingerprint=None)], known.path)
        assert not any(peer.received for peer in second.peers)  # a handshake that the client cut makes no peer


async def test_a_session_goes_on_at_the_next_server_when_its_own_is_killed(tmp_path: Path) -> None:
    await asyncio.to_thread(seed, tmp_path / "data")
    with ExitStack() as closing:
        servers = [closing.enter_context(started(tmp_path)) for _ in range(2)]
        addresses = [replace(server.address, name="ann") for server in servers]
        given = ",".join([str(addresses[0]), *(str(replace(each, fingerprint=None)) for each in addresses[1:])])
        pids = [str(server.process.pid) for server in servers]
        plain = await asyncio.to_thread(blocking.connect, given, password=PASSWORD, known_servers=tmp_path / "no")
        async with connect(addresses, password=PASSWORD, known_servers=tmp_path / "no") as session:
            back = asyncio.Event()
            session.on_back = lambda _: back.set()

            def moved_from(address: str) -> str:
                while plain.address == address:
                    plain.heartbeat()
                return str(plain.ask("pid"))

            assert await session.ask("pid") == await asyncio.to_thread(plain.ask, "pid") == pids[0]
            servers[0].kill()
            moved, _ = await asyncio.gather(asyncio.to_thread(moved_from, plain.address), back.wait())
            assert moved == await session.ask("pid") == pids[1]
        await asyncio.to_thread(plain.close)
