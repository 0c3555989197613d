"""What the guard lets pass at the page: cookies, tokens, origins; what ends a session; a store that is away."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from antiphon.address import parse
from antiphon.identity.invitations import Code
from antiphon.identity.names import prepare
from antiphon.server.status.access.guard import WATCH_SECONDS
from antiphon.server.status.access.middleware import HEADERS
from antiphon.wire.bodies import SCRAM_SHA_256
from support.page_server import PageServer, page_server
from support.status_page import Page
from support.stored import record


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


# --- forgeries ----------------------------------------------------------------------------------------------


def test_a_forged_cookie_opens_nothing(server: PageServer) -> None:
    page = server.signed_in()
    assert page.get("/").status == 200
    (name, value), *_ = page.cookies.items()
    for forged in ("", "x", value[:-1] + ("A" if value[-1] != "A" else "B"), value.lower(), "A" * 43, value * 200):
        page.cookies[name] = forged
        assert page.get("/").status == 303
        assert page.post("/actions/revoke", {"session": "0"}).status == 401
    page.cookies = {"antiphon": value, "__Host-antiphon": value, f"{name}0": value}
    assert page.get("/").status == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": None}, {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"}, {"x_antiphon_csrf": None}, {"x_antiphon_csrf": "x"},
        {"x_antiphon_csrf": "\xff"}, {"host": "evil.example"},
    ],
)  # fmt: skip
def test_a_request_that_another_site_has_made_the_browser_send_does_nothing(
    server: PageServer, headers: dict[str, str | None]
) -> None:
    page = server.signed_in()
    for path, value in (
        ("/actions/disable", {"name": "bob"}),
        ("/actions/invite", {"name": "cat"}),
        ("/sign-out", {}),
    ):
        assert page.post(path, value, **headers).status == (421 if "host" in headers else 403)
    assert page.get("/").status == 200, "still signed in"
    bob = server.change(lambda store: store.accounts.find("bob"))
    assert bob is not None
    assert not bob.disabled


def test_the_token_of_another_session_and_a_form_do_nothing(server: PageServer) -> None:
    page, other = server.signed_in(), server.signed_in("ada")
    assert page.post("/actions/disable", {"name": "bob"}, x_antiphon_csrf=other.csrf).status == 403
    form = "application/x-www-form-urlencoded"
    assert page.post("/actions/disable", b"name=bob", content_type=form).status == 415
    assert page.ask("GET", "/actions/disable", None, {}).status == 405
    assert page.post("/actions/disable", b"x" * 5000).status == 413


def test_another_host_gets_neither_the_page_nor_a_session(server: PageServer) -> None:
    page = server.signed_in()
    for path in ("/", "/sign-in", "/access/sign-in.js", "/nothing"):
        answer = page.get(path, host="evil.example")
        assert (answer.status, answer.text.count("\n"), len(answer.text) < 200) == (421, 1, True)
    assert (
        page.get("/", sec_fetch_site="cross-site", sec_fetch_mode="no-cors", sec_fetch_dest="image").status == 403
    )
    for path in ("/healthz", "/metrics"):
        answer = page.get(path, host="monitoring.example", sec_fetch_site="cross-site")
        assert answer.status == 200, "programs ask under any name"


def test_everything_that_is_answered_has_the_headers_that_browsers_obey(server: PageServer) -> None:
    page = server.signed_in()
    answers = [
        page.get(path) for path in ("/", "/sign-in", "/access/sign-in.js", "/metrics", "/nothing", "/healthz/")
    ]
    answers += [page.get("/", host="evil.example"), page.post("/sign-in/begin", {}), page.post("/nothing", {})]
    for answer in answers:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert "server" not in answer.headers
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; ")
    assert [answers[at].status for at in (4, 5)] == [404, 404], "nobody is sent to the host of the request"


# --- what ends a session ------------------------------------------------------------------------------------


def test_an_account_that_is_disabled_or_loses_the_mark_or_its_password_is_out_within_a_second(
    server: PageServer,
) -> None:
    names = ("one", "two", "six", "new")
    numbers = [server.add(name, administrator=True) for name in names]
    pages = [server.signed_in(name) for name in names]
    others = server.signed_in()
    assert [page.get("/").status for page in pages] == [200] * 4
    server.change(lambda store: store.accounts.set_disabled(numbers[0], disabled=True))
    server.change(lambda store: store.accounts.set_administrator(numbers[1], administrator=False))
    server.change(lambda store: store.accounts.rename(numbers[2], prepare("seven")))
    server.change(lambda store: store.accounts.replace_credential(numbers[3], SCRAM_SHA_256, lambda *_: b"sealed"))
    until(lambda: [page.get("/").status for page in pages] == [303] * 4)
    assert WATCH_SECONDS < 0.5, "it is a second with what else a look takes"
    assert others.get("/").status == 200
    ended = [record.fields for record in server.log.of("administrator-out")][-4:]
    assert {each["name"] for each in ended} == set(names)
    assert {each["why"] for each in ended} == {"account-changed"}


def test_no_act_is_done_by_somebody_who_has_just_lost_the_mark(
    server: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = server.add("six2", administrator=True)
    page = server.signed_in("six2")

    async def never(_: object) -> None:
        """The look that would have found it has not come yet."""

    monkeypatch.setattr(type(server.guard), "_look", never)
    server.change(lambda store: store.accounts.set_administrator(number, administrator=False))
    assert page.post("/actions/invite", {"name": "cat"}).status == 401
    assert page.get("/").status == 303


# --- what administrators do ---------------------------------------------------------------------------------


def last(server: PageServer, event: str) -> dict[str, object]:
    return {key: value for key, value in server.log.of(event)[-1].fields.items() if key != "address"}


def test_an_account_is_disabled_with_its_sessions(server: PageServer) -> None:
    page = server.signed_in()
    number = server.add("kim")
    server.change(lambda store: store.sessions.open(record(b"k" * 32, account_id=number), 10))
    done = page.post("/actions/disable", {"name": "KIM"})
    assert (done.status, done.value) == (
        200,
        {"name": "kim", "changed": True, "sessions_ended": 1, "text": "“kim” is disabled. Sessions ended: 1."},
    )
    kim = server.change(lambda store: store.accounts.find("kim"))
    assert kim is not None
    assert kim.disabled
    assert last(server, "account-disabled") == {"name": "kim", "sessions": 1, "by": "ann"}
    (reason,) = server.change(_reasons)[-1:]
    assert reason == "disabled", "the servers cut its connections"
    again = page.post("/actions/disable", {"name": "kim"}, accept_language="ru").value
    assert (again["changed"], again["sessions_ended"]) == (False, 0)
    assert "Sessions" not in again["text"]


async def _reasons(store: object) -> list[str]:
    return [entry.reason for entry in await store.revocations.entries(0)]  # type: ignore[attr-defined]


def test_a_session_is_revoked_by_its_id(server: PageServer) -> None:
    page = server.signed_in()
    server.change(lambda store: store.sessions.open(record(b"r" * 32), 10))
    done = page.post("/actions/revoke", {"session": (b"r" * 6).hex()})
    assert (done.status, done.value) == (200, {"sessions_ended": 1, "text": "Sessions ended: 1."})
    assert last(server, "sessions-revoked")["by"] == "ann"
    assert page.post("/actions/revoke", {"session": (b"r" * 6).hex()}).value["code"] == "session-unknown"


def test_somebody_is_invited_and_the_code_is_shown_once(server: PageServer) -> None:
    page = server.signed_in()
    assert page.post("/actions/invite", {"name": "cat"}).value["code"] == "no-address"
    server.folder.last_address = parse("tls://school.example:7862")
    done = page.post("/actions/invite", {"name": "Cat", "lifetime": "2d"})
    assert (done.status, done.value["note"]) == (200, None)
    code = Code.read(done.value["code"])
    assert (code.address.host, code.address.name) == ("school.example", "Cat")
    assert code.address.fingerprint is not None
    (invitation,) = server.change(lambda store: store.invitations.all())
    assert (invitation.display, invitation.made_by) == ("Cat", "ann")
    assert 1.9 < (invitation.expires_at - datetime.now(UTC)).total_seconds() / 86400 < 2.1
    assert last(server, "invited") == {"name": "Cat", "by": "ann"}
    assert done.value["code"] not in repr(server.log.records)
    server.folder.last_address = parse("tls://localhost:7862")
    near = page.post("/actions/invite", {"name": "Dan"})
    assert near.value["note"].startswith("This code is for localhost and works on this machine only; ")


@pytest.mark.parametrize(
    ("path", "value", "status", "code"),
    [
        ("disable", {"name": "nobody"}, 404, "account-unknown"),
        ("disable", {"name": "Ann"}, 409, "own-account"),
        ("disable", {"name": ""}, 400, "name-invalid"),
        ("disable", {"name": 1}, 400, "refused"),
        ("revoke", {"session": "../.."}, 404, "session-unknown"),
        ("invite", {"name": "bob"}, 409, "account-exists"),
        ("invite", {"name": "cat", "lifetime": "9w9"}, 400, "lifetime-invalid"),
        ("invite", {"name": "cat", "lifetime": "400d"}, 400, "lifetime-invalid"),
        ("invite", {"name": "a" * 5000}, 413, "refused"),
        ("invite", {"name": "a" * 3000}, 400, "name-invalid"),
    ],
)
def test_what_cannot_be_done_is_told(server: PageServer, path: str, value: object, status: int, code: str) -> None:
    answer = server.signed_in().post(f"/actions/{path}", value)
    assert (answer.status, answer.value["code"]) == (status, code)
    assert answer.value["text"]


# --- a store that is away -----------------------------------------------------------------------------------


async def _closed(server: PageServer) -> None:
    await (await server.guard.store.opened()).store.close()


def test_while_the_store_is_away_the_page_goes_on_and_nobody_acts_or_signs_in(server: PageServer) -> None:
    page = server.signed_in()
    server.inside(_closed(server))
    began = time.monotonic()
    for path, value in (("disable", {"name": "bob"}), ("invite", {"name": "cat"}), ("revoke", {"session": "0"})):
        answer = page.post(f"/actions/{path}", value)
        assert (answer.status, answer.value["code"], answer.headers["retry-after"]) == (503, "try-later", "3")
    refused = server.page().sign_in()
    assert (refused.status, refused.value["code"]) == (503, "try-later")
    assert time.monotonic() - began < 30
    server.inside(asyncio.sleep(0.6))  # two looks
    assert not server.log.of("fault")
    assert page.get("/").status == 200
    assert page.post("/sign-out", {}).status == 200
    server.inside(server.guard.store.close())
    assert server.page().sign_in().status == 200, "opened anew"


def test_a_store_that_cannot_be_opened_says_try_later_and_is_opened_later(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with page_server(tmp_path_factory.mktemp("away") / "data") as server:
        (server.folder.path / "accounts.db").write_bytes(b"no database, and not private")
        page: Page = server.page()
        for _ in range(2):
            assert page.sign_in().value["code"] == "try-later"
        (server.folder.path / "accounts.db").unlink()
        assert page.sign_in("nobody").value["code"] == "sign-in-refused"
        (told,) = server.log.of("store-failed")
        assert (told.level, told.fields["code"]) == ("error", "folder-unsafe")


def test_with_a_store_of_files_an_edit_by_hand_takes_the_mark_away(tmp_path: Path) -> None:
    people = tmp_path / "people"
    with page_server(tmp_path / "data", store=f"files:{people}") as server:
        server.add("ann", administrator=True)
        page = server.page()
        assert page.sign_in().status == 200
        file = people / "accounts.csv"
        file.write_text(file.read_text("utf-8").replace("ann,1,no,yes,", "ann,1,no,no,"), "utf-8")
        until(lambda: page.get("/").status == 303)
        assert page.sign_in().value["code"] == "no-administrator"
