"""Relayed connection: a client's connection to a session whose home is here, over a socket of another process.

To the session it is one more connection. Only its beginning differs: the relaying process has said HELLO, and a
RESUME that fails here is answered there.
"""

import asyncio

from antiphon.errors import AntiphonError
from antiphon.server.auth.admission import Admission, Elsewhere, Relayed
from antiphon.server.connection.connection import Connection
from antiphon.server.connection.host import ConnectionHost
from antiphon.server.peer import Peer
from antiphon.server.relay.link import Part, RelayLink
from antiphon.server.relay.opening import refusal_of
from antiphon.wire.conversation import Control


class RelayedConnection(Connection):
    """One relayed client's connection, from OPEN to the end of its link."""

    __slots__ = ("_link",)

    def __init__(self, host: ConnectionHost, peer: Peer, accepted: tuple[float, float], link: RelayLink) -> None:
        """Start without a transport; the first bytes must be a RESUME.

        `accepted` is when the relaying process accepted it, at the earliest and at the latest; the deadlines begin
        now.
        """
        super().__init__(host, peer, asyncio.get_running_loop().time())
        self.accepted_at, self.accepted_by = accepted
        self._link = link

    def _greet(self) -> None:
        """Say nothing: the relaying process has said HELLO."""

    def _leave_entry(self) -> None:
        """Do nothing: the relaying process counts the connection until it is admitted."""

    def _refuse(self, control: Control, error: AntiphonError) -> None:
        """Have the relaying process answer its RESUME; what is refused in the session is answered from here."""
        if self._deadlines.admitted:
            super()._refuse(control, error)
            return
        self._end_event = ""
        self._link.say(Part.REFUSED, refusal_of(error))
        self._link.close()

    def _pass_on(self, control: Control, outcome: Elsewhere | Relayed) -> None:  # noqa: ARG002 - likewise
        """Have the relaying process look for the session again."""
        self._end_event = ""
        self._link.say(Part.MOVED)
        self._link.close()

    def _admit(self, id: int, admission: Admission) -> None:
        if self.state.sends:
            self._link.say(Part.ADMITTED)
        super()._admit(id, admission)
        if self._host.stopping:
            self.drain()

    def tick(self, now: float) -> None:
        """Look at the deadlines, and report what was taken."""
        self._link.report()
        super().tick(now)
