"""Invitations, written to a data folder as `antiphon invite` does."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from antiphon.address import Address
from antiphon.data.folder import DataFolder
from antiphon.identity.invitations import Code, fingerprint
from antiphon.identity.names import prepare
from antiphon.store.sql import open_sqlite

ADDRESS = Address("tcp", "localhost", 7862)


def invite(folder: Path, *names: str, address: Address = ADDRESS, days: float = 7) -> list[Code]:
    """Invite `names` to the server at `address` with the data folder `folder`; return their codes."""
    return asyncio.run(_invite(folder, names, address, timedelta(days=days)))


async def _invite(folder: Path, names: Sequence[str], address: Address, time: timedelta) -> list[Code]:
    data = DataFolder.open(folder)
    key = data.key_ring(secrets.token_bytes).token_key
    store = await open_sqlite(data.path)
    codes = [Code.make(replace(address, name=name), secrets.token_bytes) for name in names]
    now = datetime.now(UTC)
    try:
        for name, code in zip(names, codes, strict=True):
            mark = fingerprint(code.secret, key)
            await store.invitations.invite(mark, prepare(name), now, now + time, "test")
    finally:
        await store.close()
    return codes
