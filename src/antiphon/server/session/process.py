"""Listing of this process among those that share the store: only then do its connections hold their sessions."""

import contextlib
import os
from collections.abc import AsyncIterator
from datetime import datetime

from antiphon.errors import AntiphonError
from antiphon.store.contracts import Processes, ProcessRecord


@contextlib.asynccontextmanager
async def listed(processes: Processes, id: str, at: datetime) -> AsyncIterator[None]:
    """List this process under its `id`, started at the time `at`, for the length of a block.

    Raises:
        TryLater: the store does not answer.
    """
    record = ProcessRecord(
        id=id,
        pid=os.getpid(),
        started_at=at,
        beat=0,
        relay_address="",
        relay_version=0,
        service="",
        limits="",
    )
    await processes.enter(record)
    try:
        yield
    finally:
        with contextlib.suppress(AntiphonError):  # a store that is away
            await processes.remove(id)
