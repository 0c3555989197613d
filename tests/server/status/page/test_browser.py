"""The status page in a real browser: what an operator sees and does there.

One browser serves all tests of this file. `make browser` runs it alone; so does CI, with a time of its own.
"""

import contextlib
import json
import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from selenium.webdriver.common.keys import Keys

from antiphon.blocking import Session, connect
from antiphon.errors import OutcomeUnknown, SessionRevoked, SignInRefused
from support.browser import Browser, browser_path, browsing
from support.left_out import left_out
from support.people import seed_people
from support.processes import PASSWORD
from support.raw import RawClient
from support.serving import in_session
from support.workers import WorkersProcess, kill

CROWD = 1000
HOSTILE = '"><img/src=x/onerror=window.hacked=1>'
LONG_TASK_MS = 200.0
COUNT_UPDATES = """
window.updates = 0;
const seen = new MutationObserver(() => window.updates++);
seen.observe(document.body, { subtree: true, childList: true, characterData: true });
"""
EVIL = """<!doctype html><title></title><iframe name="frame"></iframe>
<form method="post" enctype="text/plain" action="PLACEactions/disable" target="frame">
<input name='{"name":"ann","x":"' value='"}'></form>
<script>
const ask = (path, more) => fetch("PLACE" + path, { credentials: "include", ...more }).then(
  (answer) => `${answer.status} ${answer.type}`, () => "refused");
const act = { method: "POST", body: '{"name":"ann"}' };
const sent = new Promise((done) => { document.querySelector("iframe").onload = done; });
document.forms[0].submit();
Promise.all([
  ask("actions/disable", { ...act, mode: "no-cors" }),
  ask("actions/disable", { ...act, headers: { "Content-Type": "application/json" } }),
  ask("sign-out", { method: "POST", body: "{}", mode: "no-cors" }),
  ask("", {}),
  ask("events", {}),
]).then((told) => sent.then(() => { document.title = told.join(" "); }));
</script>"""
"""A page of somebody else, which an administrator visits: it acts, signs out and reads in their name."""
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if browser_path() is None:
        left_out("the status page in a real browser", "apt install chromium chromium-driver")
    with browsing() as window:
        yield window


@pytest.fixture(scope="module")
def crowd() -> list[bytes]:
    return []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, crowd: list[bytes]) -> Iterator[WorkersProcess]:
    folder = tmp_path_factory.mktemp("page") / "data"
    names = ["boss", "ann", "bob", HOSTILE, *(f"person-{number:04}" for number in range(CROWD))]
    crowd.extend(seed_people(folder, names, administrators=["boss"]))
    options = "--status", "localhost:0", "--registration", "closed"
    with WorkersProcess(folder, *options, access="authenticate") as running:
        yield running


@pytest.fixture
def place(server: WorkersProcess, browser: Browser) -> str:
    browser.forget()
    browser.faults()
    return f"http://{server.start['status']}/"


def sign_in(browser: Browser, place: str, password: str = PASSWORD) -> None:
    browser.open(place)
    browser.until(lambda: browser.all("#password"))
    for selector, text in (("#name", "boss"), ("#password", password)):
        browser.find(selector).clear()
        browser.find(selector).send_keys(text)
    browser.find("button[type=submit]").click()


def row(name: str) -> str:
    return f"#sessions tr:has(button[data-value={json.dumps(name)}])"


def press(browser: Browser, button: str, answer: str = "yes") -> str:
    """Press a button and answer its question; return what the page says then."""
    browser.run("document.querySelector(arguments[0]).click()", button)
    browser.until(lambda: browser.all("dialog[open]"))
    browser.find(f"dialog[open] button[value={answer}]").click()
    browser.until(lambda: browser.all("#outcome[open]"))
    told = browser.text("#told")
    browser.find("#outcome button[value=cancel]").click()
    return told


def cut(session: Session) -> None:
    """Wait until the session is cut."""

    def ask_on() -> None:
        while True:
            with contextlib.suppress(OutcomeUnknown):  # of the one that was on its way
                session.ask("am I still in?")

    with pytest.raises(SessionRevoked):
        ask_on()


def test_an_operator_sees_who_comes_and_goes_and_acts(
    browser: Browser, server: WorkersProcess, place: str
) -> None:
    address = str(server.address)
    sign_in(browser, place, "not the password, I fear")
    browser.shown("wrong", "#message")
    sign_in(browser, place)
    browser.shown("Signed in as boss")
    browser.shown("All is well.", "#state")
    browser.shown("Nobody is connected.", "#sessions")
    with connect(address, name="ann", password=PASSWORD) as ann:
        browser.until(lambda: browser.all(row("ann")))
        for _ in range(7):
            ann.ask("hello")
        browser.until(
            lambda: browser.run("return arguments[0].cells[4].innerText", browser.find(row("ann"))) == "7"
        )
        assert "Sessions ended: 1." in press(browser, f"{row('ann')} button[data-act=revoke]")
        cut(ann)
    browser.until(lambda: not browser.all(row("ann")))
    browser.shown("ann", "#closed")
    browser.shown("revoked", "#closed")

    with connect(address, name="bob", password=PASSWORD) as bob:
        browser.until(lambda: browser.all(row("bob")))
        assert "“bob” is disabled." in press(browser, f"{row('bob')} button[data-act=disable]")
        cut(bob)
    with pytest.raises(SignInRefused):
        connect(address, name="bob", password=PASSWORD)
    browser.shown("sign-in-refused", "#refusals")

    browser.find("button[data-act=invite]").click()
    browser.find("#invited").send_keys("guest", Keys.ENTER)
    browser.shown("works on this machine only", "#outcome")
    browser.shown("Give this code to guest.", "#outcome")
    with connect(browser.text("#code").strip(), password=PASSWORD) as guest:
        assert str(guest.ask("?")).isdecimal()
        browser.find("#outcome button[value=cancel]").click()
        browser.until(lambda: browser.all(row("guest")))

        home = int(str(guest.ask("who?")))
        (victim,) = {*server.workers} - {home}
        os.kill(victim, signal.SIGSTOP)
        browser.shown(f"These workers do not answer, and what they hold is missing: {victim}.", "#sessions")
        kill(victim)
        browser.until(lambda: str(victim) not in browser.text("#workers") and len(server.workers) == 2)
        new = next(pid for pid in server.workers if pid != home)
        browser.shown(str(new), "#workers")
        assert guest.ask("who?") == str(home)
        browser.until(lambda: browser.all(row("guest")))
    browser.shown("said goodbye", "#closed")
    assert not browser.run("return document.querySelector('[data-old]').checkVisibility()")

    browser.find("button[data-act=sign-out]").click()
    browser.until(lambda: browser.all("#password"))
    wrong = [fault for fault in browser.faults() if "/sign-in/prove" not in fault]
    assert wrong == [], "nothing was blocked by the policy, and no script failed"


def connected(server: WorkersProcess, tokens: list[bytes]) -> Iterator[RawClient]:
    for token in tokens:
        yield in_session(server.address, token, timeout=30)


def test_a_thousand_sessions_stay_readable(
    browser: Browser, server: WorkersProcess, place: str, crowd: list[bytes]
) -> None:
    clients = list(connected(server, crowd[3:]))
    talker = clients[778]  # person-0777
    sign_in(browser, place)
    browser.shown(f"Connected sessions: {CROWD + 1:,}", "#sessions")
    browser.shown("Page 1 of 40", "#sessions")
    assert len(browser.all("#sessions tbody tr")) == 25
    assert browser.run("return window.hacked") is None
    assert HOSTILE in browser.text("#sessions"), "it is the first one, and stands there as text"

    browser.find("#sessions a[rel=next]").click()
    browser.shown("Page 2 of 40", "#sessions")
    browser.shown("person-0024", "#sessions")
    browser.find("#search").send_keys("PERSON-0777", Keys.ENTER)
    browser.shown("Connected sessions with “PERSON-0777”: 1", "#sessions")
    assert len(browser.all("#sessions tbody tr")) == 1

    def talks() -> bool:
        talker.ask("hello")
        return "person-0777" in browser.text("#talkers")

    browser.until(talks)
    assert longest_task(browser, place) < LONG_TASK_MS

    # What has the focus keeps it, and its row keeps its place, while others go.
    first, second = (each.get_attribute("data-key") for each in browser.all("#sessions tbody tr")[:2])
    button = f"#sessions tr[data-key='{second}'] button"
    browser.run("document.querySelector(arguments[0]).focus()", button)
    reset(clients[0])
    browser.until(lambda: browser.all(f"#sessions tr.gone[data-key='{first}']"))
    assert browser.run("return document.activeElement === document.querySelector(arguments[0])", button)
    browser.find("#search").click()
    browser.until(lambda: not browser.all(f"#sessions tr[data-key='{first}']"))
    browser.shown("connection was lost", "#closed")
    for client in clients:
        client.sock.close()


def longest_task(browser: Browser, place: str) -> float:
    """Return the longest task of the page over some updates, in ms; the best of six, since others work too."""
    longest = []
    for _ in range(6):
        browser.open(place)
        browser.run(COUNT_UPDATES)
        browser.until(lambda: browser.run("return window.updates") >= 2)
        longest.append(max(browser.run("return window.longTasks"), default=0.0))
        if longest[-1] < LONG_TASK_MS:
            break
    return min(longest)


def reset(client: RawClient) -> None:
    """Break a connection off."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()


def test_it_fits_every_screen_and_is_named_for_those_who_cannot_see_it(
    browser: Browser, server: WorkersProcess, place: str
) -> None:
    words = {
        "en": ("End the session of ann", "Messages a second"),
        "ru": ("Завершить сеанс ann", "Сообщений в секунду"),
    }
    with connect(str(server.address), name="ann", password=PASSWORD):
        sign_in(browser, place)
        for language, told in words.items():
            browser.until(lambda: browser.all(row("ann")))
            browser.speak(language)
            browser.open(place)
            assert browser.run("return document.documentElement.lang") == language
            browser.until(lambda: browser.all(row("ann")))
            for width in (1280, 768, 380):
                browser.resize(width)
                assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), width
            names = names_of(browser)
            assert [role for role, name in names if not name] == []
            assert {"button", "img", "table", "main", "banner", "search"} <= {role for role, _ in names}
            assert set(told) <= {name for _, name in names}
        for scheme in ("light", "dark"):
            browser.look(scheme)
            ground, ink = luminance(browser, "backgroundColor"), luminance(browser, "color")
            assert (ground > ink) == (scheme == "light")
            assert (max(ground, ink) + 0.05) / (min(ground, ink) + 0.05) > 7, "WCAG 2.2, AAA"


def names_of(browser: Browser) -> list[tuple[str, str]]:
    """Return role and name of what a screen reader finds; of those that need a name."""
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]
    ]
    named = {"button", "link", "img", "image", "table", "region", "searchbox", "textbox", "heading", "navigation"}
    return [("img" if role == "image" else role, name) if role in named else (role, role) for role, name in found]


def luminance(browser: Browser, color: str) -> float:
    """Return the relative luminance of a colour of the page (WCAG 2.2)."""
    parts = browser.run(f"return getComputedStyle(document.body).{color}.match(/[0-9]+/g).slice(0, 3).map(Number)")
    linear = [(part / 255 / 12.92) if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in parts]
    light: float = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return light


def test_it_can_be_read_without_its_script(browser: Browser, server: WorkersProcess, place: str) -> None:
    sign_in(browser, place)
    browser.shown("Signed in as boss")
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(f"{place}?q=ann")
        text = browser.driver.page_source
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "All is well." in text
    assert text.count("<svg") == 3


def test_a_forged_cookie_opens_nothing_and_scripts_do_not_see_the_real_one(
    browser: Browser, server: WorkersProcess, place: str
) -> None:
    sign_in(browser, place)
    browser.shown("Signed in as boss")
    assert browser.run("return document.cookie") == ""
    (cookie,) = browser.driver.get_cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    value = cookie["value"]
    forged = value[:-2] + ("A" if value[-2] != "A" else "B") + value[-1]
    browser.driver.execute_cdp_cmd(
        "Network.setCookie", {"url": place, "name": cookie["name"], "value": forged, "httpOnly": True}
    )
    browser.open(place)
    browser.until(lambda: browser.all("#password"))
    assert "All is well." not in browser.text()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_page_of_another_origin_changes_and_reads_nothing(
    browser: Browser, server: WorkersProcess, place: str, host: str
) -> None:
    """On another port of the same host the cookie comes along; on another host it does not."""
    sign_in(browser, place)
    browser.shown("Signed in as boss")
    with other_site(place) as port:
        browser.open(f"http://{host}:{port}/")
        browser.until(lambda: browser.run("return document.title") != "")
        assert browser.run("return document.title") == " ".join(["refused"] * 5)
    asked = {path for fault in browser.faults() for path in ("/actions/disable", "/sign-out") if path in fault}
    assert asked == {"/actions/disable", "/sign-out"}, "the browser has sent them, or asked whether it may"
    with connect(str(server.address), name="ann", password=PASSWORD) as ann:
        assert str(ann.ask("?")).isdecimal(), "the account is not disabled"
    browser.open(place)
    browser.shown("Signed in as boss")


@contextlib.contextmanager
def other_site(place: str) -> Iterator[int]:
    """Serve, at the port that is yielded, a page that does what it can to the page at `place`."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(EVIL.replace("PLACE", place).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("", 0), Site) as site:
        serving = threading.Thread(target=site.serve_forever, args=[0.05])
        serving.start()
        try:
            yield site.server_port
        finally:
            site.shutdown()
            serving.join()


def test_a_page_that_is_open_does_not_hold_up_the_end_of_the_server(
    browser: Browser, server: WorkersProcess, place: str
) -> None:
    sign_in(browser, place)
    browser.shown("All is well.", "#state")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    browser.shown("Not live", "main")
    browser.run("document.querySelector('#state').innerHTML = '<p class=well>All is well.</p>'")  # said last
    assert "All is well." not in browser.text("main"), "nobody knows"
