"""Assembly: the parts of a server share what they must share, and take their limits from the settings."""

from pathlib import Path

import pytest

from antiphon.wire.bodies import Error, Hello, Welcome
from support.joined import joined
from support.processes import PASSWORD
from support.serving import seed


def test_everything_uses_one_set_of_background_tasks_and_one_log(tmp_path: Path) -> None:
    with joined(tmp_path / "data") as server:
        host = server.host
        assert host.handlers.tasks is host.tasks
        assert host.handlers.log is host.log
        assert not host.stopping
        assert host.under_way == []
        host.tasks.stopping = True
        assert host.stopping


def test_limits_are_those_of_the_settings(tmp_path: Path) -> None:
    with joined(tmp_path / "data", message_limit=2048, service_seconds=7, entry_source=3) as server:
        host = server.host
        assert (host.handlers.message_limit, host.handlers.seconds) == (2048, 7)
        hello = server.client().hello()
        assert hello.limits.message == 2048
        assert [host.limits.admit("127.0.0.1") for _ in range(3)] == [True, True, False]
        for _ in range(2):
            host.limits.release("127.0.0.1")


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("access", ["authenticate", "identify", "anyone"])
def test_hello_says_what_this_server_offers(tmp_path: Path, access: str, plain: bool) -> None:
    with joined(tmp_path / "data", plain=plain, access=access) as server, server.client() as client:
        hello = client.hello()
        assert isinstance(hello, Hello)
        mechanism = "SCRAM-SHA-256" if plain else "SCRAM-SHA-256-PLUS"
        assert (hello.access, hello.mechanisms) == (access, [mechanism] if access == "authenticate" else [])


@pytest.mark.parametrize("is_open", [True, False])
def test_registration_is_open_or_closed(tmp_path: Path, is_open: bool) -> None:
    with joined(tmp_path / "data", registration="open" if is_open else "closed") as server:
        client = server.client()
        hello = client.hello()
        assert hello.registration is is_open
        answer = client.register("ann", PASSWORD, hello)
        assert isinstance(answer, Error) is not is_open
        if is_open:
            assert isinstance(client.authenticate("ann", PASSWORD), Welcome)
        client.close()


def test_the_clock_that_is_given_decides_when_sessions_expire(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with joined(tmp_path / "data", session_total=100) as server, server.client() as client:
        client.sign_in("ann", PASSWORD)
        client.idle(101)
        assert server.sessions.held == 0
