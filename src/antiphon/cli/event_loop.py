"""The event loop of a command: asyncio's own, or uvloop's where speed counts."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from antiphon import streams
from antiphon.errors import OutputFailed

TERMINATED = 128 + signal.SIGTERM
"""Exit code after SIGTERM, the convention of shells."""


def run_loop(main: Coroutine[Any, Any, int], *, fast: bool = False, leaves: bool = False) -> int:
    """Run `main` in a new event loop and return its exit code.

    Args:
        main: the command.
        fast: use uvloop, which takes 0.05 s to load.
        leaves: cancel `main` at SIGTERM, as Ctrl-C does, so that a client says goodbye; the exit code is then 143.

    Raises:
        OutputFailed: output failed somewhere, and `main` was cancelled because of it.
    """
    factory = None
    if fast and sys.platform != "win32":
        import uvloop  # noqa: PLC0415 - only commands that ask for it pay for loading it

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        whole = _until_output_fails(main)
        return runner.run(_leaving_at_sigterm(whole) if leaves else whole)


async def _leaving_at_sigterm(main: Coroutine[Any, Any, int]) -> int:
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(main)
    terminated = False

    def leave() -> None:
        nonlocal terminated
        terminated = True
        running.cancel()

    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; not the main thread
        loop.add_signal_handler(signal.SIGTERM, leave)
    try:
        return await running
    except asyncio.CancelledError:
        if terminated and running.cancelled():
            return TERMINATED
        raise
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGTERM)


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
