"""The routes of the page at its real listener: who gets it, its files, and the stream that ends."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from antiphon.server.status.page import routes
from antiphon.server.status.page.routes import STREAMS_MOST
from support.page_server import PageServer, page_server
from support.status_page import Page


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    with page_server(tmp_path_factory.mktemp("page") / "data") as running:
        running.add("ann", administrator=True)
        yield running


class Stream:
    """The stream of a page that is open."""

    def __init__(self, page: Page) -> None:
        self.connection = page.connection()
        cookie = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
        self.connection.request("GET", "/events", headers={"cookie": cookie, "sec-fetch-site": "same-origin"})
        self.answer = self.connection.getresponse()

    def event(self) -> tuple[str, dict[str, str]]:
        """Return name and data of the next event."""
        name = ""
        while line := self.answer.readline().decode().strip() or " ":
            kind, _, value = line.partition(": ")
            if kind == "event":
                name = value
            if kind == "data":
                return name, json.loads(value)
        raise EOFError

    def close(self) -> None:
        self.connection.close()
        self.answer.close()

    def ends(self) -> str:
        """Return the last event."""
        names = [line for line in self.answer.read().decode().splitlines() if line.startswith("event: ")]
        return names[-1]


def test_only_an_administrator_gets_the_page_and_its_stream(server: PageServer) -> None:
    stranger = server.page()
    assert [stranger.get(path).status for path in ("/", "/events")] == [303, 401]
    for name, kind in routes.FILES.items():
        answer = stranger.get(f"/{name}")
        assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, kind)
        assert "http:" not in answer.text.replace("http://www.w3.org", "")
        assert "https:" not in answer.text, "nothing from another host"
    page = server.signed_in()
    page.headers = {"accept-language": "ru"}
    shown = page.get("/?q=%3Cb%3E&page=nonsense").text
    assert '<html lang="ru">' in shown
    assert "&lt;b&gt;" in shown
    assert f'content="{page.csrf}"' in shown


def test_a_stream_sends_what_has_changed_and_ends_when_the_person_signs_out(server: PageServer) -> None:
    page = server.signed_in()
    with closing(Stream(page)) as stream:
        name, parts = stream.event()
        assert (name, set(parts) >= {"state", "sessions", "pictures"}) == ("parts", True)
        assert page.post("/sign-out", {}).status in (200, 204)
        assert stream.ends() == "event: signed-out"


def test_a_head_of_the_stream_leaves_the_connection_for_what_comes_next(server: PageServer) -> None:
    page = server.signed_in()
    connection = page.connection()
    cookie = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
    for method, path in (("HEAD", "/events"), ("GET", "/page.js")):
        connection.request(method, path, headers={"cookie": cookie, "sec-fetch-site": "same-origin"})
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (200, method == "GET")
    connection.close()


def test_streams_are_bounded_and_a_closed_one_makes_room(server: PageServer) -> None:
    page = server.signed_in()
    streams = [Stream(page) for _ in range(STREAMS_MOST)]
    assert {stream.event()[0] for stream in streams} == {"parts"}
    assert page.get("/events").status == 503
    assert "too many of these pages are open" in page.get("/").text, "it is what its script shows then"
    for stream in streams:
        stream.close()
    ends = time.monotonic() + 60
    while server.endpoint._pages._streams:
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_streams_that_are_open_do_not_hold_up_the_end(tmp_path: Path) -> None:
    ended: list[str] = []
    with page_server(tmp_path / "data") as running:
        running.add("ann", administrator=True)
        stream = Stream(running.signed_in())
        stream.event()

        def wait() -> None:
            try:
                ended.append(stream.ends())
            except http.client.HTTPException as error:
                ended.append(repr(error))

        waiting = threading.Thread(target=wait)
        waiting.start()
        began = time.monotonic()
    assert time.monotonic() - began < 30
    waiting.join()
    stream.close()
    assert ended == ["event: stopped"]
