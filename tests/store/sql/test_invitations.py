"""Invitations that several servers share."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from antiphon.errors import InvitationUsed
from antiphon.identity.names import prepare
from antiphon.store.contracts import Account
from antiphon.store.sql import open_sqlite

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_of_twenty_at_two_servers_at_once_one_uses_the_invitation(tmp_path: Path) -> None:
    stores = [await open_sqlite(tmp_path) for _ in range(2)]
    await stores[0].invitations.invite(b"mark", prepare("ann"), NOON, NOON + timedelta(days=1), "root")
    outcomes = await asyncio.gather(
        *(
            stores[number % 2].accounts.register(
                prepare("ann"), lambda account, _: b"%d" % account, "type", NOON, "::1", invitation=b"mark"
            )
            for number in range(20)
        ),
        return_exceptions=True,
    )
    for store in stores:
        await store.close()
    assert sum(isinstance(outcome, Account) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, InvitationUsed) for outcome in outcomes) == 19
