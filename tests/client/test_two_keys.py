"""Nodes behind one address whose certificates differ: the client goes from one to the other, or sends nothing."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from antiphon import blocking, connect
from antiphon.address import Address
from antiphon.errors import OutcomeUnknown, ServerKeyUnknown
from antiphon.server.server import Server
from antiphon.services import echo
from antiphon.testing import FaultProxy
from support.certificate_authority import issue_certificate
from support.processes import PASSWORD
from support.serving import seed
from support.sessions import server_here


@dataclass
class Balanced:
    """Two nodes of one data folder, with certificates of two authorities, behind one address."""

    proxy: FaultProxy
    nodes: list[Server]
    known: Path
    authorities: Path

    @property
    def bare(self) -> Address:
        """The address without a key."""
        return replace(self.proxy.address, host="localhost", fingerprint=None)

    @property
    def keys(self) -> list[str]:
        return [address.fingerprint or "" for node in self.nodes for address in node.addresses[:1]]

    async def move(self) -> None:
        """Have the second node be where the address leads to."""
        self.proxy.target = self.nodes[1].addresses[0]
        await self.proxy.cut()


@pytest.fixture
async def balanced(tmp_path: Path) -> AsyncIterator[Balanced]:
    await asyncio.to_thread(seed, tmp_path / "data")
    files = [issue_certificate(tmp_path / name)[0] for name in ("one", "two")]
    authorities = tmp_path / "authorities.pem"
    authorities.write_bytes(b"".join(file.read_bytes() for file in files))
    async with AsyncExitStack() as stack:
        nodes = []
        for file in files:
            for name in ("certificate.pem", "certificate.key"):
                shutil.copy(file.parent / name, tmp_path / "data" / name)
            served = server_here(tmp_path / "data", echo, plain=False, host="127.0.0.1")
            nodes.append(await stack.enter_async_context(served))
        proxy = await stack.enter_async_context(FaultProxy(nodes[0].addresses[0]))
        yield Balanced(proxy, nodes, tmp_path / "known", authorities)


def by_list(balanced: Balanced, monkeypatch: pytest.MonkeyPatch) -> Address:
    return replace(balanced.bare, fingerprint="+".join(balanced.keys))


def by_authority(balanced: Balanced, monkeypatch: pytest.MonkeyPatch) -> Address:
    monkeypatch.setenv("SSL_CERT_FILE", str(balanced.authorities))
    return balanced.bare


@pytest.mark.parametrize("trust", [by_list, by_authority])
async def test_a_session_goes_on_at_a_node_whose_key_is_trusted_as_much(
    balanced: Balanced,
    monkeypatch: pytest.MonkeyPatch,
    trust: Callable[[Balanced, pytest.MonkeyPatch], Address],
) -> None:
    address = trust(balanced, monkeypatch)
    session_blocking = await asyncio.to_thread(
        blocking.connect, address, name="ann", password=PASSWORD, known_servers=balanced.known
    )
    async with connect(address, name="ann", password=PASSWORD, known_servers=balanced.known) as session:
        assert await session.ask("one") == "one"
        await balanced.move()
        assert await session.ask("two") == "two"
        assert await asyncio.to_thread(session_blocking.ask, "two") == "two"
    await asyncio.to_thread(session_blocking.close)


async def test_no_token_goes_to_a_node_for_whose_key_nothing_speaks(
    balanced: Balanced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(balanced.authorities.parent / "one" / "authority.pem"))
    address = balanced.bare
    session_blocking = await asyncio.to_thread(
        blocking.connect, address, name="ann", password=PASSWORD, known_servers=balanced.known
    )
    async with connect(address, name="ann", password=PASSWORD, known_servers=balanced.known) as session:
        await balanced.move()
        with pytest.raises((ServerKeyUnknown, OutcomeUnknown)):  # it may have been on its way already
            await session.ask("one")
        with pytest.raises(ServerKeyUnknown):
            await session.ask("two")
    with pytest.raises((ServerKeyUnknown, OutcomeUnknown)):
        await asyncio.to_thread(session_blocking.ask, "one")
    with pytest.raises(ServerKeyUnknown):
        await asyncio.to_thread(session_blocking.ask, "two")
    await asyncio.to_thread(session_blocking.close)
    log = balanced.nodes[1].log_path.read_text("utf-8")
    assert "resumed" not in log
