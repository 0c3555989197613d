"""What Antiphon serves while it is measured: echoes that differ in nothing but how they come to their answer."""

import asyncio

TIMER_SECONDS = 0.001
"""The shortest time that uvloop waits for; anything shorter is no timer to it."""


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
    """Answer with what comes out of a queue in the loop's next step."""
    waiting: asyncio.Queue[str | bytes] = asyncio.Queue()
    asyncio.get_running_loop().call_soon(waiting.put_nowait, message)
    return await waiting.get()
