"""Channel: messages and sockets in order, whatever the system takes or gives at once."""

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.server.workers.channel import Channel
from antiphon.server.workers.messages import Client, Closed, Count, Message, Released, Start, decode, encode
from antiphon.settings import ProgramSettings, ServerSettings


class End:
    """One end, and what it has received."""

    def __init__(self, end: socket.socket, carried: type[Message] | None = None) -> None:
        self.got: list[tuple[Message, socket.socket | None]] = []
        self.lost = asyncio.Event()
        self.channel = Channel(
            end, lambda message, client: self.got.append((message, client)), self.lost.set, carried
        )

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.got) < count:
                await asyncio.sleep(0.001)


@pytest.fixture
def clients() -> Iterator[list[socket.socket]]:
    clients: list[socket.socket] = []
    yield clients
    for client in clients:
        client.close()


def test_a_start_is_the_same_on_the_other_side() -> None:
    start = Start(
        service="s.py:f",
        settings=ServerSettings(data=Path("/tmp/x"), service_seconds=3, port_file=Path("y"), log=None),
        program=ProgramSettings(exec_seconds=2.5),
        language="ru",
        as_json=True,
        workers=3,
        pid=7,
        announces=True,
        port=1,
        moved_from=None,
        hosts=("localhost", "::1"),
        loopback=True,
    )
    assert decode(encode(start)) == start


async def test_sockets_come_with_their_messages_in_order(clients: list[socket.socket]) -> None:
    ours, theirs = socket.socketpair()
    one, two = End(ours), End(theirs, Client)
    passed = 0
    for number in range(300):
        near, far = socket.socketpair()
        near.send(b"%d" % number)
        one.channel.send(Released(f"{number}"))
        if one.channel.try_to_pass(Client(("::1", number, 0, 0), 0.5), far):
            passed += 1
        clients += [near, far]
    two.channel.start()
    await two.until(300 + passed)
    assert passed > 50
    got = [(message, client) for message, client in two.got if client is not None]
    for message, client in got:
        assert isinstance(message, Client)
        assert client.recv(9) == b"%d" % int(message.address[1])
        assert not client.get_inheritable()
        client.close()
    assert [message for message, client in two.got if client is None] == [
        Released(f"{each}") for each in range(300)
    ]
    assert len(got) == passed
    one.channel.close()
    await two.lost.wait()


async def test_what_the_other_end_does_not_read_waits_and_passing_is_refused(clients: list[socket.socket]) -> None:
    ours, theirs = socket.socketpair()
    one, two = End(ours), End(theirs, Client)
    clients += socket.socketpair()
    sent = 0
    while not one.channel.waiting:
        one.channel.send(Count(sent, "failures", "192.0.2.1"))
        sent += 1
    assert not one.channel.try_to_pass(Client(("::1", 1), 0.0), clients[0])
    one.channel.send(Closed())
    two.channel.start()
    await two.until(sent + 1)
    assert [message for message, _ in two.got] == [
        *(Count(each, "failures", "192.0.2.1") for each in range(sent)),
        Closed(),
    ]
    assert one.channel.try_to_pass(Client(("::1", 1), 0.0), clients[0])
    await two.until(sent + 2)
    one.channel.close()
    two.channel.close()
    clients.append(two.got[-1][1])  # type: ignore[arg-type] # it came


async def test_a_socket_that_the_system_drops_is_missed_and_the_next_is_not_taken_for_it(
    clients: list[socket.socket],
) -> None:
    ours, theirs = socket.socketpair()
    one, two = End(ours), End(theirs, Client)
    for number in range(2):
        near, far = socket.socketpair()
        near.send(b"%d" % number)
        clients += [near, far]
        assert one.channel.try_to_pass(Client(("::1", number), 0.0), far)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    fill = [os.dup(0) for _ in range(8)]
    for each in fill:
        os.close(each)
    two.channel.start()
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(fill), limits[1]))  # no number is free below
    try:
        while not two.got:
            await asyncio.sleep(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    await two.until(2)
    (_, dropped), (message, client) = two.got[0], two.got[-1]
    assert dropped is None
    assert isinstance(message, Client)
    assert message.address[1] == 1
    if client is not None:
        assert client.recv(9) == b"1"
        clients.append(client)
    one.channel.close()
    two.channel.close()


async def test_a_message_that_fails_is_not_received_again() -> None:
    ours, theirs = socket.socketpair()
    one = End(ours)
    got: list[Message] = []

    def receive(message: Message, _: socket.socket | None) -> None:
        got.append(message)
        if len(got) == 1:
            raise RuntimeError

    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    two = Channel(theirs, receive, one.lost.set)
    for number in range(3):
        one.channel.send(Count(number, "failures", "192.0.2.1"))
    two.start()
    while not got:
        await asyncio.sleep(0)
    one.channel.send(Closed())
    async with asyncio.timeout(60):
        while Closed() not in got:
            await asyncio.sleep(0.001)
    assert got == [*(Count(number, "failures", "192.0.2.1") for number in range(3)), Closed()]
    assert len(failed) == 1
    one.channel.close()
    two.close()


async def test_an_end_that_is_gone_is_noticed_once_and_what_is_sent_then_is_dropped() -> None:
    ours, theirs = socket.socketpair()
    one = End(ours)
    one.channel.start()
    theirs.close()
    await one.lost.wait()
    one.channel.send(Closed())
    with socket.socket() as client:
        assert not one.channel.try_to_pass(Client(("::1", 1), 0.0), client)
    one.channel.close()


async def test_what_is_tried_to_be_sent_is_with_the_system_or_not_sent_at_all() -> None:
    ours, theirs = socket.socketpair()
    room = asyncio.Event()
    one = Channel(ours, lambda *_: None, lambda: None)
    one.drained = room.set
    two = End(theirs)
    sent = 0
    while one.try_to_send(Released(f"{sent}")):
        sent += 1
    assert not one.waiting
    assert not room.is_set()
    two.channel.start()
    async with asyncio.timeout(60):
        await room.wait()
    assert one.try_to_send(Closed())
    one.close()
    await two.lost.wait()
    assert [message for message, _ in two.got] == [*(Released(f"{each}") for each in range(sent)), Closed()]
