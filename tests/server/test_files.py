"""A server whose accounts stand in files: edited by hand under it, and wanted by a second server."""

import contextlib
import re
from pathlib import Path

import pytest

from antiphon.errors import KeyRingUnusable, RowInvalid, StoreTaken
from antiphon.wire.bodies import Error, ServerBye
from support.file_edits import Change, edit, where, without
from support.processes import PASSWORD
from support.raw import RawClient
from support.serving import Serving, seed, serving

SOON = 60.0
"""Seconds from the edit to the end of the connection, on a busy machine; an edit unseen never ends it."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "people" / "accounts.csv"


@pytest.fixture
def store(file: Path) -> str:
    return f"files:{file.parent}"


def refusal(server: Serving, name: str = "ann") -> str:
    with server.client() as client:
        client.hello()
        body = client.authenticate(name, PASSWORD)
        assert isinstance(body, Error), body
        return body.code


def cut(client: RawClient, cause: str) -> None:
    client.sock.settimeout(SOON)
    assert client.body() == ServerBye(reason="revoked", cause=cause)
    client.closed()


def test_who_registers_stands_in_the_file_and_is_known_after_a_restart(data: Path, file: Path, store: str) -> None:
    for first in (True, False):
        with serving(data, plain=True, store=store) as server, server.client() as client:
            assert client.sign_in("Вадим", PASSWORD, new=first).first is first
            assert client.ask("hello") == "hello"
    assert file.read_text("utf-8").splitlines()[1].startswith("Вадим,1,no,no,no,,,20")


@pytest.mark.parametrize(
    ("change", "reason"),
    [(without("ann"), "removed"), (where("ann", ",no,", ",yes,"), "disabled")],
    ids=["removed", "disabled"],
)
def test_a_live_session_is_cut_by_an_edit_and_the_others_go_on(
    data: Path, file: Path, store: str, change: Change, reason: str
) -> None:
    (ann,), (bob,) = seed(data, store=store), seed(data, "bob", store=store)
    with serving(data, plain=True, store=store) as server:
        with server.session(ann) as client, server.session(bob) as other:
            assert client.ask("hello") == "hello"
            edit(file, change)
            cut(client, reason)
            assert other.ask("still here") == "still here"
        with server.client() as client:
            client.hello()
            again = client.resume(ann)
            assert isinstance(again, Error)
            assert again.code == "session-ended"
        assert refusal(server) == "sign-in-refused"
        (told,) = server.records("session-revoked")
        assert 'name="ann"' in told
        assert f'reason="{reason}"' in told


def test_a_broken_row_is_told_in_the_log_once_and_harms_nobody_inside(data: Path, file: Path, store: str) -> None:
    (token,) = seed(data, store=store)
    with serving(data, plain=True, store=store) as server, server.session(token) as client:
        edit(file, lambda text: text.replace("ann,1,", "ann,one,"))
        broken = file.read_bytes()
        assert refusal(server) == "try-later"
        assert client.ask("still here") == "still here"
        assert file.read_bytes() == broken
        edit(file, lambda text: text.replace("ann,one,", "ann,1,"))
        with server.client() as again:
            again.hello()
            assert not isinstance(again.authenticate("ann", PASSWORD), Error)
    (told,) = server.records("sign-in-failed")
    assert f"{file}, line 2: what stands under “number” cannot be read." in told
    assert len(server.records("revocations-unread")) <= 1


def test_a_second_server_is_refused_and_the_first_goes_on(data: Path, store: str) -> None:
    (token,) = seed(data, store=store)
    with serving(data, plain=True, store=store) as server, server.session(token) as client:
        with pytest.raises(StoreTaken), contextlib.ExitStack() as stack:
            stack.enter_context(serving(data, plain=True, store=store))
        assert client.ask("still here") == "still here"
    with serving(data, plain=True, store=store):
        pass


def test_a_broken_row_at_the_start_is_one_sentence(data: Path, file: Path, store: str) -> None:
    seed(data, store=store)
    edit(file, lambda text: text.replace("ann,1,", "ann,one,"))
    with pytest.raises(RowInvalid, match=re.escape(f"{file}, line 2: ")), serving(data, plain=True, store=store):
        pass


def test_a_key_ring_that_is_missing_beside_accounts_in_files_is_missed(data: Path, store: str) -> None:
    seed(data, store=store)
    (data / "secret.key").unlink()
    with pytest.raises(KeyRingUnusable, match="it is missing"), serving(data, plain=True, store=store):
        pass
    assert not (data / "secret.key").exists()


def test_a_name_that_a_spreadsheet_has_rewritten_is_told_in_the_log(data: Path, file: Path, store: str) -> None:
    seed(data, "1e5", store=store)
    with serving(data, plain=True, store=store) as server:
        edit(file, lambda text: text.replace("'1e5,", "1.00E+05,"))
        assert refusal(server, "1e5") == "sign-in-refused"
        (told,) = server.records("name-rewritten")
        assert told.endswith(f' warning name-rewritten path="{file}" line=2 name="1.00E+05" was="1e5"')
    edit(file, lambda text: text.replace("'1.00E+05,", "1.00E+05,"))
    with serving(data, plain=True, store=store) as server:
        assert server.records("name-rewritten")[-1].endswith(f'path="{file}" line=2 name="1.00E+05"')
