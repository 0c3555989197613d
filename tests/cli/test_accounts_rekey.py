"""Tests of `antiphon accounts rekey` as a process: its output, its refusals, and its effect on running servers."""

import json
import os
import signal
from pathlib import Path

import pytest
from filelock import FileLock

from antiphon.wire.bodies import Error, Identified, Register, Welcome
from antiphon.wire.kinds import Kind
from support.key_rings import change_keys, enrol, lost, ring_of
from support.processes import PASSWORD, ServerProcess, run_antiphon
from support.raw import RawClient
from support.serving import credential, in_session, seed
from support.terminal import Terminal


@pytest.fixture
def data(tmp_path: Path) -> Path:
    enrol(tmp_path / "data", [f"person{number}" for number in range(450)])
    return tmp_path / "data"


def test_it_tells_what_was_done_and_what_to_do_next(data: Path) -> None:
    done = run_antiphon("accounts", "rekey", "--data", data, home=data.parent)
    assert done.returncode == 0
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "Key 2 is in use now. Accounts sealed again: 450.",
        f"Make a new backup of {data / 'secret.key'}: an older one does not open these accounts.",
    ]
    assert lost(data) == []
    for secret in ring_of(data).sealing_keys.values():
        assert secret.hex() not in (data / "server.log").read_text("utf-8")


def test_the_result_as_json_and_the_log_say_what_was_done(data: Path) -> None:
    done = run_antiphon("accounts", "rekey", "--json", "--data", data, home=data.parent)
    assert json.loads(done.stdout) == {"number": 2, "accounts": 450}
    assert done.stderr == ""
    (record,) = [line for line in (data / "server.log").read_text("utf-8").splitlines() if "keys-changed" in line]
    assert record.split(" ", 2)[2].startswith('keys-changed by="')
    assert record.endswith(" number=2 accounts=450")


def test_on_a_terminal_it_shows_how_far_it_is(data: Path) -> None:
    with Terminal("accounts", "rekey", "--data", str(data), home=data.parent) as terminal:
        terminal.shows(
            "\rAccounts sealed again: 200.", "\rAccounts sealed again: 400.", "\rAccounts sealed again: 450."
        )
        terminal.shows("\r\nKey 2 is in use now. Accounts sealed again: 450.\r\n")
        assert terminal.ends() == 0


@pytest.mark.parametrize(
    ("lang", "said"),
    [("en", "Another process is changing the keys of"), ("ru", "сейчас меняет или сохраняет")],
)
def test_a_second_one_at_the_same_time_is_refused_in_one_sentence(data: Path, lang: str, said: str) -> None:
    with FileLock(data / "rekey.lock"):
        done = run_antiphon("accounts", "rekey", "--data", data, "--lang", lang, home=data.parent)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(ring_of(data).sealing_keys) == [1]


def test_a_ring_that_does_not_fit_is_refused_in_one_sentence_by_both(data: Path) -> None:
    before = (data / "secret.key").read_bytes()
    change_keys(data)
    (data / "secret.key").write_bytes(before)
    for command in (("accounts", "rekey"), ("serve", "--port", "0", "--no-input")):
        done = run_antiphon(*command, "--data", data, home=data.parent)
        assert done.returncode == 2
        assert "it lacks key 2, which accounts beside it were sealed with" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_server_that_was_frozen_meanwhile_seals_with_the_new_key(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (token,) = seed(data)
    with ServerProcess(data, "--plain") as server, in_session(server.address, token) as inside:
        with RawClient(server.address) as client:
            client.hello()
            os.kill(server.process.pid, signal.SIGSTOP)
            try:
                change_keys(data)
                change_keys(data)
            finally:
                os.kill(server.process.pid, signal.SIGCONT)
            body = client.request(Kind.REGISTER, Register(name="late", credential=credential()))
            assert body == Identified(name="late", free=False)
        assert inside.ask("still here") == "still here"
        with RawClient(server.address) as client:
            client.hello()
            assert isinstance(client.authenticate("ann", PASSWORD), Welcome)
    assert lost(data) == []
    with ServerProcess(data, "--plain") as server, RawClient(server.address) as client:
        client.hello()
        assert not isinstance(client.authenticate("late", PASSWORD), Error)
