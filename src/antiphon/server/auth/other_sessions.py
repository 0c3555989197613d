"""End of all other sessions of an account, asked for inside one of them (END_OTHERS)."""

from antiphon.errors import FrameUnexpected, PasswordDue
from antiphon.observe.log import ServerLog
from antiphon.server.auth.admission import Reply
from antiphon.server.peer import Peer
from antiphon.server.session.holder import Session
from antiphon.server.session.manager import SessionManager
from antiphon.wire.bodies import OthersEnded
from antiphon.wire.kinds import Kind


async def end_others(session: Session, peer: Peer, sessions: SessionManager, log: ServerLog) -> Reply:
    """End all other sessions of the account of `session`, which `peer` holds.

    Raises:
        FrameUnexpected: the session has no account. The sessions of its address may be other people's.
        PasswordDue: a new password must be chosen first, which ends them too.
        SessionEnded: the session is over, or another process has it.
    """
    if session.account_id <= 0:
        raise FrameUnexpected(kind=Kind.END_OTHERS.name)
    if session.must_change:
        raise PasswordDue
    ended = await sessions.end_others(session)
    log.info("others-ended", name=session.name, address=peer.address, sessions=ended)
    return Reply(Kind.END_OTHERS, OthersEnded(sessions=ended))
