"""Tests of `antiphon accounts import` with the files that people really have; no secret is told."""

import asyncio
import json
import pickle
from contextlib import suppress
from hashlib import new
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.errors import SignInRefused
from antiphon.identity.scram import Verifier
from antiphon.store.contracts import Client
from antiphon.store.opening import open_store
from antiphon.wire.bodies import Welcome
from support.operator_commands import Operator
from support.serving import serving
from support.terminal import Terminal

SECRET = "hunter2"


def digest(kind: str, text: str) -> str:
    return new(kind, text.encode()).hexdigest()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Operator:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LANGUAGE", "en")
    monkeypatch.chdir(tmp_path)
    return Operator(tmp_path / "data", capsys)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the hashing, for tests in which nobody signs in."""
    monkeypatch.setattr(
        "antiphon.cli.accounts_import.make_verifier",
        lambda _password, salt, iterations: Verifier(salt, iterations, bytes(32), bytes(32)),
    )


def write(text: str | bytes, name: str = "users") -> Path:
    path = Path(name)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- signing in afterwards ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options", "feature"),
    [
        (f'{{"192.0.2.1": {{"name": "ann", "password": "{SECRET}"}}}}', [], None),
        (f"192.0.2.1 ann {SECRET}\n", ["--scheme", "plain"], None),
        (f"ann;{digest('sha256', SECRET)}\n", [], "old-form:sha256"),
        (f"ann:{digest('sha512', SECRET)}\n", [], "old-form:sha512"),
        (f"ip|name|hash|\n192.0.2.1|ann|{digest('sha224', SECRET)}|\n", [], "old-form:sha224"),
        (f'{{"ann": "{digest("md5", SECRET + "salt")}"}}', ["--scheme", "md5+salt"], "old-form:md5+salt"),
    ],
)
def test_a_person_signs_in_with_the_old_password_and_chooses_a_new_one(
    here: Operator, tmp_path: Path, text: str, options: list[str], feature: str | None
) -> None:
    done = here.run("accounts", "import", write(text), *options)
    assert (done.code, done.err.splitlines()[0]) == (0, "Imported: 1.")
    for secret in (SECRET, digest("md5", SECRET + "salt"), digest("sha256", SECRET)):
        assert secret not in done.err + done.out
        assert secret.encode() not in b"".join(path.read_bytes() for path in here.data.rglob("*"))
    with serving(here.data, plain=True) as server:
        with server.client() as client:
            hello = client.hello()
        assert [each for each in hello.features if each.startswith("old-form:")] == ([feature] if feature else [])
        assert not hello.imports
        with Terminal("connect", str(server.address), home=tmp_path, ANTIPHON_NAME="ann") as terminal:
            terminal.answer("Password:", SECRET)
            terminal.shows("new password")


def test_plain_passwords_make_no_wrong_password_count_twice(here: Operator) -> None:
    here.run("accounts", "import", write(f"name;password\nann;{SECRET}\n"))
    with serving(here.data, plain=True) as server, server.client() as client:
        assert not client.hello().imports
        with suppress(SignInRefused):
            client.authenticate("ann", "wrong")
        assert isinstance(client.authenticate("ann", SECRET), Welcome)


@pytest.mark.usefixtures("cheap")
def test_a_server_has_passwords_of_two_kinds_at_most(here: Operator) -> None:
    for name, kind in (("ann", "md5"), ("cleo", "sha256")):
        assert here.run("accounts", "import", write(f"{name};{digest(kind, SECRET)}\n")).code == 0
    third = write(f"zoe;{digest('sha512', SECRET)}\n")
    for options in ([], ["--dry-run"]):
        done = here.run("accounts", "import", third, *options)
        assert done.code == 2
        assert "still have other kinds of passwords (md5, sha256), and a server has at most 2 kinds" in done.err
    assert here.run("accounts", "import", write(f"zoe;{SECRET}\n"), "--scheme", "plain").code == 0
    assert here.run("accounts", "import", write(f"bob;{digest('sha256', SECRET)}\n")).code == 0
    assert [account["name"] for account in here.accounts()] == ["ann", "bob", "cleo", "zoe"]


# --- refused as a whole -------------------------------------------------------------------------------------

INDENTED = json.dumps({"ann": {"password": SECRET}, "bob": {"password": SECRET}}, indent=4)
OTHERS = {
    "indented JSON that is broken": INDENTED.replace('"bob"', '"bob'),
    "a part of indented JSON": "\n".join(INDENTED.splitlines()[1:]),
    "JSON lines": f'{{"ann": "{SECRET}"}}\n{{"bob": "{SECRET}"}}\n',
    "YAML": f"ann:\n  password: {SECRET}\nbob:\n  password: {SECRET}\n",
    "flat YAML of one client": f"name: ann\npassword: {SECRET}\n",
    "Python": repr({"ann": SECRET, "bob": SECRET}),
    "pickle": pickle.dumps({"ann": SECRET, "bob": SECRET}),
    "UTF-16": f"ann;{SECRET}\n".encode("utf-16"),
    "INI": f"[users]\nann={SECRET}\nbob={SECRET}\n",
    "a program": f"import hashlib\nusers = open('clients.csv')\nprint('{SECRET}')\n",
    "prose": f"The passwords of the class are below.\nThey are secret.\nann {SECRET}\nDo not tell them.\n",
    "empty": "",
    "a heading alone": "ip;name;password\n",
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("options", [[], ["--scheme", "plain"], ["--dry-run"], ["--json"]])
def test_what_looks_like_another_format_makes_no_account_whatever_is_said(
    here: Operator, text: str | bytes, options: list[str]
) -> None:
    done = here.run("accounts", "import", write(text), "--skip-broken", *options)
    assert done.code == 2
    assert SECRET not in done.err + done.out
    assert not here.data.exists()


# --- no secret is told --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"ann": ["hunter2", true]}',
        '{"ann": {"password": ["hunter2"]}}',
        '{"hunter2 hunter2": "ann"}',
        "hunter2 hunter2;ann\n",
        "ann:hunter2\n",
        f"ann;{digest('md5', 'x')}\nhunter2\n",
        f"ann;{digest('md5', 'x')}\nbob;hunter2\n",
        f"ann;{digest('md5', 'x')}\nhunter2©;{digest('md5', 'x')}\n",
        f"name;password\nann;{digest('md5', 'x')}\nbob;hunter2\n",
        'name;password\n"ann;hunter2\n',
    ],
)
@pytest.mark.parametrize("options", [[], ["--json"], ["--dry-run", "--skip-broken"], ["--lang", "ru"]])
def test_a_field_is_never_repeated(here: Operator, text: str, options: list[str]) -> None:
    file = write(text)
    for arguments in ([file], [file, "--scheme", "sha256"], [write("ann;x\n", "other"), "--names", file]):
        done = here.run("accounts", "import", *arguments, *options)
        assert "hunter2" not in done.err + done.out


def test_a_file_of_plain_passwords_is_not_said_to_hold_none(here: Operator) -> None:
    done = here.run("accounts", "import", write("ann:hunter2\n"))
    assert (done.code, done.err) == (
        2,
        "The passwords of users may be plain text, but nothing says so. If they are, add --scheme plain.\n",
    )


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@pytest.mark.usefixtures("cheap")
def test_any_bytes_end_with_a_sentence_and_no_account_that_they_do_not_name(here: Operator, data: bytes) -> None:
    done = here.run("accounts", "import", write(data), "--skip-broken", "--dry-run", "--scheme", "plain")
    assert done.code in (0, 2)
    assert done.err
    assert "Traceback" not in done.err
    assert not here.data.exists()


# --- options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--scheme", "md4"], "--scheme: it must be plain, or one of md5, sha224, sha256, sha512"),
        (["--scheme", "plain+salt"], "--scheme: it must be plain"),
        (["--scheme", ""], "--scheme: it must be plain"),
        (["--separator", "x"], "--separator: it must be tab, space, or one of"),
        (["--separator", ""], "--separator: it must be tab, space, or one of"),
        (["--columns", "ip,name"], "--columns: it must name a name or an address, and a password"),
        (["--columns", "name,password,colour"], "--columns: it must name a name or an address"),
        (["--columns", ""], "--columns: it must name a name or an address"),
    ],
)
def test_an_option_that_means_nothing_is_told(here: Operator, options: list[str], problem: str) -> None:
    done = here.run("accounts", "import", write(f"ann;{SECRET}\n"), *options)
    assert done.code == 2
    assert problem in done.err


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    ("text", "options"),
    [
        (f"1;ann;{SECRET};x\n", ["--columns", "-,name,password,-", "--scheme", "plain"]),
        (f"ann;{SECRET},x\n", ["--separator", ";", "--scheme", "plain"]),
        (f"ann\t{SECRET}\n", ["--separator", "tab", "--scheme", "plain"]),
        (f"ann {SECRET}\n", ["--separator", "space", "--scheme", "plain"]),
        (f'{{"some key": ["ann", "{SECRET}"]}}', ["--columns", "-,name,password", "--scheme", "plain"]),
    ],
)
def test_options_say_what_the_file_does_not(here: Operator, text: str, options: list[str]) -> None:
    done = here.run("accounts", "import", write(text), *options, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["imported"], told["scheme"], told["lines"]) == (["ann"], "plain", [])


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        (f"ann;{SECRET}\n", ["--scheme", "plain"], "The passwords are read as plain text."),
        (f"ann;{digest('sha512', 'x')}\n", [], "The passwords are read as sha512 digests."),
        (
            f"ann;{digest('md5', 'x')}\n",
            ["--scheme", "md5+salt"],
            "The passwords are read as md5 digests of the password with “salt” behind it.",
        ),
    ],
)
def test_a_dry_run_says_what_the_passwords_are(
    here: Operator, text: str, options: list[str], sentence: str
) -> None:
    done = here.run("accounts", "import", write(text), *options, "--dry-run")
    assert done.err.splitlines() == ["To be imported: 1. Nothing was changed.", sentence]


# --- names without passwords --------------------------------------------------------------------------------

NAMES = {
    "JSON": '{"192.0.2.1": "ann", "2001:db8::1": "Вадим"}',
    "objects": '[{"ip": "192.0.2.1", "name": "ann"}, {"ip": "2001:db8::1", "name": "Вадим"}]',
    "lines": "ann 192.0.2.1\nВадим2001:db8::1\n",
    "a heading": "ip;name\n192.0.2.1;ann\n2001:db8::1;Вадим\n",
}


@pytest.mark.parametrize("store", ["sqlite", "files:people"])
@pytest.mark.parametrize("text", NAMES.values(), ids=NAMES)
def test_names_alone_are_kept_at_their_addresses_and_make_no_account(
    here: Operator, text: str, store: str
) -> None:
    file = write(text)
    dry = here.run("accounts", "import", file, "--names-only", "--dry-run", "--store", store)
    assert (dry.code, dry.err) == (0, "Names to be kept at their addresses: 2. Nothing was changed.\n")
    assert not here.data.exists()
    for _ in range(2):
        told = json.loads(here.run("accounts", "import", file, "--names-only", "--store", store, "--json").out)
        assert (told["imported"], told["kept"]) == ([], ["ann", "Вадим"])
    assert [line.partition(" by=")[0] for line in here.log()] == ["names-imported count=2"] * 2
    assert here.run("accounts", "list", "--store", store, "--json").out == "[]\n"
    kept = asyncio.run(clients(store, here.data))
    assert {(each.address, each.display) for each in kept} == {("192.0.2.1", "ann"), ("2001:db8::1", "Вадим")}


async def clients(place: str, data: Path) -> list[Client]:
    store = await open_store(place, data)
    try:
        return await store.clients.all()
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("ann 192.0.2.1\ntwo words\n", [], "lines that cannot be read: 1"),
        ("ann 192.0.2.1\ntwo words\nthree words\n", ["--skip-broken"], "lines that cannot be read: 2"),
        ("ann\nbob\n", [], "holds no names with addresses"),
        ('{"192.0.2.1": "ann"', ["--skip-broken"], "looks like JSON, but it is broken"),
        ("ann 192.0.2.1\n", ["--scheme", "plain"], "--scheme: it is of no use beside --names-only"),
        ("ann 192.0.2.1\n", ["--names", "users"], "--names: it is of no use beside --names-only"),
    ],
)
def test_names_that_cannot_be_read_are_refused_as_a_whole(
    here: Operator, text: str, options: list[str], told: str
) -> None:
    done = here.run("accounts", "import", write(text), "--names-only", *options)
    assert done.code == 2
    assert told in done.err
    assert not here.data.exists()
