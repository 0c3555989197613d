"""Services for the benchmark: echoes that differ only in how they wait before they answer."""

import asyncio

import msgspec

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


class Count(msgspec.Struct):
    """A message of one field."""

    count: int


class Order(msgspec.Struct):
    """A message of four fields: 64 bytes of JSON, as `typed.py` sends it."""

    item: str
    count: int
    urgent: bool
    note: str


_decode, _encode = msgspec.json.Decoder(Order).decode, msgspec.json.Encoder().encode


def by_hand(message: str) -> str:
    """Answer an `Order` with itself, decoded and encoded by the handler."""
    return _encode(_decode(message)).decode()


def small(count: Count) -> Count:
    """Answer a value with itself."""
    return count


def typed(order: Order) -> Order:
    """Answer a value of four fields with itself."""
    return order
