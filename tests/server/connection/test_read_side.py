"""Read side of a connection: what it asks of the transport."""

import pytest

from antiphon.server.connection.read_side import ReadSide
from support.transports import RecordingTransport


@pytest.fixture
def transport() -> RecordingTransport:
    return RecordingTransport()


def test_it_is_open_at_first(transport: RecordingTransport) -> None:
    side = ReadSide(transport)
    assert (side.paused, side.ended, transport.asked) == (False, False, [])


def test_the_transport_is_asked_only_where_something_changes(transport: RecordingTransport) -> None:
    side = ReadSide(transport)
    for paused in (False, True, True, False, False, True):
        side.pause(paused=paused)
        assert side.paused is paused
    assert transport.asked == ["pause_reading", "resume_reading", "pause_reading"]


@pytest.mark.parametrize("paused", [False, True])
def test_after_the_peers_last_byte_nothing_is_paused_or_resumed(
    transport: RecordingTransport, paused: bool
) -> None:
    side = ReadSide(transport)
    side.pause(paused=paused)
    asked = list(transport.asked)
    side.end()
    for again in (True, False):
        side.pause(paused=again)
    assert (side.paused, side.ended, transport.asked) == (False, True, asked)
