"""Public names of the blocking client, and of framed sockets, which speak to any peer."""

from antiphon.client.blocking_entry import connect
from antiphon.client.blocking_session import Session
from antiphon.client.framed import FramedSocket, FramedTlsSocket
from antiphon.client.info import SessionInfo
from antiphon.identity.passwords import Password

__all__ = ["FramedSocket", "FramedTlsSocket", "Password", "Session", "SessionInfo", "connect"]
