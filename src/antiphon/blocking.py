"""The public names of the blocking client, and of framed sockets for any peer."""

from antiphon.client.blocking import Session, connect
from antiphon.client.framed import FramedSocket, FramedTlsSocket
from antiphon.client.info import SessionInfo
from antiphon.identity.passwords import Password

__all__ = ["FramedSocket", "FramedTlsSocket", "Password", "Session", "SessionInfo", "connect"]
