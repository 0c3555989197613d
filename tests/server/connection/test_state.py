"""States of a connection: what is allowed in each, and where each event leads from each."""

from collections.abc import Callable
from pathlib import Path

import pytest

from antiphon.errors import PeerSilent, PeerTooSlow
from antiphon.server.connection.connection import Connection
from antiphon.server.connection.state import State
from support.gate import Gate
from support.joined import JoinedServer, joined
from support.serving import seed

ENTRY, SESSION, DRAINING, LEAVING, CLOSING, CLOSED = State

ROWS = {
    ENTRY: (True, True),
    SESSION: (True, True),
    DRAINING: (True, True),
    LEAVING: (False, True),
    CLOSING: (False, False),
    CLOSED: (False, False),
}


def test_the_table_says_what_is_handled_and_sent_in_each_state() -> None:
    assert {state: (state.handles, state.sends) for state in State} == ROWS
    assert [state.order for state in State] == sorted(state.order for state in State)


EVENTS: dict[str, Callable[[Connection], object]] = {
    "drain": Connection.drain,
    "close": Connection.close,
    "lose": lambda connection: connection.lose("revoked"),
    "fault": lambda connection: connection.fail(PeerSilent(seconds="40")),
    "too slow": lambda connection: connection.fail(PeerTooSlow()),
    "end of input": Connection.eof_received,
    "lost": lambda connection: connection.connection_lost(None),
}

NEXT = {
    ENTRY: [CLOSING, CLOSING, CLOSING, CLOSING, CLOSED, CLOSING, CLOSED],
    SESSION: [DRAINING, CLOSING, CLOSING, CLOSING, CLOSED, SESSION, CLOSED],
    DRAINING: [DRAINING, CLOSING, CLOSING, CLOSING, CLOSED, DRAINING, CLOSED],
    LEAVING: [LEAVING, CLOSING, CLOSING, CLOSING, CLOSED, LEAVING, CLOSED],
    CLOSING: [CLOSING, CLOSING, CLOSING, CLOSING, CLOSING, CLOSING, CLOSED],
    CLOSED: [CLOSED] * 7,
}
"""For each state the next one after each of `EVENTS`; a session has a handler running and waits for it."""


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
@pytest.mark.parametrize(("event", "number"), [(event, number) for number, event in enumerate(EVENTS)])
def test_each_event_leads_to_one_state_from_each_state(
    tmp_path: Path, state: State, event: str, number: int
) -> None:
    gate = Gate()
    with joined(tmp_path / "data", gate) as server:
        connection = brought(server, state, tmp_path / "data")

        def happens(_: object) -> State:
            if state in (CLOSING, CLOSED):  # in the same step, or the transport would be gone
                connection.close() if state is CLOSING else connection.connection_lost(None)
            assert connection.state is state
            EVENTS[event](connection)
            return connection.state

        assert server.read(happens) is NEXT[state][number]
        server.call(gate.open())


def brought(server: JoinedServer, state: State, data: Path) -> Connection:
    """Return a connection in a state whose handler is running where it holds a session."""
    client = server.client()
    (connection,) = server.connections
    if state is not ENTRY:
        (token,) = seed(data)
        client.hello()
        client.resume(token)
        client.send(client.conversation.message("wait")[1])
        server.let_pass(0.1)
        assert connection.state is SESSION
    if state is DRAINING:
        server.read(lambda _: connection.drain())
    if state is LEAVING:
        client.send(client.conversation.bye("left"))
        server.let_pass(0.1)
    return connection
