"""Keeps HELLO true about imported accounts: whether any are left, for the whole server and never for one name.

Clients try the digest of an old system only while there are (docs/decisions/server-auth.md).
"""

import asyncio

from msgspec.structs import replace

from antiphon.errors import TryLater
from antiphon.server.context import ServerContext
from antiphon.wire.bodies import Hello
from antiphon.wire.conversation import ServerConversation

LOOK_SECONDS = 5.0
"""Pause between two looks: short beside the way from the import of accounts to the first sign-in."""


class Imports:
    """Looks for imported accounts again and again."""

    def __init__(self, context: ServerContext, hello: Hello) -> None:
        """Keep the frame of `hello` in `context`."""
        self._context = context
        self._hello = hello

    async def run(self) -> None:
        """Look until cancelled; nothing that goes wrong is the end of it."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except TryLater:
                pass  # what was known last holds; whoever signs in meets the store itself
            except Exception:  # without this task clients would never learn
                self._context.log.exception("fault")

    async def look(self) -> None:
        """Say in HELLO what the store says now.

        Raises:
            TryLater: the store does not answer.
        """
        context = self._context
        remain = await context.accounts.imports(context.clock())
        context.hello = ServerConversation().hello(replace(self._hello, imports=remain))
