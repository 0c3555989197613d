"""Chat clients over sockets: what each sends, its answers and its pushes."""

import socket
import struct

from antiphon.wire.frames import Frame
from antiphon.wire.kinds import Flag, Kind
from support.raw import RawClient

WELCOME = "You speak in lobby now. /help tells what else you can do."


class ChatClient:
    """A client in the chat; `heard` holds its pushes in order."""

    def __init__(self, client: RawClient, welcome: str = WELCOME) -> None:
        """Use an open session; wait for the chat's greeting, unless `welcome` is empty."""
        self.client = client
        self.heard: list[str] = []
        self.frames = 0
        """Number of frames received in the session, as RESUME counts them."""
        if welcome:
            self.hears(welcome)

    def next(self) -> Frame:
        """Return the next frame that is not a heartbeat."""
        while True:
            event = self.client.next()
            assert isinstance(event, Frame), event
            if event.kind != Kind.HEARTBEAT:
                self.frames += 1
                return event

    def send(self, *messages: str) -> int:
        """Send lines in one write; return the id of the last."""
        pairs = [self.client.conversation.message(message) for message in messages]
        self.client.send(b"".join(data for _, data in pairs))
        return pairs[-1][0]

    def say(self, *messages: str) -> list[str]:
        """Send lines; return the answers to the last."""
        id = self.send(*messages)
        answers: list[str] = []
        while True:
            frame = self.next()
            if frame.id == 0:
                self.heard.append(str(frame.payload))
            elif frame.id == id:
                if frame.kind == Kind.MESSAGE:
                    answers.append(str(frame.payload))
                if frame.kind != Kind.MESSAGE or frame.flags & Flag.LAST:
                    return answers

    def hears(self, line: str) -> None:
        """Read until a line has been pushed; return at once if it was pushed before."""
        while line not in self.heard:
            frame = self.next()
            assert frame.id == 0, frame
            self.heard.append(str(frame.payload))

    def cut(self) -> None:
        """Reset the connection: over plain TCP, closing it would look like a half-close."""
        self.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.sock.close()
