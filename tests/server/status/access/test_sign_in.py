"""The sign-in to the page over HTTP: who gets in, and what everybody else is told."""

import json
import secrets
import tomllib
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch

import pytest

from antiphon.identity.passwords import Password
from antiphon.identity.scram import LEAST_ITERATIONS, SALT_SIZE, SCRAM_SHA_256, ClientExchange, make_verifier
from antiphon.identity.throttle import FREE_FAILURES
from antiphon.server.status.access import sign_in
from antiphon.server.status.access.answers import BODY_LIMIT
from antiphon.server.status.access.entry import FILES
from support.documents import ROOT, read
from support.page_server import PageServer
from support.processes import PASSWORD
from support.status_page import Page

WRONG = "a wrong password, I fear"


def exchange(name: str = "ann", password: str = PASSWORD) -> ClientExchange:
    nonce = b64encode(secrets.token_bytes(24)).decode()
    return ClientExchange(SCRAM_SHA_256, name, Password(password), None, nonce)


def begun(page: Page, client: ClientExchange) -> tuple[str, str]:
    """Begin; return the number of the exchange and the final message."""
    answer = page.begin(client)
    assert answer.status == 200
    return answer.value["exchange"], client.answer(answer.value["message"].encode()).decode()


def prove(page: Page, number: str, message: str) -> int:
    return page.post("/sign-in/prove", {"exchange": number, "message": message}).status


def test_an_administrator_signs_in_sees_the_page_and_leaves(server: PageServer) -> None:
    page = server.page()
    refused = page.get("/")
    assert (refused.status, refused.headers["location"]) == (303, "/sign-in")
    assert page.get("/sign-in").status == 200
    assert page.sign_in("Ann").status == 200
    port = server.endpoint.place.rpartition(":")[2]
    value = page.cookies[f"antiphon-{port}"]
    assert page.set_cookie == f"antiphon-{port}={value}; HttpOnly; Path=/; SameSite=strict"
    assert page.get("/").status == 200
    assert page.get("/sign-in").status == 303
    assert page.post("/sign-out", {}).status == 200
    assert "Max-Age=0" in page.set_cookie
    page.cookies[f"antiphon-{port}"] = value
    assert page.get("/").status == 303, "the cookie that was thrown away opens nothing"
    assert page.post("/sign-out", {}).status == 401
    events = [(record.event, record.fields["name"]) for record in server.log.records]
    assert events[-2:] == [("administrator-in", "ann"), ("administrator-out", "ann")]
    assert value not in repr(server.log.records)


def test_a_new_sign_in_ends_the_session_that_the_browser_had(server: PageServer) -> None:
    page = server.signed_in("ada")
    before = dict(page.cookies)
    assert page.sign_in("ada").status == 200
    old = server.page()
    old.cookies = before
    assert page.cookies != before, "and no cookie of a visitor's choice becomes a session"
    assert (old.get("/").status, page.get("/").status) == (303, 200)


def test_wrong_password_unknown_name_disabled_and_expired_look_the_same(server: PageServer) -> None:
    server.add("zoe", administrator=True, expires_at=datetime.now(UTC) - timedelta(days=1))
    number = server.add("yan", administrator=True)
    server.change(lambda store: store.accounts.set_disabled(number, disabled=True))
    page = server.page()
    answers = [
        page.sign_in("ann", WRONG), page.sign_in("nobody", WRONG), page.sign_in("yan"), page.sign_in("zoe"),
        page.sign_in("bob", WRONG),
    ]  # fmt: skip
    assert {(answer.status, answer.text) for answer in answers} == {(401, answers[0].text)}
    assert answers[0].value["code"] == "sign-in-refused"
    assert page.cookies == {}
    whys = [record.fields["why"] for record in server.log.of("refused")][-5:]
    assert whys == ["wrong-password", "no-account", "disabled", "expired", "wrong-password"]
    # The challenges too: an unknown name always has the same salt, and the iterations of a new account.
    challenges = [page.begin(exchange("nobody")).value["message"] for _ in range(2)]
    assert len({text.partition(",")[2] for text in challenges}) == 1
    assert challenges[0].endswith(",i=600000")


def test_who_is_no_administrator_or_needs_a_new_password_is_told_so_after_the_proof(server: PageServer) -> None:
    server.add("tim", administrator=True, must_change=True)
    page = server.page()
    told = [page.sign_in("bob"), page.sign_in("tim")]
    assert [(answer.status, answer.value["code"]) for answer in told] == [
        (403, "no-administrator"),
        (403, "password-due"),
    ]
    assert page.cookies == {}
    assert [record.fields["why"] for record in server.log.of("refused")][-2:] == [
        "no-administrator",
        "password-due",
    ]


def test_an_imported_account_is_told_what_to_do_whether_or_not_it_is_one(server: PageServer) -> None:
    page = server.page()
    assert "antiphon connect" not in page.sign_in("ann", WRONG).value["text"]
    digest = make_verifier(Password("5f4dcc3b5aa765d61d8327deb882cf99"), bytes(SALT_SIZE), LEAST_ITERATIONS)
    number = server.add(
        "old", verifier=digest, administrator=True, must_change=True, old_form="md5",
        expires_at=datetime.now(UTC) + timedelta(days=9),
    )  # fmt: skip
    texts = {page.sign_in(name, WRONG).value["text"] for name in ("old", "ann", "nobody")}
    assert len(texts) == 1
    assert "must first sign in with antiphon connect" in texts.pop()
    server.change(lambda store: store.accounts.remove(number))


def test_guessing_is_throttled_here_and_at_every_other_sign_in(server: PageServer) -> None:
    page = server.page("127.0.0.9")
    for _ in range(FREE_FAILURES + 1):
        assert page.sign_in("eve", WRONG).status == 401
    early = page.sign_in("eve")
    assert (early.status, early.value["code"], early.headers["retry-after"]) == (429, "too-many-failures", "1")


def test_a_proof_counts_once_for_its_own_exchange_and_from_its_own_address(
    server: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = server.page()
    number, final = begun(page, exchange())
    assert prove(server.page("127.0.0.8"), number, final) == 410
    assert prove(page, number, final) == 410, "it is over"
    number, final = begun(page, exchange())
    other, _ = begun(page, exchange())
    assert prove(page, other, final) == 401, "of another exchange"
    assert prove(page, number, final) == 200
    assert prove(page, number, final) == 410, "replayed"
    number, final = begun(page, exchange())
    monkeypatch.setattr(sign_in, "EXCHANGE_SECONDS", 0)
    assert prove(page, number, final) == 410, "too late"


def test_exchanges_are_bounded_in_all_and_by_source(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "PER_SOURCE", 2)
    monkeypatch.setattr(sign_in, "EXCHANGES_MOST", 3)
    page, other = server.page("127.0.0.5"), server.page("127.0.0.6")
    kept, final = begun(other, exchange())
    first, *rest = [begun(page, exchange()) for _ in range(3)]
    assert prove(page, *first) == 410
    assert prove(other, kept, final) == 200, "a flood from elsewhere has not ended it"
    assert prove(page, *rest[-1]) == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/sign-in/begin", {"message": "n,,n=ann,r=short"}, 401),
        ("/sign-in/begin", {"message": "p=tls-server-end-point,,n=ann,r=" + "x" * 24}, 401),
        ("/sign-in/begin", {"message": "n,,n=ann,r=" + "x" * 1024}, 401),
        ("/sign-in/begin", {"message": "n,,n=" + "a" * 500 + ",r=" + "x" * 24}, 401),
        ("/sign-in/begin", {"message": ""}, 401),
        ("/sign-in/begin", {"message": 1}, 400),
        ("/sign-in/begin", {"message": "n,,", "name": "ann"}, 400),
        ("/sign-in/begin", [], 400),
        ("/sign-in/begin", b"{", 400),
        ("/sign-in/begin", b"\xff", 400),
        ("/sign-in/begin", b"[" * BODY_LIMIT, 400),
        ("/sign-in/begin", b" " * (BODY_LIMIT + 1), 413),
        ("/sign-in/prove", {"exchange": "none", "message": "c=biws,r=x,p=x"}, 410),
        ("/sign-in/prove", {}, 400),
    ],
)
def test_what_is_no_message_is_refused(server: PageServer, path: str, body: object, status: int) -> None:
    answer = server.page().post(path, body)
    assert (answer.status, set(answer.value)) == (status, {"code", "text"})


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(server: PageServer) -> None:
    page = server.page()
    connection = page.connection()
    connection.putrequest("POST", "/sign-in/begin")
    for name, value in {
        "Origin": page.origin,
        "Content-Type": "application/json",
        "Content-Length": "4097",
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_body_that_does_not_say_its_length_is_cut_where_it_is_too_large(server: PageServer) -> None:
    page = server.page()
    connection = page.connection()
    headers = {"Origin": page.origin, "Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    connection.request("POST", "/sign-in/begin", iter([b" " * 1024] * 5), headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    assert page.post("/sign-in/begin", {}, content_type="text/plain").status == 415
    assert page.post("/sign-in/begin", {}, content_type="application/x-www-form-urlencoded").status == 415


def test_the_page_speaks_the_language_of_the_browser_and_never_sends_a_password(server: PageServer) -> None:
    page = server.page()
    english, russian = (
        page.get("/sign-in").text,
        page.get("/sign-in", accept_language="ru-RU,ru;q=0.9,en;q=0.5").text,
    )
    assert '<html lang="en">' in english
    assert '<html lang="ru">' in russian
    assert "Пароль" in russian
    for text in (english, russian):
        assert ' name="' not in text.replace('<meta name="', ""), "a field without a name is never sent"
        assert "<form" in text
        assert "action=" not in text
        assert "<script>" not in text
        assert "style=" not in text
    refused = page.post("/sign-in/begin", {"message": ""}, accept_language="ru").value["text"]
    assert refused.startswith("Неверн") or "парол" in refused
    assert page.get("/sign-in", accept_language="de, en;q=0.3, ru;q=0.1, x;q=y").text == english
    for name in ("sign-in.js", "request.js", "entry.css", "icon.svg"):
        assert page.get(f"/access/{name}").status == 200
    assert json.dumps(PASSWORD) not in repr(server.log.records)


def test_the_wheel_has_what_the_page_loads() -> None:
    wheel = tomllib.loads(read("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["src/antiphon"]
    folder = ROOT / "src" / "antiphon" / "server" / "status" / "access" / "static"
    files = {path.name for path in folder.iterdir()}
    assert files == set(FILES)
    assert not [name for name in files for pattern in wheel["exclude"] if fnmatch(name, pattern)]
