"""A store that fails during a sign-in: nobody gets in, and open sessions go on (promise 19)."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from antiphon.errors import TryLater
from antiphon.wire.bodies import Body, Error, Identified, Identify, Register, Welcome
from antiphon.wire.kinds import Kind
from support.inside import sessions
from support.processes import PASSWORD
from support.raw import RawClient
from support.serving import Honest, Serving, credential, seed, serving


@pytest.fixture(scope="module")
def tokens() -> list[bytes]:
    return []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tokens: list[bytes]) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("faults") / "data"
    tokens.extend(seed(folder, "inside", sessions=10))
    seed(folder)
    with serving(folder, plain=True) as running, Honest(running.address, tokens.pop()):
        yield running


@pytest.fixture
def break_store(server: Serving) -> Iterator[Callable[..., None]]:
    """Make one method of the real store raise; without an error, or after the test, it works again."""
    broken: list[tuple[object, str]] = []

    def store(part: str) -> object:
        kept = server.server._store
        return {"accounts": kept.accounts, "sessions": kept.sessions, "failures": kept.failures}[part]

    def heal() -> None:
        for target, method in broken:
            target.__dict__.pop(method, None)

    def fail(part: str = "", method: str = "", error: Exception | None = None) -> None:
        if error is None:
            server.read(lambda _: heal())
            return

        async def failing(*arguments: Any, **named: Any) -> NoReturn:
            raise error

        broken.append((store(part), method))
        server.read(lambda _: setattr(store(part), method, failing))

    yield fail
    fail()


def held(server: Serving) -> int:
    return server.read(lambda server: len(sessions(server)._held))


def refused(body: Body) -> Error:
    assert isinstance(body, Error), body
    return body


FAULTS = [
    ("accounts", "find"),
    ("accounts", "visited"),
    ("failures", "attempt"),
    ("sessions", "open"),
]


@pytest.mark.parametrize(("part", "method"), FAULTS)
def test_a_store_that_cannot_answer_signs_nobody_in_until_it_can(
    server: Serving, break_store: Callable[..., None], part: str, method: str
) -> None:
    before = held(server)
    with server.client() as client:
        client.hello()
        break_store(part, method, TryLater())
        error = refused(client.authenticate("ann", PASSWORD))
        assert (error.code, error.wait) == ("try-later", 3)
        assert held(server) == before
        client.send(client.conversation.message("let me in")[1])
        assert client.ended_with() == "frame-unexpected"
    break_store()
    with server.client() as client:
        assert client.sign_in("ann", PASSWORD).name == "ann"
        client.leave()


@pytest.mark.parametrize(("part", "method"), FAULTS)
def test_a_fault_inside_the_store_signs_nobody_in_and_tells_nothing(
    server: Serving, break_store: Callable[..., None], part: str, method: str
) -> None:
    before = held(server)
    with server.client() as client:
        client.hello()
        break_store(part, method, RuntimeError("no such table: secret_detail"))
        error = refused(client.authenticate("ann", PASSWORD))
        assert error.code == "server-error"
        assert "secret_detail" not in error.text + error.hint
        client.closed()
    assert held(server) == before


def test_after_a_failure_the_same_connection_may_try_again(
    server: Serving, break_store: Callable[..., None]
) -> None:
    with server.client() as client:
        client.hello()
        break_store("accounts", "visited", TryLater())
        assert refused(client.authenticate("ann", PASSWORD)).code == "try-later"
        break_store()
        assert isinstance(client.authenticate("ann", PASSWORD), Welcome)
        client.leave()


@pytest.mark.parametrize("method", ["find", "claim"])
def test_a_session_is_not_taken_up_while_the_store_cannot_answer(
    server: Serving, tokens: list[bytes], break_store: Callable[..., None], method: str
) -> None:
    token = tokens.pop()
    with server.client() as client:
        client.hello()
        break_store("sessions", method, TryLater())
        assert refused(client.resume(token)).code == "try-later"
        break_store()
        assert isinstance(client.resume(token), Welcome)
        client.leave()


def test_a_session_whose_account_cannot_be_checked_is_not_taken_up(
    server: Serving, tokens: list[bytes], break_store: Callable[..., None]
) -> None:
    with server.client() as client:
        client.hello()
        break_store("accounts", "find", TryLater())
        assert refused(client.resume(tokens.pop())).code == "try-later"


def test_an_account_that_cannot_be_kept_is_not_acknowledged(
    server: Serving, break_store: Callable[..., None]
) -> None:
    with server.client() as client:
        client.hello()
        break_store("accounts", "register", TryLater())
        assert refused(register(client, "unkept")).code == "try-later"
        break_store()
        assert client.request(Kind.IDENTIFY, Identify(name="unkept")) == Identified(name="unkept", free=True)


def register(client: RawClient, name: str) -> Body:
    return client.request(Kind.REGISTER, Register(name=name, credential=credential()))


def test_a_refusal_that_cannot_be_counted_in_the_store_still_counts_on_the_connection(
    server: Serving, break_store: Callable[..., None]
) -> None:
    with server.client() as client:
        client.hello()
        break_store("failures", "refused", TryLater())
        codes = [refused(client.authenticate("ann", "wrong, and wrong again")).code for _ in range(3)]
        assert codes == ["sign-in-refused", "sign-in-refused", "too-many-refusals"]
        client.closed()


def test_who_leaves_while_the_store_cannot_answer_is_not_told_that_the_session_is_over(
    server: Serving, tokens: list[bytes], break_store: Callable[..., None]
) -> None:
    token = tokens.pop()
    with server.session(token) as client:
        break_store("sessions", "end", TryLater())
        client.send(client.conversation.bye("left"))
        assert client.ended_with() == "try-later"
    break_store()
    with server.session(token) as client:
        client.leave()


def test_a_link_lost_while_the_store_cannot_answer_keeps_the_session(
    server: Serving, tokens: list[bytes], break_store: Callable[..., None]
) -> None:
    token = tokens.pop()
    break_store("sessions", "released", TryLater())
    with server.session(token) as client:
        assert client.ask("x") == "x"
    with server.session(token) as client:
        client.leave()


def test_why_the_store_could_not_answer_is_in_the_log_and_not_at_the_peer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(key: str) -> NoReturn:
        raise TryLater from OSError("the disk is gone")

    with serving(tmp_path / "data", plain=True) as server, server.client() as client:
        client.hello()
        monkeypatch.setattr(server.server._store.accounts, "find", failing)
        error = refused(client.authenticate("ann", PASSWORD))
        assert error.code == "try-later"
        assert "disk" not in error.text + error.hint
    log = server.log()
    (record,) = [line for line in log.splitlines() if " error sign-in-failed " in line]
    assert 'code="try-later"' in record
    assert "the disk is gone" in record
