"""Tests of `antiphon ping` against servers in this process: its output, its exit codes, and lost connections."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antiphon.address import Address
from antiphon.cli.main import main
from antiphon.errors import (
    AnswersFaulty,
    OverThreshold,
    PasswordDue,
    PasswordNotAsked,
    RegistrationClosed,
    ServerStopping,
    SessionClosed,
    SessionRevoked,
    SignInRefused,
    UsageError,
)
from antiphon.ping.sign_in import SESSIONS_MOST
from antiphon.server.session import manager as sessions
from antiphon.testing import FaultProxy, LinkFault
from support.operator_commands import Done
from support.processes import PASSWORD, run_antiphon
from support.serving import Serving, seed, serving
from support.terminal import CTRL_C, Terminal

Ping = Callable[..., Done]


@pytest.fixture
def ping(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ping:
    """Return a function that runs `antiphon ping` in this process, with ann's password."""
    monkeypatch.setenv("ANTIPHON_PASSWORD", PASSWORD)
    monkeypatch.setenv("ANTIPHON_KNOWN_SERVERS", str(tmp_path / "known_servers"))
    monkeypatch.setenv("ANTIPHON_LANG", "en")

    def run(*arguments: object) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            raise SystemExit(main(["ping", *map(str, arguments), "--no-input"]))
        assert isinstance(end.value.code, int)
        return Done(end.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    seed(tmp_path / "data")
    return tmp_path / "data"


def ann_at(server: Serving) -> str:
    return str(replace(server.address, name="ann"))


def figures(done: Done) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(done.out)
    return told


def told_by(error: object) -> str:
    return f"{error}\n"


# --- what is told -------------------------------------------------------------------------------------------


def test_each_answer_is_a_line_and_the_summary_comes_last(data: Path, ping: Ping) -> None:
    with serving(data) as server:
        done = ping(ann_at(server), "--count", 3, "--interval", 0.01)
    assert (done.code, done.err) == (0, "")
    where = re.escape(f"tls://127.0.0.1:{server.address.port}")
    time = r"[\d.]+ (?:µs|ms|s)"
    assert re.fullmatch(
        rf"{where}, key {re.escape(server.address.fingerprint or '')}\n"
        r"Signed in as ann in \d+\.\d\d s\.\n"
        + "".join(rf"64 bytes from {where}: number {number}, {time}\n" for number in (1, 2, 3))
        + r"Sent 3, answered 3, wrong 0, lost 0, in 0\.\d\d s\.\n"
        r"Messages a second: [\d.]+; bytes a second: [\d.]+\.\n"
        r" +min +p50 +p90 +p99 +p99\.9 +max\n"
        rf"round trip(?: +{time}){{6}}\n",
        done.out,
    )


def test_a_person_who_reads_russian_is_told_in_russian(data: Path, ping: Ping) -> None:
    with serving(data) as server:
        done = ping(ann_at(server), "--count", 1, "--lang", "ru")
    assert "Отправлено 1, с ответом 1, неверных 0, потеряно 0" in done.out


@pytest.mark.parametrize("options", [["--connections", "4", "--depth", "16"], ["--rate", "5000"]])
def test_a_load_is_told_as_a_summary_with_a_drawing(data: Path, ping: Ping, options: list[str]) -> None:
    with serving(data) as server:
        done = ping(ann_at(server), "--count", 1000, *options, "--percentiles", "99,25")
    assert (done.code, done.err) == (0, "")
    assert "bytes from" not in done.out
    assert "Sent 1000, answered 1000, wrong 0, lost 0" in done.out
    assert re.search(r" min +p25 +p99 +max\n", done.out)
    assert ("from when it was due" in done.out) == ("--rate" in options)
    assert re.search(r"^≤ .* █+", done.out, re.MULTILINE)


def test_the_figures_as_JSON_have_standard_output_for_themselves(data: Path, ping: Ping) -> None:  # noqa: N802
    with serving(data) as server:
        done = ping(ann_at(server), "--count", 5, "--depth", 2, "--json", "-")
    told = figures(done)
    assert (done.code, told["sent"], told["answered"], told["wrong"], told["lost"]) == (0, 5, 5, 0, 0)
    assert told["target"]["name"] == "ann"
    assert told["target"]["key"] == server.address.fingerprint
    assert len(told["target"]["sign_ins_s"]) == told["connections"] == 1
    assert sum(count for _, count in told["histogram_ns"]) == 5
    assert "Sent 5, answered 5" in done.err


def test_the_quiet_way_has_no_line_for_an_answer(data: Path, ping: Ping) -> None:
    with serving(data) as server:
        done = ping(ann_at(server), "--count", 2, "--interval", 0.01, "--quiet")
    assert "bytes from" not in done.out
    assert "Sent 2" in done.out


def test_two_runs_are_laid_side_by_side(data: Path, ping: Ping, tmp_path: Path) -> None:
    files = [tmp_path / "first.json", tmp_path / "second.json"]
    with serving(data) as server:
        for file, count in zip(files, (10, 20), strict=True):
            assert ping(ann_at(server), "--count", count, "--interval", 0, "--json", file).code == 0
    done = ping("--compare", *files)
    assert done.code == 0
    rows = {line[:20].strip(): line[20:].split() for line in done.out.splitlines()}
    assert rows["sent"] == ["10", "20", "2.00"]
    assert rows["wrong"] == ["0", "0", "-"]
    first, second = (json.loads(file.read_text())["latency"]["percentiles_us"]["p50"] for file in files)
    assert rows["p50"][-1] == f"{second / first:.2f}"


def test_the_histogram_is_drawn_into_a_file(data: Path, ping: Ping, tmp_path: Path) -> None:
    with serving(data) as server:
        for name, begins in (("plot.svg", b"<svg "), ("plot.png", b"\x89PNG")):
            assert ping(ann_at(server), "--count", 20, "--interval", 0, "--plot", tmp_path / name).code == 0
            assert (tmp_path / name).read_bytes().startswith(begins)


# --- who gets in --------------------------------------------------------------------------------------------


def test_the_password_may_come_from_standard_input(data: Path, tmp_path: Path) -> None:
    with serving(data) as server:
        done = run_antiphon(
            "ping", ann_at(server), "--count", "1", "--password-file", "-", home=tmp_path, stdin=PASSWORD
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_password_is_refused_as_always(data: Path, ping: Ping, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_PASSWORD", "not the right one")
    with serving(data) as server:
        done = ping(ann_at(server), "--count", 1)
    assert (done.code, done.out, done.err) == (4, "", told_by(SignInRefused()))


def test_another_key_than_the_addresses_is_refused(data: Path, ping: Ping) -> None:
    with serving(data) as server:
        other = replace(server.address, name="ann", fingerprint="sha256:" + 43 * "A")
        done = ping(other, "--count", 1)
    assert (done.code, done.out) == (5, "")
    assert "this may be an impostor" in done.err


def test_a_new_name_is_refused_where_none_is_taken(data: Path, ping: Ping) -> None:
    with serving(data, registration="closed") as server:
        done = ping(server.address, "--name", "new", "--register", "--count", 1)
    assert (done.code, done.err) == (4, told_by(RegistrationClosed()))


def test_an_account_has_no_more_sessions_than_the_server_gives_it(data: Path, ping: Ping) -> None:
    assert SESSIONS_MOST == sessions.SESSIONS_MOST
    with serving(data) as server:
        done = ping(ann_at(server), "--connections", SESSIONS_MOST, "--count", 20)
        assert done.code == 0
        assert "Connections signed in: 10, each in " in done.out
        done = ping(ann_at(server), "--connections", SESSIONS_MOST + 1, "--count", 20)
    assert (done.code, done.out) == (UsageError.exit_code, "")
    assert done.err.startswith("One account cannot sign in on 11 connections")


@pytest.mark.parametrize("access", ["identify", "anyone"])
def test_where_nobody_proves_a_name_there_may_be_more_connections(
    data: Path, ping: Ping, monkeypatch: pytest.MonkeyPatch, access: str
) -> None:
    with serving(data, access=access) as server:
        assert ping(ann_at(server), "--count", 1).err == told_by(PasswordNotAsked(address="127.0.0.1"))
        monkeypatch.delenv("ANTIPHON_PASSWORD")
        done = ping(ann_at(server), "--connections", 20, "--count", 40)
    assert (done.code, done.err) == (0, "")
    assert "Sent 40, answered 40, wrong 0, lost 0" in done.out


def test_a_password_that_must_be_changed_is_changed_first(
    tmp_path: Path, ping: Ping, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(tmp_path / "due", must_change=True)
    with serving(tmp_path / "due") as server:
        for connections in (1, 2):
            done = ping(ann_at(server), "--count", 1, "--connections", connections)
            assert (done.code, done.out, done.err) == (4, "", told_by(PasswordDue()))
        monkeypatch.setenv("ANTIPHON_NEW_PASSWORD", "four walls and a roof")
        done = ping(ann_at(server), "--count", 4, "--connections", 2)
        assert (done.code, "Sent 4, answered 4" in done.out) == (0, True), done.err


def test_plain_tcp_is_called_what_it_is(data: Path, ping: Ping) -> None:
    with serving(data, plain=True) as server:
        done = ping(ann_at(server), "--count", 1)
    assert done.out.startswith(f"tcp://127.0.0.1:{server.address.port}, key none, plain TCP\n")


# --- what is wrong with the answers -------------------------------------------------------------------------


class Now:
    """An echo that calls `then` instead for every n-th message."""

    def __init__(self, every: int, then: Callable[[str, Any], Any]) -> None:
        self.asked = 0
        self._every = every
        self._then = then

    def received(self, message: str, session: Any) -> Any:
        self.asked += 1
        return message if self.asked % self._every else self._then(message, session)


def test_what_is_wrong_once_in_a_hundred_is_caught_a_hundred_times_in_ten_thousand(data: Path, ping: Ping) -> None:
    with serving(data, Now(100, lambda message, _: message.swapcase())) as server:
        done = ping(ann_at(server), "--count", 10_000, "--depth", 16, "--json", "-")
        told = figures(done)
        assert (told["sent"], told["answered"], told["wrong"], told["lost"]) == (10_000, 10_000, 100, 0)
        assert (done.code, done.err.splitlines()[-1]) == (1, str(AnswersFaulty(sent=10_000, wrong=100, lost=0)))
        allowed = ping(ann_at(server), "--count", 1000, "--depth", 16, "--fail-over", "wrong=1%")
        assert allowed.code == 0
        too_many = ping(ann_at(server), "--count", 1000, "--depth", 16, "--fail-over", "wrong=0.9%")
        assert (too_many.code, too_many.err) == (7, told_by(OverThreshold(limits="wrong = 1.00% > 0.9%")))


def test_what_is_never_answered_is_lost_and_no_success_unless_that_is_allowed(data: Path, ping: Ping) -> None:
    async def sleep(_: str) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    options = ["--duration", 0.1, "--timeout", 0.2, "--depth", 2]
    with serving(data, sleep) as server:
        done = ping(ann_at(server), *options)
        assert (done.code, done.err) == (1, told_by(AnswersFaulty(sent=2, wrong=0, lost=2)))
        assert ping(ann_at(server), *options, "--fail-over", "lost=100%").code == 0
        assert ping(ann_at(server), *options, "--fail-over", "lost=99%").code == 7


def test_errors_of_the_service_are_wrong_answers_and_told_once(data: Path, ping: Ping) -> None:
    def fail(_: str, __: Any) -> None:
        raise RuntimeError

    with serving(data, Now(2, fail)) as server:
        done = ping(ann_at(server), "--count", 4, "--interval", 0.01, "--json", "-")
    assert figures(done)["errors"] == {"service-failed": 2}
    assert done.code == 1
    assert re.search(r"(?m)^Number 2 was answered wrongly, .*: The service failed on this message\.$", done.err)
    assert done.err.count("\nThe service failed on this message.\n") == 1


def test_a_limit_that_holds_is_no_failure_and_one_that_does_not_is_7(data: Path, ping: Ping) -> None:
    with serving(data) as server:
        limits = ["--fail-over", "p99=100s", "--fail-over", "max=100s", "--fail-over", "lost=0%"]
        assert ping(ann_at(server), "--count", 3, "--interval", 0, *limits).code == 0
        done = ping(ann_at(server), "--count", 3, "--interval", 0, *limits, "--fail-over", "min=0us")
    assert done.code == 7
    assert re.fullmatch(r"Over the limit: min = [\d.]+ (µs|ms) > 0us\.\n", done.err)
    assert "Sent 3, answered 3" in done.out


# --- links and servers that go --------------------------------------------------------------------------------


@pytest.fixture
def proxied(data: Path) -> Iterator[tuple[FaultProxy, Address]]:
    with serving(data, plain=True) as server:
        proxy = FaultProxy(server.address)
        server.call(proxy.__aenter__())
        yield proxy, replace(proxy.address, name="ann")
        server.call(proxy.__aexit__(None, None, None))


def test_a_link_that_breaks_and_comes_back_shows_as_that(proxied: tuple[FaultProxy, Address], ping: Ping) -> None:
    proxy, address = proxied
    proxy.faults = {0: LinkFault("down", cut_at=5000)}.get
    done = ping(address, "--count", 200, "--depth", 4, "--json", "-")
    told = figures(done)
    assert (done.code, told["sent"], told["answered"], told["lost"]) == (0, 200, 200, 0)
    (outage,) = told["outages"]
    assert (outage["connection"], outage["code"]) == (1, "connection-lost")
    assert outage["away_s"] > 0
    assert re.search(r"(?m)^Connection 1 is lost; trying again: The connection to .* broke\.$", done.err)
    assert re.search(r"^Connection 1 is back after \d+\.\d\d s\.$", done.err, re.MULTILINE)
    assert "Connections lost: 1; seconds without one: 0." in done.err


def test_a_link_that_does_not_come_back_ends_with_its_sentence_and_what_was_measured(
    proxied: tuple[FaultProxy, Address], ping: Ping
) -> None:
    proxy, address = proxied
    proxy.faults = {0: LinkFault("down", cut_at=5000)}.get
    done = ping(address, "--count", 200, "--depth", 4, "--give-up", 0, "--json", "-")
    told = figures(done)
    assert (done.code, told["ended_by"]) == (3, "connection-lost")
    assert told["sent"] == told["answered"] + told["lost"]
    assert told["lost"] > 0
    assert done.err.splitlines()[-1].endswith(
        "broke. Connect again; messages without an answer may or may not have been handled."
    )
    assert "Traceback" not in done.err


def test_a_service_that_ends_the_session_gives_its_reason(data: Path, ping: Ping) -> None:
    with serving(data, Now(20, lambda _, session: session.close("enough"))) as server:
        done = ping(ann_at(server), "--count", 100, "--interval", 0)
    assert (done.code, done.err) == (4, told_by(SessionClosed(reason="enough")))
    assert re.search("^Sent 2[01], answered 20", done.out, re.MULTILINE)


def test_a_server_that_drains_says_so(data: Path, ping: Ping) -> None:
    with serving(data, Now(20, lambda _, __: asyncio.get_running_loop().call_soon(stop) and None)) as server:
        stop = server._stopped.set
        done = ping(ann_at(server), "--interval", 0, "--give-up", 0)
    assert (done.code, done.err) == (3, told_by(ServerStopping()))
    assert re.search("^Sent [0-9]+, answered [0-9]+, wrong [01],", done.out, re.MULTILINE)


def test_a_session_that_is_revoked_says_so(data: Path, ping: Ping, tmp_path: Path) -> None:
    revoking: list[threading.Thread] = []

    def revoke(*_: object) -> None:
        command = ("sessions", "revoke", "--all", "--data", data)
        revoking.append(threading.Thread(target=run_antiphon, args=command, kwargs={"home": tmp_path}))
        revoking[-1].start()

    with serving(data, Now(20, lambda message, _: message if revoking else revoke())) as server:
        done = ping(ann_at(server), "--interval", 0)
        revoking[0].join()
    assert (done.code, done.err) == (4, told_by(SessionRevoked()))
    assert "Sent " in done.out


# --- at a terminal ------------------------------------------------------------------------------------------


def test_a_line_lives_on_a_terminal_and_ctrl_c_ends_with_the_summary(data: Path, tmp_path: Path) -> None:
    with (
        serving(data) as server,
        Terminal(
            "ping", ann_at(server), "--depth", "4", home=tmp_path, ANTIPHON_PASSWORD=PASSWORD, COLUMNS="150"
        ) as terminal,
    ):
        terminal.matches(r"\r\d+ s: sent \d+, answered \d+, wrong 0, lost 0; p50 .*, p99 .*, max ")
        terminal.matches(r"\r\d+ s: sent \d+")
        terminal.press(CTRL_C)
        terminal.matches(r"Sent (\d+), answered \1, wrong 0, lost 0, in ")
        assert terminal.ends() == 0
        assert re.search(r"\x1b\[K(?:\^C)?Sent ", terminal.raw), "the line has made way"
        assert "\x1b[3" not in terminal.raw, "NO_COLOR"


def test_the_summary_comes_when_ctrl_c_is_pressed_again_during_the_goodbye(
    proxied: tuple[FaultProxy, Address], data: Path, tmp_path: Path
) -> None:
    proxy, address = proxied
    proxy.faults = {0: LinkFault("down", delay=0.5)}.get
    with Terminal("ping", str(address), home=tmp_path, ANTIPHON_PASSWORD=PASSWORD, COLUMNS="150") as terminal:
        terminal.shows("number 1, ")
        terminal.press(CTRL_C)
        while "session-ended" not in (data / "server.log").read_text():
            time.sleep(0.01)
        terminal.press(CTRL_C)  # half a second passes until the server answers it
        terminal.matches(r"Sent (\d), answered \1, wrong 0, lost 0, in ")
        assert terminal.ends() == 0


# --- what cannot be -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--count 0", "--count: must be from 1 to 1000000000000, not 0"),
        ("--size 15", "--size: must be from 16 to 16777216, not 15"),
        ("--interval -1", "--interval: must be from 0 to 1000000000, not -1.0"),
        ("--depth 257", "--depth: must be from 1 to 256, not 257"),
        ("--connections 0", "--connections: must be from 1 to 1000, not 0"),
        ("--rate nan", "--rate: must be from 0.001 to 10000000, not nan"),
        ("--duration 0", "--duration: must be more than 0 and at most 1000000000"),
        ("--percentiles 50,x", "--percentiles: must be percentiles such as 50,90,99.9, not “50,x”"),
        ("--percentiles 101", "--percentiles: must be percentiles such as 50,90,99.9, not “101”"),
        ("--fail-over p99", "--fail-over: must be such as p99=5ms, max=1s, lost=0.1% or wrong=0%, not “p99”"),
        ("--json nowhere/x.json", "nowhere/x.json cannot be used: it cannot be written there. Name another file."),
        ("--json /dev/full", "/dev/full cannot be used: it is not a plain file. Name another file."),
        (
            "--plot x.gif",
            "x.gif cannot be used: its name must end in .svg or .png. Name another file.",
        ),
    ],
)
def test_what_cannot_be_wanted_is_said_before_anything_is_done(ping: Ping, options: str, sentence: str) -> None:
    done = ping("ann@localhost:1", *options.split())
    assert (done.code, done.out, done.err) == (2, "", f"{sentence}\n")


def test_a_message_that_the_server_does_not_take_is_not_sent(data: Path, ping: Ping) -> None:
    with serving(data, message_limit=1024) as server:
        done = ping(ann_at(server), "--size", 1025, "--count", 1)
    assert done.code == 5
    assert done.err.startswith("A message of 1025 bytes is too large: 1024 are allowed.")


def test_nobody_there_is_said_as_always(ping: Ping) -> None:
    done = ping("tls://ann@127.0.0.1:1", "--count", 1)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("Nobody answers at tls://127.0.0.1:1")
