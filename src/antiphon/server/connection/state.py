"""States of a connection, and what is allowed in each."""

from enum import Enum


class State(Enum):
    """From accept to close, in this order; no state comes back.

    ======== ======= ===== =============================================================================
    state    handles sends
    ======== ======= ===== =============================================================================
    ENTRY    yes     yes   not signed in; the admission limits count the connection
    SESSION  yes     yes   it holds a session
    DRAINING yes     yes   the server has asked for a BYE; what the client sends before that is answered
    LEAVING  no      yes   BYE has come: what came before it is still answered, nothing after it is read
    CLOSING  no      no    the last words are on their way; the peer has a while to read them
    CLOSED   no      no    the transport is gone, or was aborted
    ======== ======= ===== =============================================================================
    """

    ENTRY = 0, True, True
    SESSION = 1, True, True
    DRAINING = 2, True, True
    LEAVING = 3, False, True
    CLOSING = 4, False, False
    CLOSED = 5, False, False

    def __init__(self, order: int, handles: bool, sends: bool) -> None:  # noqa: FBT001 - the columns of the table
        """Read a row of the table."""
        self.order = order
        self.handles = handles
        """Frames from the peer are handled."""
        self.sends = sends
        """Frames may be sent to the peer."""
