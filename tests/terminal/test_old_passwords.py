"""Tests of the sign-in with an old system's password: one attempt for the person, few proofs for the server."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from antiphon.address import Address
from antiphon.blocking import connect
from antiphon.errors import PasswordDue, PasswordInvalid, SignInRefused
from antiphon.identity.old_forms import OldForm, read_form
from antiphon.identity.passwords import Password
from antiphon.observe.log import ServerLog
from antiphon.settings import ClientSettings
from antiphon.terminal.console import Console
from antiphon.terminal.sign_in import InteractiveSignIn
from support.imported_accounts import digest, seed_old
from support.processes import PASSWORD
from support.serving import Serving, fail, forgive, seed, serving
from support.terminal import Terminal


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(data: Path) -> Iterator[Serving]:
    """Run a server with ann, who has an old system's password, and bob, who has a new one."""
    seed_old(data, "ann", digest("cat"))
    seed(data, "bob")
    with serving(data, plain=True) as running:
        yield running


def enters(address: Address, home: Path, name: str, password: str, *, register: bool = False) -> str:
    """Sign in without a terminal; return the password in the form that the server knows."""

    async def main() -> str:
        settings = ClientSettings(name=name, register=register, known_servers=home / "known_servers")
        entered = await InteractiveSignIn(
            Console("en", may_ask=False), settings, address, Password(password)
        ).run()
        assert entered.welcome.must_change
        await entered.dialled.connection.leave()
        assert entered.password is not None
        return entered.password.text

    return asyncio.run(main())


@pytest.fixture(autouse=True)
def refused(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the refused proofs of all servers, by error code."""
    codes: Counter[str] = Counter()
    warning = ServerLog.warning

    def counting(self: ServerLog, event: str, /, **fields: object) -> None:
        if event == "refused":
            codes[str(fields["code"])] += 1
        warning(self, event, **fields)

    monkeypatch.setattr(ServerLog, "warning", counting)
    return codes


# --- what is tried ------------------------------------------------------------------------------------------


def test_an_old_password_of_any_length_signs_in_and_one_refusal_is_all_it_costs(
    server: Serving, tmp_path: Path, refused: Counter[str]
) -> None:
    assert enters(server.address, tmp_path, "ann", "cat") == digest("cat")
    assert refused["sign-in-refused"] == 1


def test_what_is_not_ascii_is_tried_in_the_old_code_page_too(
    server: Serving, data: Path, tmp_path: Path, refused: Counter[str]
) -> None:
    seed_old(data, "Ваня", digest("кот"))
    seed_old(data, "Таня", digest("кот", "cp1251"))
    assert enters(server.address, tmp_path, "Ваня", "кот") == digest("кот")
    assert refused["sign-in-refused"] == 1
    assert enters(server.address, tmp_path, "Таня", "кот") == digest("кот", "cp1251")
    assert refused["sign-in-refused"] == 3


def test_a_password_that_SCRAM_cannot_use_is_known_by_its_digest(  # noqa: N802 - its name
    server: Serving, data: Path, tmp_path: Path, refused: Counter[str]
) -> None:
    seed_old(data, "felix", digest("🐈"))
    assert enters(server.address, tmp_path, "felix", "🐈") == digest("🐈")
    assert refused["sign-in-refused"] == 0


@pytest.mark.parametrize(("password", "cost"), [("dog", 2), ("пёс", 3)])
def test_a_wrong_password_is_refused_once_and_counts_for_each_form(
    server: Serving, tmp_path: Path, password: str, cost: int, refused: Counter[str]
) -> None:
    with pytest.raises(SignInRefused):
        enters(server.address, tmp_path, "ann", password)
    assert refused["sign-in-refused"] == cost


def test_each_form_that_is_left_on_the_server_is_tried_and_no_other(
    data: Path, tmp_path: Path, refused: Counter[str]
) -> None:
    salted, hashed = OldForm("md5", "salt"), OldForm("sha256")
    for name, form in {"cleo": hashed, "dora": salted}.items():
        seed_old(data, name, form.digests("кот")[0], form=str(form))
    with serving(data, plain=True) as server:
        assert enters(server.address, tmp_path, "dora", "кот") == salted.digests("кот")[0]
        assert refused["sign-in-refused"] == 1
        assert enters(server.address, tmp_path, "cleo", "кот") == hashed.digests("кот")[0]
        assert refused["sign-in-refused"] == 1 + 3
        with pytest.raises(SignInRefused):
            enters(server.address, tmp_path, "dora", "dog")
        assert refused["sign-in-refused"] == 1 + 3 + 3


def test_a_password_that_was_imported_in_clear_costs_nobody_a_second_refusal(
    data: Path, tmp_path: Path, refused: Counter[str]
) -> None:
    seed_old(data, "ann", "cat", form=None)
    with serving(data, plain=True) as server:
        assert enters(server.address, tmp_path, "ann", "cat") == "cat"
        with pytest.raises(SignInRefused):
            enters(server.address, tmp_path, "ann", "пёс")
        assert refused["sign-in-refused"] == 1


@pytest.mark.parametrize("form", ["sha512", "md5+salt"])
def test_a_program_gets_as_far_as_the_change_that_is_due(data: Path, form: str) -> None:
    old = read_form(form)
    assert old
    seed_old(data, "ann", old.digests("cat")[0], form=form)
    with serving(data, plain=True) as server, pytest.raises(PasswordDue):
        connect(server.address, name="ann", password="cat")


def test_where_no_imports_remain_only_the_password_itself_is_tried(
    data: Path, tmp_path: Path, refused: Counter[str]
) -> None:
    seed(data, "bob")
    with serving(data, plain=True) as server:
        with pytest.raises(SignInRefused):
            enters(server.address, tmp_path, "bob", "пёс")
        assert refused["sign-in-refused"] == 1
        with pytest.raises(PasswordInvalid):
            enters(server.address, tmp_path, "bob", "🐈")


def test_no_digest_is_proved_to_a_server_whose_key_nothing_speaks_for(
    data: Path, tmp_path: Path, refused: Counter[str]
) -> None:
    seed_old(data, "ann", digest("cat"))
    with serving(data) as server:
        stranger = replace(server.address, fingerprint=None)
        with pytest.raises(SignInRefused):
            enters(stranger, tmp_path, "ann", "cat")
        assert refused["sign-in-refused"] == 1
        assert not (tmp_path / "known_servers").exists()
        assert enters(server.address, tmp_path, "ann", "cat")


def test_a_new_name_never_gets_a_digest_for_its_password(server: Serving, tmp_path: Path) -> None:
    with pytest.raises(PasswordInvalid):
        enters(server.address, tmp_path, "zoe", "short", register=True)
    assert server.call(server.server._store.accounts.find("zoe")) is None


# --- what a person sees -------------------------------------------------------------------------------------


def test_a_person_sees_one_attempt(server: Serving, tmp_path: Path) -> None:
    with Terminal("connect", str(server.address), home=tmp_path, ANTIPHON_NAME="ann") as terminal:
        terminal.answer("Password:", "dog")
        terminal.shows("Name or password is wrong.")
        terminal.answer("Password:", "cat")
        terminal.shows("Connected to")
        assert terminal.screen.count("is wrong") == 1
        assert "cat" not in terminal.screen


def test_a_pause_between_two_forms_is_waited_out(
    server: Serving, data: Path, tmp_path: Path, refused: Counter[str]
) -> None:
    fail(data, "ann", 4)
    assert enters(server.address, tmp_path, "ann", "cat")
    assert (refused["sign-in-refused"], refused["too-many-failures"]) == (1, 1)


def test_a_form_that_was_refused_is_not_counted_again_when_the_other_has_to_wait_for_long(
    server: Serving, data: Path, tmp_path: Path, refused: Counter[str]
) -> None:
    fail(data, "ann", 9, ago=60)
    with Terminal("connect", str(server.address), home=tmp_path, ANTIPHON_NAME="ann") as terminal:
        for _ in range(2):
            terminal.answer("Password:", "cat")
            terminal.matches(r"Try again in [123]\d s\.")
        forgive(data, "ann")
        terminal.answer("Password:", "cat")
        terminal.shows("Connected to")
    assert (refused["sign-in-refused"], refused["too-many-failures"]) == (1, 2)


def test_a_new_password_signs_in_at_once_beside_imports(
    server: Serving, tmp_path: Path, refused: Counter[str]
) -> None:
    with Terminal("connect", str(server.address), home=tmp_path, ANTIPHON_NAME="bob") as terminal:
        terminal.answer("Password:", PASSWORD)
        terminal.shows("Connected to")
    assert refused["sign-in-refused"] == 0
