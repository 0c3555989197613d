"""The event loop of a command: asyncio's own, or uvloop's where speed counts."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

from antiphon import streams
from antiphon.errors import OutputFailed


def run_loop(main: Coroutine[Any, Any, int], *, fast: bool = False) -> int:
    """Run `main` in a new event loop and return its exit code; `fast` uses uvloop, which takes 0.05 s to load.

    Raises:
        OutputFailed: output failed somewhere, and `main` was cancelled because of it.
    """
    factory = None
    if fast and sys.platform != "win32":
        import uvloop  # noqa: PLC0415 - only commands that ask for it pay for loading it

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_until_output_fails(main))


async def _until_output_fails(main: Coroutine[Any, Any, int]) -> int:
    task, failures = asyncio.current_task(), list[OutputFailed]()
    assert task is not None

    def stop(error: OutputFailed) -> None:
        if not failures:
            task.cancel()
        failures.append(error)

    with streams.stopped_by(stop):
        try:
            code = await main
        except BaseException:  # the cancellation, or what it has led to
            if failures:
                raise failures[0] from None
            raise
    if failures:
        raise failures[0]
    return code
