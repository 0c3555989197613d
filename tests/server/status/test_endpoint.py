"""The status endpoint of a real server: what it answers, when, and to whom."""

import asyncio
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics

from antiphon import Server, connect
from antiphon.data.folder import DataFolder
from antiphon.errors import SettingInvalid, SignInRefused
from antiphon.server.listen import ports
from antiphon.server.status import endpoint
from antiphon.server.status.endpoint import serving_status
from antiphon.server.status.metrics import FAULTS
from antiphon.store_address import SQLITE
from antiphon.wire.times import TIME_BOUNDS
from support.auth import RecordingLog
from support.documents import ROOT, read, table
from support.metrics import figures, get, samples
from support.processes import PASSWORD
from support.serving import Serving, seed, serving

BLOCKED = threading.Event()
GO_ON = threading.Event()


async def answer(message: str) -> str:
    if message == "block":
        BLOCKED.set()
        GO_ON.wait(60)
    if message == "fail":
        raise ValueError(message)
    if message == "wait":
        await asyncio.sleep(0.2)
    return message


@pytest.fixture(scope="module")
def tokens() -> list[bytes]:
    return []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tokens: list[bytes]) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("status") / "data"
    tokens.extend(seed(folder, "ann", 2))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(endpoint, "POST_SECONDS", 0.05)
        with serving(folder, answer, plain=True, registration="open", status="127.0.0.1:0") as running:
            yield running


@pytest.fixture
def place(server: Serving) -> str:
    place = server.server.status_place
    assert place is not None
    return place


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def grown(place: str, before: dict[str, float], **wanted: float) -> None:
    """Wait until figures have grown by so much."""
    names = {f"antiphon_{name.replace('__', ' ').replace('_CODE_', '-')}": count for name, count in wanted.items()}
    until(lambda: all(figures(place).get(name, 0) - before.get(name, 0) == more for name, more in names.items()))


def test_a_server_that_serves_is_healthy_and_ready(place: str) -> None:
    until(lambda: get(place, "/readyz")[0] == 200)
    assert get(place, "/healthz") == (200, "text/plain; charset=utf-8", "ok\n")
    assert get(place, "/readyz")[2] == "ready\n"
    assert get(place, "/nothing")[0] == 404


def test_clients_messages_and_refusals_are_counted(server: Serving, place: str) -> None:
    from antiphon.blocking import connect

    before = figures(place)
    address = str(server.address)
    with pytest.raises(SignInRefused):
        connect(address, name="ann", password="a wrong password, I fear")
    with connect(address, name="bea", password=PASSWORD, register=True) as session:
        assert list(session.ask_many(["x" * 100] * 50)) == ["x" * 100] * 50
        session.ask("wait")
        until(lambda: figures(place)["antiphon_connections"] == 1)
        now = figures(place)
        assert now["antiphon_sessions"] >= 1
    grown(
        place, before, sign_ins_total=1, registrations_total=1, messages_total=51, handler_seconds_count=51,
        connections_opened_total=2,
    )  # fmt: skip
    after = figures(place)
    refused = "antiphon_refusals_total sign-in-refused"
    assert after[refused] == before.get(refused, 0) + 1
    for way in ("received", "sent"):
        counted = after[f"antiphon_{way}_bytes_total"] - before[f"antiphon_{way}_bytes_total"]
        assert 51 * 100 < counted < 51 * 200 + 3000
    assert after["antiphon_handler_seconds_sum"] - before["antiphon_handler_seconds_sum"] > 0.15
    assert after["antiphon_store_seconds_count"] > before["antiphon_store_seconds_count"]
    assert after["antiphon_store_seconds_sum"] > before["antiphon_store_seconds_sum"]
    slow = "antiphon_handler_seconds_bucket 0.1"
    assert after[slow] - before[slow] <= 50, "one took 0.2 s"


def test_a_session_that_is_taken_up_is_counted_by_what_is_known_of_it(
    server: Serving, place: str, tokens: list[bytes]
) -> None:
    before = figures(place)
    token = tokens.pop()
    server.session(token).sock.close()  # of a server that left no counts
    with closing(server.client().sock) as sock:
        sock.settimeout(60)
    client = server.client()
    client.hello()
    client.resume(token, 0)
    client.sock.close()
    grown(place, before, resumes_total__unknown=1, resumes_total__continued=1, resumes_total__restored=0)


def test_prometheus_and_open_metrics_get_the_same(place: str) -> None:
    kind, text = get(place, "/metrics")[1:]
    assert kind.startswith("text/plain; version=")
    open_kind, open_text = get(place, "/metrics", "application/openmetrics-text; version=1.0.0")[1:]
    assert open_kind.startswith("application/openmetrics-text")
    assert open_text.endswith("# EOF\n")
    families = open_metrics(open_text)  # type: ignore[no-untyped-call]
    names = {sample.name for family in families for sample in family.samples}
    assert {name.partition(" ")[0] for name in samples(text)} == names
    assert all(name.startswith("antiphon_") for name in names)
    bounds = re.findall(r'antiphon_handler_seconds_bucket{le="([^"]+)"}', text)
    assert [float(bound) for bound in bounds] == [*TIME_BOUNDS, float("inf")]


def test_a_fault_is_counted_and_no_label_holds_what_somebody_has_chosen(server: Serving, place: str) -> None:
    from antiphon.blocking import connect
    from antiphon.errors import ServiceFailed

    before = figures(place)
    with (
        connect(str(server.address), name="zoe", password=PASSWORD, register=True) as session,
        pytest.raises(ServiceFailed),
    ):
        session.ask("fail")
    fault = "antiphon_faults_total service-failed"
    until(lambda: figures(place)[fault] == before[fault] + 1)
    text = get(place, "/metrics")[2]
    assert "zoe" not in text
    assert "127.0.0.1" not in text
    assert str(server.server.data_path) not in text
    labels = {key for found in re.findall(r"{(.*?)}", text) for key in re.findall(r"(\w+)=", found)}
    assert labels == {"code", "event", "le", "outcome", "problem", "version"}


def test_a_handler_that_blocks_the_server_does_not_keep_it_from_answering(server: Serving, place: str) -> None:
    from antiphon.blocking import connect

    with connect(str(server.address), name="yan", password=PASSWORD, register=True) as session:
        asking = threading.Thread(target=session.ask, args=["block"])
        asking.start()
        try:
            assert BLOCKED.wait(60)
            assert get(place, "/healthz")[0] == 200
            assert figures(place)["antiphon_silence_seconds"] >= 0
        finally:
            GO_ON.set()
            asking.join()


def test_every_metric_is_described_and_the_dashboard_and_the_alerts_have_only_such(place: str) -> None:
    text = get(place, "/metrics")[2]
    families = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)) | {
        "antiphon_certificate_expiry_timestamp_seconds"
    }
    assert {
        name for name, _, _ in table(read("docs/monitoring.md"), "metric", "what it is", "when it is red")
    } == families
    found = {name.partition(" ")[0] for name in samples(text)} | families
    dashboard = json.loads((ROOT / "packaging" / "grafana-dashboard.json").read_text("utf-8"))
    alerts = yaml.safe_load((ROOT / "packaging" / "prometheus-alerts.yml").read_text("utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    asked += [rule["expr"] for rule in rules]
    assert len(asked) > 20
    assert {name for each in asked for name in re.findall(r"antiphon_\w+", each)} <= found
    assert all(
        rule["annotations"]["summary"] and rule["labels"]["severity"] in ("page", "ticket") for rule in rules
    )


def test_every_fault_is_an_event_of_the_log() -> None:
    events = {
        event for event, *_ in table(read("docs/monitoring.md"), "event", "level", "fields", "what happened")
    }
    assert set(FAULTS) <= events


async def test_a_server_is_not_ready_before_its_service_has_started_and_while_it_drains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "POST_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    told = []
    gate = asyncio.Event()

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        told.append(await asyncio.to_thread(get, place, "/readyz"))
        told.append(await asyncio.to_thread(get, place, "/healthz"))
        told.append(await asyncio.to_thread(get, place, "/metrics"))
        yield

    async def handler(_: str) -> str:
        begun.set()
        await gate.wait()
        return "done"

    async def seen(text: str) -> None:
        async with asyncio.timeout(60):
            while (await asyncio.to_thread(get, place, "/readyz"))[2] != f"{text}\n":
                await asyncio.sleep(0.02)

    begun = asyncio.Event()
    settings: dict[str, Any] = {"data": tmp_path / "data", "port": 0, "plain": True, "registration": "open"}
    async with Server(handler, lifespan=lifespan, status=place, **settings) as server:
        assert [(status, text) for status, _, text in told[:2]] == [(503, "starting\n"), (200, "ok\n")]
        assert samples(told[2][2]) == {"antiphon_build_info 0.1.0": 1, "antiphon_ready": 0}
        await seen("ready")
        async with connect(str(server.addresses[0]), name="ann", password=PASSWORD, register=True) as session:
            asking = asyncio.ensure_future(session.ask("x"))
            await begun.wait()
            stopping = asyncio.ensure_future(server.stop())
            await seen("draining")
            gate.set()
            assert await asking == "done"
        await stopping
    with pytest.raises(OSError):
        await asyncio.to_thread(get, place, "/healthz")


# --- where it listens ---------------------------------------------------------------------------------------


async def refusal(place: str, folder: Path) -> str:
    with pytest.raises(SettingInvalid) as raised:
        async with serving_status(place, DataFolder(folder), SQLITE, RecordingLog()):
            pass
    return str(raised.value)


async def test_a_place_that_cannot_be_had_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert await refusal(f"127.0.0.1:{port}", tmp_path) == f"--status: port {port} is taken on 127.0.0.1"
    assert await refusal("192.0.2.1:0", tmp_path) == "--status: it is not an address of this machine"
    monkeypatch.setattr(endpoint, "PACKAGES", ("no_such_package",))
    assert "pip install 'antiphon[status]'" in await refusal("127.0.0.1:0", tmp_path)


@pytest.mark.parametrize("exposed", [True, False])
async def test_a_place_that_other_machines_can_reach_is_logged(
    exposed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RecordingLog()
    monkeypatch.setattr(
        endpoint, "listen", lambda *given, **more: replace(ports.listen(*given, **more), loopback=not exposed)
    )
    async with serving_status("localhost:0", DataFolder(tmp_path), SQLITE, log) as status:
        assert status is not None
    assert [record.event for record in log.records] == ["status-exposed"] * exposed


async def test_a_fault_of_its_thread_is_logged_and_nothing_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any, **__: Any) -> None:
        raise LookupError("a fault")

    monkeypatch.setattr("uvicorn.Server.serve", fails)
    log = RecordingLog()
    async with serving_status("127.0.0.1:0", DataFolder(tmp_path), SQLITE, log) as status:
        assert status is not None
        port = int(status.place.rpartition(":")[2])
    assert [record.event for record in log.records] == ["fault"]
    socket.create_server(("127.0.0.1", port)).close()


def test_nothing_of_it_is_imported_by_a_server_without_it() -> None:
    program = "import sys, antiphon.server.run, antiphon.server.workers.supervise; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    loaded = set(said.split())
    assert not {"starlette", "uvicorn", "prometheus_client"} & loaded
    assert not {"psycopg", "sqlalchemy.dialects.postgresql"} & loaded  # nor what only another database needs
