"""Public names of the blocking client, and of framed sockets, which speak to any peer."""

from antiphon.client.blocking.connect import connect
from antiphon.client.blocking.framed import FramedSocket, FramedTlsSocket
from antiphon.client.blocking.session import Session
from antiphon.client.protocol.info import SessionInfo
from antiphon.identity.passwords import Password

__all__ = ["FramedSocket", "FramedTlsSocket", "Password", "Session", "SessionInfo", "connect"]
