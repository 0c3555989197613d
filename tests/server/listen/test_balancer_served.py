"""A server behind a balancer, as processes: limits, throttle, log and sessions go by the client's address."""

import asyncio
import contextlib
import re
from pathlib import Path

import pytest

from antiphon.errors import AnyoneRefused, ExposureRefused
from antiphon.server.server import Server
from antiphon.settings import ServerSettings
from antiphon.wire.bodies import Error, Identify
from antiphon.wire.kinds import Kind
from support.processes import run_antiphon
from support.proxy_headers import CLIENT, LOCAL, UNSPECIFIED, header, v1, v2
from support.raw import RawClient, dial
from support.workers import WorkersProcess

BALANCER, HERE = "127.0.0.2", "127.0.0.1"


def test_everything_goes_by_the_address_of_the_client_that_the_balancer_names(tmp_path: Path) -> None:
    """The supervisor reads headers: limits are its own, and workers see clients only."""
    folder = tmp_path / "data"
    options = ("--proxy-from", f"{BALANCER},2001:db8::/32", "--registration", "open")
    with WorkersProcess(folder, *options, tls=True, registrations=1) as server:

        def told(first: bytes, name: str) -> str:
            with RawClient(server.address, source=BALANCER, first=first) as client:
                client.hello()
                body = client.request(Kind.IDENTIFY, Identify(name=name))
                return body.code if isinstance(body, Error) else "let in"

        assert [told(v2(), "ann"), told(v1(), "bob"), told(v2("192.0.2.9", 7), "bob")] == [
            "let in",
            "try-later",
            "let in",
        ]
        server.logged(rf" signed-in name=\"ann\" address={re.escape(CLIENT)}:40001 ")
        server.logged(r" refused name=\"bob\" address=203\.0\.113\.7:40001 code=\"try-later\"")
        server.logged(r" signed-in name=\"bob\" address=192\.0\.2\.9:7 ")
        listed = run_antiphon("sessions", "list", "--data", folder, home=tmp_path).stdout
        assert CLIENT in listed
        assert "192.0.2.9" in listed

        with dial(server.address, source=BALANCER) as check:
            check.sendall(header(LOCAL, UNSPECIFIED))
        with RawClient(server.address, source=BALANCER, first=header(LOCAL, UNSPECIFIED)) as client:
            client.hello()
        server.logged(rf" connected address={BALANCER}:")
        for source, first in ((BALANCER, b"\x16\x03\x01"), (HERE, v2()), (BALANCER, v1() + v1("192.0.2.66"))):
            with dial(server.address, source=source) as sock:
                sock.sendall(first)
                with contextlib.suppress(ConnectionResetError):
                    assert sock.recv(1) == b""
        server.logged(rf' proxy-refused address={BALANCER}:\d+ why="no header"')
        server.logged(rf' tls-failed address={HERE}:\d+ why="PROXY header"')
        server.logged(rf' tls-failed address={CLIENT}:40001 why="PROXY header"')
        assert len(re.findall(" proxy-refused | tls-failed ", server.log)) == 3


async def test_behind_a_balancer_on_this_machine_clients_are_not_of_this_machine(tmp_path: Path) -> None:
    settings = ServerSettings(data=tmp_path, port=0, proxy_from=HERE, access="anyone")
    with pytest.raises(AnyoneRefused):
        await Server(settings=settings).__aenter__()
    with pytest.raises(ExposureRefused, match="unencrypted"):
        await Server(data=tmp_path, port=0, proxy_from=HERE, plain=True).__aenter__()
    async with Server(
        data=tmp_path, port=0, host=HERE, proxy_from=HERE, plain=True, plain_anywhere=True
    ) as server:
        assert (server.loopback, server.registration) == (False, False)
        with RawClient(server.addresses[0], first=v2()) as client:
            await asyncio.to_thread(client.hello)
    log = (tmp_path / "server.log").read_text("utf-8")
    assert f" connected address={CLIENT}:40001" in log
