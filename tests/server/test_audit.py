"""Promise 18: whatever is done is one record with UTC time, name and address (or operator), and no secret in it.

Sign-ins, refusals, registrations, revocations and each act of an operator are driven, with hostile names wherever
one can get in. The commands run in this process, because what is shown is what they log.
"""

import contextlib
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from antiphon.cli.main import main
from antiphon.cli.store_access import operator_name
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ClientExchange, mechanism_for
from antiphon.wire.bodies import (
    Authenticate,
    Challenge,
    ChallengeAnswer,
    ChangePassword,
    EndOthers,
    Error,
    Identified,
    OthersEnded,
    PasswordAnswer,
    Register,
    ServerBye,
    Welcome,
)
from antiphon.wire.kinds import Kind
from support.documents import read, table
from support.key_rings import ring_of
from support.log_records import Record, banned, records, spellings
from support.processes import PASSWORD
from support.raw import RawClient
from support.serving import Serving, credential, fail, seed, serving, verifier

WRONG = "this is not the password"
NONCE = "bm9uY2Ugb2YgdGhlIHRlc3QncyBjbGllbnQ="
BREAKING = ["a\rb", "a\nb", "a\x1b[2Jb", "a\u2028b", "a\u2029b", "a\x85b", "a\u202eb", "a\0b"]
FORGING = ["x\r\n2026-01-01T00:00:00Z info signed-in name=root", 'x" name="root', 'x" address=9.9.9.9:9 ', "x y\\"]
HOSTILE = [*BREAKING, *FORGING]
DIGEST = "5f4dcc3b5aa765d61d8327deb882cf99"
"""Of an old password."""
ALLOWED = 'o"neil\\'
"""A name that people may have, made of what ends a field."""
ACTS = {
    "account-added",
    "account-imported",
    "account-disabled",
    "account-enabled",
    "account-removed",
    "account-renamed",
    "password-reset",
    "sessions-revoked",
    "invited",
    "invitation-revoked",
}
"""What operators do to an account; `keys-changed` concerns all."""
BY_PEERS = {
    "registered",
    "signed-in",
    "resumed",
    "refused",
    "session-ended",
    "session-revoked",
    "password-changed",
    "others-ended",
}


class Story(NamedTuple):
    records: list[Record]
    text: str
    secrets: dict[str, bytes]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The log of a folder in which everything that is to be logged has happened, and all secrets of it."""
    home = tmp_path_factory.mktemp("audit")
    folder = home / "data"
    (home / "password.txt").write_text(PASSWORD + "\n", "utf-8")
    (home / "clients.csv").write_text(f"kim;{DIGEST}\n", "utf-8")
    tokens = {f"token {number}": token for number, token in enumerate(seed(folder, "ann", sessions=3))}
    secrets = tokens | {"password": PASSWORD.encode(), "wrong password": WRONG.encode()}
    secrets |= keys_of(folder)
    with serving(folder, plain=True, registrations_source=30, log_level="debug") as server:
        secrets |= people_do(server, tokens["token 0"])
        with server.session(tokens["token 2"]) as revoked:
            secrets |= operators_do(home, folder)
            assert revoked.body() == ServerBye(reason="revoked", cause="revoked")
        with server.client() as client:
            refused(client.hello() and client.resume(tokens["token 1"]))
        log = server.server.log_path
    secrets |= keys_of(folder)
    kept = verifier()
    secrets |= {"stored key": kept.stored_key, "server key": kept.server_key, "verifier": kept.encode()}
    return Story(records(log), log.read_text("utf-8"), secrets)


def keys_of(folder: Path) -> dict[str, bytes]:
    ring = ring_of(folder)
    sealing = {f"sealing key {number}": key for number, key in ring.sealing_keys.items()}
    return {"token key": ring.token_key, "mock key": ring.mock_key} | sealing


def refused(body: Any) -> str:
    assert isinstance(body, Error), body
    return body.code


def people_do(server: Serving, token: bytes) -> dict[str, bytes]:
    """Register, sign in, be refused, take a session up, leave; return the secrets that came of it."""
    fail(server.server.data_path, "locked", 100)
    with server.client() as client:
        client.hello()
        name = Register(name="bob", credential=credential())
        assert client.request(Kind.REGISTER, name) == Identified(name="bob", free=False)
        assert refused(client.request(Kind.REGISTER, name)) == "name-taken"
        for hostile in HOSTILE:
            body = client.request(Kind.REGISTER, Register(name=hostile, credential=credential()))
            assert refused(body) == "name-invalid"
        welcome = client.authenticate("bob", PASSWORD)
        assert isinstance(welcome, Welcome)
        change_password(client, "bob")
        assert client.request(Kind.END_OTHERS, EndOthers()) == OthersEnded(sessions=0)
        client.leave()
    with server.client() as client:
        client.hello()
        assert refused(client.authenticate("bob", WRONG)) == "sign-in-refused"
    for hostile in [*HOSTILE, "locked"]:
        with server.client() as client:
            client.hello()
            assert refused(guess(client, hostile)) in ("sign-in-refused", "name-locked")
    with server.session(token) as client:
        client.ask(PASSWORD)
        client.message_with(bytes(16), "with a wrong token")
        assert client.error().code == "token-refused"
        client.leave()
    return {"token of bob": welcome.token or b"", "signature": welcome.data or b""}


def change_password(client: RawClient, name: str) -> None:
    """Prove the password, and have the same one kept again."""
    mechanism = mechanism_for(client.binding)
    exchange = ClientExchange(mechanism, name, Password(PASSWORD), client.binding, NONCE)
    begun = client.request(Kind.PASSWORD, ChangePassword(mechanism=mechanism, data=exchange.first()))
    assert isinstance(begun, PasswordAnswer), begun
    proved = client.request(Kind.PASSWORD, ChangePassword(data=exchange.answer(begun.data or b"")))
    assert isinstance(proved, PasswordAnswer), proved
    kept = client.request(Kind.PASSWORD, ChangePassword(credential=credential()))
    assert kept == PasswordAnswer(data=None)


def guess(client: RawClient, name: str) -> Any:
    """Prove nothing under a name, at none of the cost of a real attempt."""
    first = f"n,,n={name.replace('=', '=3D').replace(',', '=2C')},r={NONCE}".encode()
    challenge = client.request(Kind.AUTHENTICATE, Authenticate(mechanism="SCRAM-SHA-256", data=first))
    if not isinstance(challenge, Challenge):
        return challenge
    nonce = challenge.data.decode().split(",")[0]
    return client.request(Kind.CHALLENGE, ChallengeAnswer(data=f"c=biws,{nonce},p={'A' * 43}=".encode()))


def operators_do(home: Path, folder: Path) -> dict[str, bytes]:
    """Do each act; return the passphrase that came of it."""
    password = ["--password-file", str(home / "password.txt")]
    told = {}
    for words in (
        ["accounts", "add", ALLOWED, *password],
        ["accounts", "add", "zoe", *password],
        ["accounts", "disable", "zoe"],
        ["accounts", "enable", "zoe"],
        ["accounts", "rename", "zoe", "Zoë"],
        ["accounts", "password", "Zoë"],
        ["sessions", "revoke", "--account", "ann"],
        ["accounts", "remove", "Zoë"],
        ["accounts", "rekey"],
        ["accounts", "import", str(home / "clients.csv")],
        ["invite", "tom"],
        ["invitations", "revoke", "tom"],
    ):
        told[words[1]] = run([*words, "--json", "--data", str(folder)])
    for hostile in HOSTILE:
        for words in (["add", hostile, *password], ["rename", ALLOWED, hostile], ["disable", hostile]):
            assert exit_code(["accounts", *words, "--data", str(folder), "--no-input"]) == 2, ascii(hostile)
    return {
        "passphrase": told["password"]["passphrase"].encode(),
        "invitation": told["tom"]["code"].rpartition("/")[2].encode(),
        "digest": DIGEST.encode(),
    }


def run(words: list[str]) -> Any:
    """Run a command, and return what it tells."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert exit_code(words) == 0, words
    return json.loads(out.getvalue())


def exit_code(words: list[str]) -> object:
    try:
        return main(words)
    except SystemExit as ended:  # so does cyclopts end a command that has returned
        return ended.code


def the(story: Story, *events: str) -> Iterator[Record]:
    return (record for record in story.records if record.event in events)


def test_everything_has_happened_and_each_is_logged(story: Story) -> None:
    happened = {record.event for record in story.records}
    assert happened >= ACTS | BY_PEERS | {"keys-changed", "message-refused"}
    documented = {row[0] for row in table(read("docs/monitoring.md"), "event", "level", "fields", "what happened")}
    acts = {
        event
        for event in documented
        if event.startswith(("account-", "sessions-", "keys-", "password-reset", "invit"))
    }
    assert acts == ACTS | {"keys-changed"}  # a new act is to be driven here too


def test_each_act_of_an_operator_is_one_record_with_name_and_operator(story: Story) -> None:
    by = f' by="{operator_name()}"'
    assert all(by in record.fields and ' name="' in record.fields for record in the(story, *ACTS))
    assert [by in record.fields for record in the(story, "keys-changed")] == [True]
    count = {event: len(list(the(story, event))) for event in ACTS}
    assert count == dict.fromkeys(ACTS, 1) | {"account-added": 2}


def test_what_peers_do_has_name_and_address(story: Story) -> None:
    address = re.compile(r" address=127\.0\.0\.[12]:\d+( |$)")
    assert all(address.search(record.fields) for record in the(story, *BY_PEERS, "message-refused"))
    named = [record for record in the(story, *BY_PEERS) if ' code="session-ended"' not in record.fields]
    assert all(' name="' in record.fields for record in named)  # whose token it was, a refused resume cannot know


def test_refusals_say_why(story: Story) -> None:
    codes = {
        match[1] for record in the(story, "refused") if (match := re.search(r'code="([a-z-]+)"', record.fields))
    }
    assert codes == {"sign-in-refused", "name-locked", "name-taken", "name-invalid", "session-ended"}


def test_times_are_utc_and_in_order(story: Story) -> None:
    times = [datetime.fromisoformat(record.at) for record in story.records]
    assert all(record.at.endswith("Z") for record in story.records)
    assert timedelta(0) < datetime.now(UTC) - times[-1] < timedelta(minutes=5)


def test_a_hostile_name_is_one_escaped_field_of_one_record(story: Story) -> None:
    fields = [record.fields for record in the(story, "refused")]
    for hostile in HOSTILE:
        text = hostile.replace("\\", "\\\\").replace('"', '\\"')
        escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        assert sum(f' name="{escaped}" address=127.0.0.1:' in field for field in fields) >= 1, ascii(hostile)
    assert not any(' name="root"' in record.fields for record in story.records)
    assert 'name="o\\"neil\\\\" by=' in story.text


def test_no_secret_is_there_in_any_spelling(story: Story) -> None:
    assert len(story.secrets) >= 14
    for what, secret in story.secrets.items():
        for spelling in spellings(secret):
            assert spelling not in story.text, what


def test_fail2ban_finds_every_refusal_with_its_true_address_and_nothing_else(story: Story) -> None:
    found = banned(story.text)
    assert len(found) == len(list(the(story, "refused"))) > len(HOSTILE)
    assert all(" warning refused " in line and f" address={host}:" in line for line, host in found.items())
    assert set(found.values()) == {"127.0.0.1"}


def test_fail2ban_finds_an_address_of_ipv6(story: Story) -> None:
    line = next(line for line in story.text.splitlines() if " refused " in line)
    assert list(banned(line.replace("=127.0.0.1:", "=[2001:db8::1]:")).values()) == ["2001:db8::1"]
