"""Announcement of a server: the data folder, the port file and the log are told where it listens."""

from collections.abc import Sequence

from antiphon.address import Address
from antiphon.data.folder import DataFolder
from antiphon.files import write_atomically
from antiphon.observe.log import ServerLog
from antiphon.server.listen.ports import Listening
from antiphon.settings import ServerSettings


def announce(
    folder: DataFolder,
    log: ServerLog,
    settings: ServerSettings,
    listening: Listening,
    addresses: Sequence[Address],
    *,
    registration: bool,
) -> None:
    """Tell where a server listens; `registration` says whether it takes new names.

    Raises:
        FolderUnusable: a file cannot be written.
    """
    if settings.port:  # where it was pushed to, or what was free, is not where it should start next time
        folder.last_port = settings.port
    folder.last_address = addresses[0]
    if settings.port_file is not None:
        write_atomically(settings.port_file, f"{listening.port}\n".encode())
    log.info(
        "listening",
        port=listening.port,
        moved_from=listening.moved_from,
        addresses=[str(address) for address in addresses],
        access=settings.access,
        registration="open" if registration else "closed",
    )
