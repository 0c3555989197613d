"""Table of kinds: it agrees with the protocol."""

import pytest

from antiphon.wire.bodies import SCHEMAS
from antiphon.wire.kinds import MESSAGE_LIMIT, OPTIONAL_FROM, TABLE, TOKEN_SIZE, Kind, Phase, Side, limits

BARE = {Kind.MESSAGE, Kind.END, Kind.CANCEL, Kind.ACK, Kind.HEARTBEAT}
"""Kinds without a control body."""


def test_exactly_the_kinds_of_this_version_have_rows() -> None:
    assert {row.kind for row in TABLE} == set(Kind)


def test_no_sender_has_two_rows_for_one_kind() -> None:
    rows = [(row.sender, row.kind) for row in TABLE]
    assert len(rows) == len(set(rows))


def test_exactly_the_control_kinds_have_schemas() -> None:
    assert set(SCHEMAS) == {(row.sender, row.kind) for row in TABLE if row.kind not in BARE}


def test_no_kind_of_this_version_is_optional() -> None:
    assert all(kind < OPTIONAL_FROM for kind in Kind)


def test_a_client_sends_its_token_with_all_that_needs_a_session_and_a_server_never_does() -> None:
    assert {(row.sender, row.kind) for row in TABLE if row.token} == {
        (Side.CLIENT, kind)
        for kind in (Kind.MESSAGE, Kind.CANCEL, Kind.ACK, Kind.PASSWORD, Kind.END_OTHERS, Kind.RESUME)
    }


@pytest.mark.parametrize(
    ("sender", "phase", "kinds"),
    [
        (Side.CLIENT, Phase.SIGN_IN, "IDENTIFY REGISTER AUTHENTICATE CHALLENGE RESUME HEARTBEAT BYE"),
        (Side.CLIENT, Phase.SESSION, "MESSAGE CANCEL ACK PASSWORD END_OTHERS HEARTBEAT BYE"),
        (Side.SERVER, Phase.SIGN_IN, "HELLO IDENTIFY REGISTER CHALLENGE WELCOME ERROR HEARTBEAT BYE"),
        (Side.SERVER, Phase.SESSION, "MESSAGE END PASSWORD END_OTHERS ERROR HEARTBEAT BYE"),
    ],
)
def test_exactly_these_kinds_are_allowed(sender: Side, phase: Phase, kinds: str) -> None:
    assert {Kind(kind).name for kind in limits(sender, phase)} == set(kinds.split())


@pytest.mark.parametrize("kind", limits(Side.CLIENT, Phase.SIGN_IN))
def test_nothing_before_sign_in_is_larger_than_4_kib(kind: int) -> None:
    assert limits(Side.CLIENT, Phase.SIGN_IN)[kind].largest <= 4096


def test_the_given_message_limit_holds_for_messages_alone() -> None:
    usual = limits(Side.CLIENT, Phase.SESSION)
    small = limits(Side.CLIENT, Phase.SESSION, 1024)
    assert usual[Kind.MESSAGE] == (TOKEN_SIZE, MESSAGE_LIMIT)
    assert small[Kind.MESSAGE] == (TOKEN_SIZE, 1024)
    assert {kind: row for kind, row in usual.items() if kind != Kind.MESSAGE} == {
        kind: row for kind, row in small.items() if kind != Kind.MESSAGE
    }
