"""Guessing at the socket (promises 4 and 5): how many guesses pass, who has to wait, what a guesser can learn."""

import sqlite3
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from antiphon.identity.throttle import MOST_FAILURES
from antiphon.server.auth.throttle import Throttle
from antiphon.server.listen.limits import source_of
from antiphon.wire.bodies import Authenticate, Body, Challenge, ChallengeAnswer, Error, Register, Welcome
from antiphon.wire.kinds import Kind
from support.processes import PASSWORD
from support.raw import RawClient
from support.serving import ATTACKER, Serving, credential, fail, seed, serving

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOME, OFFICE = "127.0.0.1", "127.0.0.3"
NONCE = "bm9uY2Ugb2YgdGhlIHRlc3QncyBjbGllbnQ="
SAME = ("known", "unknown", "disabled", "no name at all")
"""Names that must look the same when their password is wrong."""


def proof(client: RawClient, name: str) -> ChallengeAnswer:
    """Begin an exchange; return a proof of nothing, at none of the cost of a real attempt."""
    first = f"n,,n={name},r={NONCE}".encode()
    challenge = client.request(Kind.AUTHENTICATE, Authenticate(mechanism="SCRAM-SHA-256", data=first))
    assert isinstance(challenge, Challenge), challenge
    nonce = challenge.data.decode().split(",")[0]
    return ChallengeAnswer(data=f"c=biws,{nonce},p={'A' * 43}=".encode())


def guess(server: Serving, name: str, source: str = ATTACKER) -> Error:
    with server.client(source) as client:
        client.hello()
        answer = client.request(Kind.CHALLENGE, proof(client, name))
        assert isinstance(answer, Error), answer
        return answer


def sign_in(server: Serving, name: str, source: str = ATTACKER) -> Body:
    with server.client(source) as client:
        client.hello()
        answer = client.authenticate(name, PASSWORD)
        if isinstance(answer, Welcome):
            client.leave()
        return answer


def stop_clock(server: Serving, at: datetime = NOON) -> None:
    """Let the server's clock stand at one moment: on a busy machine a wait of a second is soon over."""
    server.read(lambda server: setattr(server._auth.passwords._throttle, "_clock", lambda: at))


def code(body: Body) -> str:
    return body.code if isinstance(body, Error) else type(body).__name__


def test_from_the_fifth_failure_on_even_the_right_password_has_to_wait(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        stop_clock(server)
        assert isinstance(sign_in(server, "ann", OFFICE), Welcome)
        assert [guess(server, "ann").code for _ in range(5)] == ["sign-in-refused"] * 5
        refused = sign_in(server, "ann")
        assert isinstance(refused, Error)
        assert (refused.code, refused.wait) == ("too-many-failures", 1)
        assert refused.hint == "Try again in 1 seconds."
        stop_clock(server, NOON + timedelta(seconds=refused.wait))
        welcome = sign_in(server, "ann")
        assert isinstance(welcome, Welcome)
        assert welcome.refusals == 6
        assert guess(server, "ann").code == "sign-in-refused"


@pytest.mark.parametrize(("failures", "wait"), [(5, 1), (6, 2), (10, 32), (17, 3600), (99, 3600)])
def test_the_wait_grows_to_an_hour_and_is_told_in_the_language_of_the_person(
    tmp_path: Path, failures: int, wait: int
) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        stop_clock(server, fail(tmp_path / "data", "ann", failures))
        with server.client() as client:
            client.hello()
            first = f"n,,n=ANN,r={NONCE}".encode()
            begin = Authenticate(mechanism="SCRAM-SHA-256", data=first, language="ru")
            assert isinstance(client.request(Kind.AUTHENTICATE, begin), Challenge)
            refused = client.request(Kind.CHALLENGE, ChallengeAnswer(data=b"anything"))
    assert isinstance(refused, Error)
    assert refused.code == "too-many-failures"
    assert refused.wait == wait
    assert refused.text.startswith("Слишком много")
    assert f"{refused.wait:g}" in refused.hint


def test_after_a_hundred_failures_a_name_is_locked_but_for_where_its_owner_has_been(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        assert isinstance(sign_in(server, "ann", HOME), Welcome)
        fail(tmp_path / "data", "ann", MOST_FAILURES, ago=10**6)
        assert code(sign_in(server, "ann")) == "name-locked"
        assert code(sign_in(server, "ann", OFFICE)) == "name-locked"
        assert isinstance(sign_in(server, "ann", HOME), Welcome)
        assert isinstance(sign_in(server, "ann", OFFICE), Welcome)


def test_guesses_at_an_address_of_the_owner_count_there_alone(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        assert isinstance(sign_in(server, "ann", HOME), Welcome)
        fail(tmp_path / "data", "ann", MOST_FAILURES, HOME)
        assert code(sign_in(server, "ann", HOME)) == "name-locked"
        assert isinstance(sign_in(server, "ann", OFFICE), Welcome)


@pytest.mark.parametrize("name", ["ann", "nobody"])
def test_of_fifty_guesses_at_once_on_two_servers_five_are_looked_at(tmp_path: Path, name: str) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as one, serving(tmp_path / "data", plain=True) as two:
        for server in (one, two):
            stop_clock(server)
        clients = [server.client(ATTACKER) for server in (one, two) for _ in range(25)]
        ready = []
        for client in clients:
            client.hello()
            ready.append(client.conversation.request(Kind.CHALLENGE, proof(client, name))[1])
        together = threading.Barrier(len(clients))

        def send(client: RawClient, data: bytes) -> None:
            together.wait()
            client.send(data)

        threads = [threading.Thread(target=send, args=pair) for pair in zip(clients, ready, strict=True)]
        for thread in threads:
            thread.start()
        codes = sorted(client.error().code for client in clients)
        for thread, client in zip(threads, clients, strict=True):
            thread.join()
            client.sock.close()
    assert codes == ["sign-in-refused"] * 5 + ["too-many-failures"] * 45


def test_a_sign_in_that_cannot_be_counted_is_not_looked_at(tmp_path: Path) -> None:
    """Not even the work of a proof is done: there is no guess without a count."""
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        fail(tmp_path / "data", "ann", 20)
        verified: list[object] = []
        with server.client() as client, pytest.MonkeyPatch.context() as patch:
            patch.setattr("antiphon.identity.scram.ServerExchange.verify", lambda *args: verified.append(args))
            client.hello()
            assert code(client.request(Kind.CHALLENGE, proof(client, "ann"))) == "too-many-failures"
    assert verified == []


def test_an_exchange_that_is_begun_and_left_counts_nothing(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        for _ in range(10):
            with server.client() as client:
                client.hello()
                proof(client, "ann")
        assert isinstance(sign_in(server, "ann"), Welcome)


def test_other_spellings_of_a_name_are_counted_with_it(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        stop_clock(server)
        spellings = ("ann", "ANN", "Ann", "\uff41nn", "aNN", "annN"[:3])
        assert [guess(server, name).code for name in spellings] == ["sign-in-refused"] * 5 + ["too-many-failures"]


def test_a_refusal_for_too_many_failures_is_logged_with_its_code(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", plain=True) as server:
        fail(tmp_path / "data", "ann", 20)
        guess(server, "ann")
        path = server.server.log_path
    assert f'warning refused name="ann" address={ATTACKER}:' in path.read_text("utf-8")
    assert 'code="too-many-failures"' in path.read_text("utf-8")


def test_the_store_gets_neither_the_names_that_were_tried_nor_the_addresses(tmp_path: Path) -> None:
    with serving(tmp_path / "data", plain=True) as server:
        with server.client() as client:
            client.sign_in("ann", PASSWORD, new=True)
            client.leave()
        guess(server, "a-password-typed-as-a-name")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("sessions.db*"))
    assert b"failures" in kept
    assert b"a-password-typed" not in kept
    assert b"127.0.0" not in kept
    assert source_of("127.0.0.1") not in kept  # type: ignore[operator] # bytes, for an address of IPv4


# --- registrations ------------------------------------------------------------------------------------------


def test_of_too_many_new_names_the_last_are_put_off_by_source_and_in_all(tmp_path: Path) -> None:
    options: dict[str, Any] = {"registrations_source": 2, "registrations_most": 3}
    with serving(tmp_path / "data", plain=True, **options) as server:
        answers = []
        for number, source in enumerate((HOME, HOME, HOME, ATTACKER, OFFICE)):
            with server.client(source) as client:
                client.hello()
                request = Register(name=f"new{number}", credential=credential())
                answers.append(client.request(Kind.REGISTER, request))
        path = server.server.log_path
    assert [code(answer) for answer in answers] == [
        "Identified",
        "Identified",
        "try-later",
        "Identified",
        "try-later",
    ]
    assert isinstance(answers[2], Error)
    assert 3500 < answers[2].wait <= 3600
    assert f'warning refused name="new2" address={HOME}:' in path.read_text("utf-8")


# --- what a guesser learns (promise 5) ----------------------------------------------------------------------


def disable(folder: Path, name: str) -> None:
    with closing(sqlite3.connect(folder / "accounts.db")) as database, database:
        assert database.execute("UPDATE accounts SET disabled = 1 WHERE key = ?", (name,)).rowcount == 1


def watched(server: Serving, calls: list[str]) -> None:
    """Have the stores note each call that is made of them while somebody waits for its outcome.

    `refused` is not among them: it is started beside the answer, which does not wait for it.
    """
    store = server.server._store

    def watch(part: Any, method: str) -> None:
        real: Callable[..., Any] = getattr(part, method)

        async def noting(*arguments: Any) -> Any:
            calls.append(method)
            return await real(*arguments)

        setattr(part, method, noting)

    for method in ("find", "visited", "register"):
        watch(store.accounts, method)
    for method in ("attempt", "succeeded", "forgive", "open", "find", "end"):
        watch(store.sessions, method)


def test_known_unknown_and_disabled_cause_the_same_calls_and_get_the_same_frames(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for name in ("known", "disabled"):
        seed(folder, name)
    disable(folder, "disabled")
    calls: list[str] = []
    with serving(folder, plain=True, registration="closed") as server:
        stop_clock(server)
        server.read(lambda _: watched(server, calls))
        seen = {name: story(server, name, calls) for name in ("known", "unknown", "disabled")}
    assert seen["known"] == seen["unknown"] == seen["disabled"]
    assert seen["known"][0][0] == "sign-in-refused"
    assert [step[0] for step in seen["known"]][-1] == "too-many-failures"
    assert seen["known"][0][-1] == ["find", "attempt"]


def story(server: Serving, name: str, calls: list[str]) -> list[tuple[Any, ...]]:
    """Guess at a name until it has to wait: each time what was said, and what the stores were asked."""
    told = []
    for _ in range(6):
        calls.clear()
        with server.client() as client:
            client.hello()
            first = f"n,,n={name},r={NONCE}".encode()
            begun = client.request(Kind.AUTHENTICATE, Authenticate(mechanism="SCRAM-SHA-256", data=first))
            assert isinstance(begun, Challenge)
            nonce, salt, iterations = begun.data.decode().split(",")
            answer = ChallengeAnswer(data=f"c=biws,{nonce},p={'A' * 43}=".encode())
            refused = client.request(Kind.CHALLENGE, answer)
            assert isinstance(refused, Error)
            told.append((refused.code, refused, len(nonce), len(salt), iterations, list(calls)))
    return told


def test_the_right_password_of_a_disabled_account_looks_like_a_wrong_one_and_counts_as_one(tmp_path: Path) -> None:
    seed(tmp_path / "data")
    disable(tmp_path / "data", "ann")
    with serving(tmp_path / "data", plain=True) as server:
        stop_clock(server)
        right = [sign_in(server, "ann") for _ in range(5)]
        assert right == [guess(server, "another")] * 5
        assert code(sign_in(server, "ann")) == "too-many-failures"


def test_unknown_names_are_locked_as_known_ones_are(tmp_path: Path) -> None:
    seed(tmp_path / "data", "known")
    with serving(tmp_path / "data", plain=True) as server:
        for failures in (20, MOST_FAILURES - 20):
            for name in ("known", "unknown"):
                fail(tmp_path / "data", name, failures, ago=0 if failures > 20 else 10**7)
        assert guess(server, "known") == guess(server, "unknown")
        assert guess(server, "unknown").code == "name-locked"


def test_known_and_unknown_names_are_refused_in_the_same_time(tmp_path: Path) -> None:
    """Each name is tried once, in turns, so that what else the machine does falls on both alike."""
    rounds = 60
    with serving(tmp_path / "data", plain=True, entry_seconds=60) as server:
        with server.client() as client:
            client.hello()
            for number in range(rounds):
                client.request(Kind.REGISTER, Register(name=f"known{number}", credential=credential()))
        took: dict[str, list[float]] = {"known": [], "unknown": []}
        for number in range(rounds):
            for kind, times in took.items():
                with server.client() as client:
                    client.hello()
                    answer = proof(client, f"{kind}{number}")
                    began = time.perf_counter()
                    client.request(Kind.CHALLENGE, answer)
                    times.append(time.perf_counter() - began)
    known, unknown = (statistics.median(times) for times in took.values())
    assert 0.7 < known / unknown < 1.4, took


def test_a_prefix_of_an_ipv6_network_is_one_address_to_its_owner(tmp_path: Path) -> None:
    throttle = Throttle(None, bytes(32), None)  # type: ignore[arg-type] # only its marks are looked at
    one, same, other = (
        throttle.marks("ann", host) for host in ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1")
    )
    assert one == same
    assert one[1] != other[1]
    assert one[0] == other[0]
