"""What a service is: a function from a message to its answer."""

from collections.abc import Awaitable, Callable

Answer = str | bytes | None
"""Text, bytes, or None for "no answer"."""

Handler = Callable[[str | bytes], Answer | Awaitable[Answer]]
"""Takes one message and returns its answer, at once or as a coroutine.

The messages of one session come one at a time and in order. What it raises reaches the log, and the asker as
the generic error `service-failed`; the session goes on.
"""
