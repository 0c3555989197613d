"""End of a person's other sessions, on request at the prompt."""

from antiphon.client.aio.session import ClientSession
from antiphon.errors import AntiphonError
from antiphon.terminal.console import Console


async def end_other_sessions(console: Console, session: ClientSession) -> None:
    """End all other sessions of the account and tell how many; a refusal is told, and the session goes on."""
    try:
        ended = await session.end_others()
    except AntiphonError as error:
        if not session.over:  # else the line loop tells the reason
            console.tell_error(error)
        return
    console.tell(console.translations.gettext("Sessions ended: {count}.").format(count=ended))
