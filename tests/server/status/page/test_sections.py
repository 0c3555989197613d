"""What the page shows, without a browser: everything is escaped, told in both languages, and has a name."""

import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from antiphon.server.control.advice import ADVICE
from antiphon.server.control.live import PAGE_SIZE, ClosedSession, Live, LiveQuery, LiveSession
from antiphon.server.control.report import PROBLEM_WORDS, ProcessReport, report_of
from antiphon.server.status.board import Posted
from antiphon.server.status.history import History, Point
from antiphon.server.status.page.document import document
from antiphon.server.status.page.figures import Figures, ticks
from antiphon.server.status.page.html import Html, joined, tag
from antiphon.server.status.page.sections import sections
from antiphon.server.status.page.view import View
from antiphon.server.status.page.words import ENDS
from support.reports import NOW, WELL

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;\u202e"


class Elements(HTMLParser):
    """The elements of a text, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def session(name: str = "ann", **fields: Any) -> LiveSession:
    known: dict[str, Any] = {
        "key": name, "id": name, "name": name, "account": 1, "address": "127.0.0.1:1", "opened_at": NOW, "pid": 7,
        "relayed": False, "messages": 12345, "messages_per_s": 1.5, "handler_s": 0.00021,
    }  # fmt: skip
    return LiveSession(**known | fields)


def view(
    *sessions: LiveSession, language: str = "en", workers: list[ProcessReport] | None = None, **fields: Any
) -> View:
    known: dict[str, Any] = {
        "age": 0.5,
        "wanted": 1,
        "search": "",
        "page": 0,
        "closed": [],
        "found": len(sessions),
    }
    given = known | fields
    report = report_of(
        [WELL] if workers is None else workers, version="1", pid=1, started_at=NOW, now=NOW, wanted=given["wanted"]
    )
    live = Live(given["found"], given["found"], list(sessions), list(sessions), given["closed"])
    return View(Posted(report, given["age"]), History(), LiveQuery(given["search"], given["page"]), live, language)


@pytest.mark.parametrize("language", ["en", "ru"])
def test_whatever_somebody_has_chosen_is_text(language: str) -> None:
    closed = [ClosedSession(NOW, HOSTILE, HOSTILE, NOW, reason, HOSTILE) for reason in ("revoked", HOSTILE)]
    hostile = session(HOSTILE, address=HOSTILE, id=HOSTILE)
    worker = msgspec.structs.replace(WELL, events={f"refused {HOSTILE}": 3})
    shown = view(hostile, language=language, closed=closed, search=HOSTILE, found=99, workers=[worker])
    page = Elements(document(shown, HOSTILE, HOSTILE))
    harmless = Elements(document(view(session(), language=language, closed=closed[:0], found=99), "x", "x"))
    assert {name for name, _ in page.found} <= {name for name, _ in harmless.found} | {"code"}
    assert not [name for _, attrs in page.found for name in attrs if name.startswith("on") or name == "style"]
    assert HOSTILE in page.text
    assert ("meta", {"name": "csrf", "content": HOSTILE}) in page.found


def test_an_element_escapes_what_is_none() -> None:
    assert tag("p", "<", Html("<b>"), ["&", None, 7], title='"') == '<p title="&quot;">&lt;<b>&amp;7</p>'
    assert tag("input", hidden=True, value=None, checked=False) == "<input hidden>"
    assert joined("<", tag("br")) == "&lt;<br>"


def test_every_problem_is_told_with_what_to_do() -> None:
    ill = [
        msgspec.structs.replace(WELL, silent_s=9, lag_s=9, log_lost=9),
        msgspec.structs.replace(WELL, store_age_s=9),
    ]
    told = Elements(sections(view(workers=ill, wanted=5))["state"]).text
    for word in ("worker-missing", "worker-silent", "overloaded", "log-lost", "store-away"):
        assert ADVICE[word] in told
    assert set(ADVICE) == set(PROBLEM_WORDS)
    assert "All is well." in sections(view())["state"]
    assert "these figures are 12 s old" in sections(view(age=12.2))["state"]
    starting = View(Posted(None, 0), History(), LiveQuery(), None, "en")
    assert "The server starts" in sections(starting)["state"]
    assert "does not say who is connected" in sections(starting)["sessions"]


def test_every_end_of_a_session_has_its_words() -> None:
    ends = {"broken-off", "closed", "cut", "expired", "left", "replaced", "revoked"}
    assert set(ENDS) == ends
    closed = [ClosedSession(NOW, "ann", "a", NOW, "cut", "peer-silent")]
    assert "cut by the server peer-silent" in Elements(sections(view(closed=closed))["closed"]).text


def test_a_page_of_many_says_where_it_is_and_leads_on() -> None:
    sessions = [session(f"person-{number}") for number in range(PAGE_SIZE)]
    shown = sections(view(*sessions, found=60, page=1, search="per son&"))["sessions"]
    links = [attrs["href"] for name, attrs in Elements(shown).found if name == "a"]
    assert links == ["/?q=per+son%26&page=1", "/?q=per+son%26&page=3"]
    assert "Page 2 of 3" in shown
    assert "search for a name" in sections(view(*sessions, found=5000))["sessions"]
    assert "Page 1 of" not in sections(view(*sessions, found=PAGE_SIZE))["sessions"]
    assert "This page is empty by now." in sections(view(found=5, page=3))["sessions"]


def test_a_node_says_where_others_reach_it_and_which_sessions_they_relay() -> None:
    facts = msgspec.structs.replace(WELL.facts, node="node1.example.org:7700")
    node = view(session(relayed=True), workers=[msgspec.structs.replace(WELL, facts=facts)])
    assert "7, relayed" in sections(node)["sessions"]
    assert "node1.example.org:7700" in sections(node)["facts"]
    alone = sections(view(session(relayed=True)))
    assert "relayed" not in alone["sessions"]
    assert "Node" not in alone["facts"]


def test_only_accounts_can_be_disabled() -> None:
    acts = [attrs.get("data-act") for _, attrs in Elements(sections(view(session()))["sessions"]).found]
    assert {"revoke", "disable"} <= set(acts)
    acts = [attrs.get("data-act") for _, attrs in Elements(sections(view(session(account=-5)))["sessions"]).found]
    assert "revoke" in acts
    assert "disable" not in acts


@pytest.mark.parametrize("language", ["en", "ru"])
def test_pictures_have_axes_with_units_and_say_what_they_show(language: str) -> None:
    shown = view(session(), language=language)
    for number in range(10):
        slow = None if number < 5 else 0.03
        shown.history.points.append(Point(1000.0 + 5 * number, number, 7.0 * number, 0.0002, slow))
    drawn = re.findall("<svg.*?</svg>", sections(shown)["pictures"])
    figures = [ET.fromstring(text) for text in drawn]
    assert len(figures) == 3
    messages, connections, latency = ("".join(figure.itertext()) for figure in figures)
    words = {
        "en": ("now 63.0, at most 63.0", "now 9, at most 9", "now 200 µs, 99th percentile now 30 ms", "−15 min"),
        "ru": ("сейчас 63,0, самое большее 63,0", "сейчас 9, самое", "медиана сейчас 200 мкс", "−15 мин"),
    }[language]
    for text, told in zip((messages, connections, latency), words, strict=False):
        assert told in text
        assert words[3] in text, "the time axis"
    assert ("10 ms" if language == "en" else "10 мс") in latency
    for figure in figures:
        ids = {each.get("id") for each in figure}
        assert {figure.get("aria-labelledby"), figure.get("aria-describedby")} <= ids
    assert [len(figure.findall("path")) for figure in figures] == [2, 2, 2], "an area and a line, or two lines"


def test_figures_are_those_of_the_language() -> None:
    english, russian = view(language="en").figures, view(language="ru").figures
    assert (english.number(1234567), russian.number(1234567)) == ("1,234,567", "1\u00a0234\u00a0567")
    assert [english.rate(each) for each in (0.25, 1500.4, None)] == ["0.2", "1,500", "–"]
    assert russian.rate(12.34) == "12,3"
    assert [english.seconds(value) for value in (0.0000052, 0.00021, 0.0123, 2, 75, None)] == [
        "5.2 µs", "210 µs", "12 ms", "2.0 s", "75 s", "–",
    ]  # fmt: skip
    assert [english.duration(timedelta(seconds=each)) for each in (-1, 59, 61, 3700, 90_000)] == [
        "0 s", "59 s", "1 min", "1 h 1 min", "1 d 1 h",
    ]  # fmt: skip
    assert isinstance(english, Figures)


@pytest.mark.parametrize("most", [0.3, 1, 4, 5, 9.9, 10, 99, 101, 12345, 9e9])
def test_marks_of_an_axis_are_round_and_reach_the_most(most: float) -> None:
    marks = ticks(most)
    assert 2 <= len(marks) <= 6
    assert marks[0] == 0
    assert marks[-1] >= most > marks[-2] - 1e-9
