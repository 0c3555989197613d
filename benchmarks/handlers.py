"""Services for the benchmark: echoes that differ only in how they wait before they answer."""

import asyncio

TIMER_SECONDS = 0.001
"""The resolution of uvloop's timers: a shorter sleep does not wait."""


def plain(message: str | bytes) -> str | bytes:
    """Answer at once."""
    return message


async def at_once(message: str | bytes) -> str | bytes:
    """Answer at once, from a coroutine."""
    return message


async def timer(message: str | bytes) -> str | bytes:
    """Answer after a timer."""
    await asyncio.sleep(TIMER_SECONDS)
    return message


async def queue(message: str | bytes) -> str | bytes:
    """Answer from a queue, which the event loop fills in its next iteration."""
    waiting: asyncio.Queue[str | bytes] = asyncio.Queue()
    asyncio.get_running_loop().call_soon(waiting.put_nowait, message)
    return await waiting.get()
