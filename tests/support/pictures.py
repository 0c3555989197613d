"""`make pictures`: makes the pictures of the README anew, in docs/pictures, as SVG.

The status page is that of a real server with people who talk, as Chromium lays it out; only the quarter of an hour
before is invented. The conversation is that of the README, which a test holds to what the programs say. The
histogram is that of a real `antiphon ping`.
"""

import asyncio
import math
import random
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from antiphon.server.control.report import ServerReport
from antiphon.server.status.history import HISTORY_SECONDS, POINT_SECONDS, History, Point
from support.browser import Browser, browsing
from support.documents import ROOT, read
from support.people import seed_people
from support.processes import PASSWORD, ServerProcess, run_antiphon
from support.raw import RawClient
from support.serving import in_session, serving
from support.wire_client import Closed

FOLDER = ROOT / "docs" / "pictures"
NAMES = [
    "Anna",
    "Boris",
    "Clara",
    "Dmitri",
    "Elena",
    "Farid",
    "Greta",
    "Hugo",
    "Irina",
    "Jonas",
    "Katya",
    "Lev",
    "Mira",
    "Nina",
    "Oleg",
    "Pavel",
    "Rosa",
    "Sofia",
]
WIDTH, HEIGHT = 1280, 900
LINE, CHARACTER = 19, 8.4
"""Height of a line and width of a character of the conversation."""


async def answer(message: str) -> str:
    await asyncio.sleep(random.expovariate(500))
    return message


TEMPORARY = re.compile(r"/tmp/tmp\w+/talking")
"""The data folder of the server that is drawn; what is drawn in its place is as long."""


class InventedHistory(History):
    """A history that begins with a quarter of an hour that was not."""

    def __init__(self) -> None:
        """Invent it."""
        super().__init__()
        draw, now = random.Random(7), time.monotonic()
        for number in range(12, round(HISTORY_SECONDS / POINT_SECONDS)):
            busy = 118 < number < 130
            rate = 70 + 30 * math.sin(number / 16) + 9 * draw.random() + (80 if busy else 0)
            median = 0.0019 * (1 + 0.15 * draw.random())
            slow = median * (4 + draw.random() + (18 if busy else 0))
            people = round(15 + 6 * math.sin(number / 25) + 2 * draw.random())
            at = now - HISTORY_SECONDS + number * POINT_SECONDS
            self.points.append(Point(at, people, rate, median, slow))

    def note(self, report: ServerReport, now: float | None = None) -> None:
        """Make no point while nobody has come yet: what was invented goes on."""
        super().note(report, now)
        if self.points[-1].connections < len(NAMES) // 2:
            self.points.pop()


def talk(client: RawClient, seconds: float) -> None:
    """Ask until the connection is closed."""
    try:
        while True:
            time.sleep(random.random() * seconds)
            client.ask("hello")
    except (OSError, Closed):
        return


@contextmanager
def people_talking(folder: Path) -> Iterator[str]:
    """Run a server where people talk, in the block; yield the place of its page."""
    tokens = seed_people(folder, ["operator", *NAMES], administrators=["operator"])
    with serving(folder, answer, registration="closed", status="localhost:0") as running:
        clients = [in_session(running.address, token) for token in tokens[1:]]
        for number, client in enumerate(clients[:-3]):
            threading.Thread(target=talk, args=[client, 0.08 if number % 5 == 0 else 3], daemon=True).start()
        clients[-1].leave()
        clients[-2].leave()
        clients[-3].sock.close()
        place = running.server.status_place
        assert place is not None
        time.sleep(4 * POINT_SECONDS)
        yield f"http://{place}/"
        for client in clients:
            client.sock.close()


def draw_page(browser: Browser, place: str) -> None:
    """Draw the page, light and dark."""
    browser.resize(WIDTH, HEIGHT)
    browser.open(place)
    browser.until(lambda: browser.all("#password"))
    browser.find("#name").send_keys("operator")
    browser.find("#password").send_keys(PASSWORD)
    browser.find("button[type=submit]").click()
    script = Path(__file__).with_name("page_to_svg.js").read_text("utf-8")
    for scheme in ("light", "dark"):
        browser.look(scheme)
        browser.shown("Top talkers")
        time.sleep(3)  # until rates are known
        text = browser.run(script, HEIGHT, f"The status page, {scheme}")
        (FOLDER / f"status-{scheme}.svg").write_text(TEMPORARY.sub("/var/lib/antiphon/people", text), "utf-8")


def draw_conversation() -> None:
    """Draw the conversation of the README."""
    found = re.search(r"This is `make run`.*?```text\n(.*?)```", read("README.md"), re.DOTALL)
    assert found is not None
    lines = found[1].rstrip().splitlines()
    width, height = round(max(map(len, lines)) * CHARACTER) + 40, len(lines) * LINE + 60
    size = f'width="{width}" height="{height}"'
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width} {height}" font-family="monospace"',
        ' font-size="14" role="img"><title>A conversation in a terminal</title>',
        f'<rect width="{width}" height="{height}" rx="10" fill="#181d24"/>',
        *(f'<circle cx="{20 + 18 * place}" cy="18" r="5.5" fill="#4a5461"/>' for place in range(3)),
    ]
    for number, line in enumerate(lines):
        color = "#7fdc96" if line.startswith("$ ") else "#e7ebf0"
        if line:
            drawn.append(
                f'<text x="20" y="{52 + number * LINE}" fill="{color}" textLength="{len(line) * CHARACTER:.1f}" '
                f'xml:space="preserve">{escape(line)}</text>'
            )
    (FOLDER / "conversation.svg").write_text("\n".join([*drawn, "</svg>", ""]), "utf-8")


def draw_histogram(folder: Path) -> None:
    """Draw the histogram of a measurement."""
    with ServerProcess(folder / "measured", "--access", "anyone") as server:
        path = str(FOLDER / "ping.svg")
        load = "--rate", "1000", "--duration", "5", "--quiet"
        told = run_antiphon("ping", str(server.address), *load, "--plot", path, home=folder)
        assert told.returncode == 0, told.stderr
        Path(path).chmod(0o644)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr("antiphon.server.status.source.History", InventedHistory)
        draw_conversation()
        draw_histogram(Path(name))
        with people_talking(Path(name) / "talking") as page, browsing() as window:
            draw_page(window, page)
