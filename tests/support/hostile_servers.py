"""Servers that break the protocol during a sign-in: every client refuses them and sends nothing more."""

import struct
from collections.abc import Callable

from antiphon.errors import (
    AntiphonError,
    FrameUnexpected,
    MechanismUnsupported,
    ProtocolError,
    ServerUnproven,
)
from antiphon.wire.frames import encode_message
from antiphon.wire.kinds import Flag, Kind
from support.fake_servers import Peer

EARLY = encode_message(1, "hello", int(Flag.LAST))
"""An answer to a message that was not sent."""


def ask_too_much(peer: Peer) -> None:
    peer.hello()
    peer.challenge(iterations=10_000_000)


def ask_too_little(peer: Peer) -> None:
    peer.hello()
    peer.challenge(iterations=1)


def say_hello_twice(peer: Peer) -> None:
    peer.hello()
    peer.control()
    peer.hello()


def send_a_huge_frame(peer: Peer) -> None:
    peer.hello()
    peer.control()
    peer.send(struct.pack(">IBBHI", 0xFFFFFFFF, Kind.CHALLENGE, 0, 0, 1))


def answer_before_the_welcome(peer: Peer) -> None:
    peer.hello()
    peer.control()
    peer.send(EARLY)


def welcome_without_a_challenge(peer: Peer) -> None:
    peer.hello()
    peer.welcome()


def sign_wrongly(peer: Peer) -> None:
    peer.hello()
    peer.challenge()
    peer.welcome()


def sign_nothing(peer: Peer) -> None:
    peer.hello()
    peer.challenge()
    peer.welcome(data=None)


def offer_nothing(peer: Peer) -> None:
    peer.hello(mechanisms=["PLAIN"])


HOSTILE: list[tuple[Callable[[Peer], None], type[AntiphonError]]] = [
    (ask_too_much, ProtocolError),
    (ask_too_little, ProtocolError),
    (say_hello_twice, ProtocolError),
    (send_a_huge_frame, ProtocolError),
    (answer_before_the_welcome, FrameUnexpected),
    (welcome_without_a_challenge, ProtocolError),
    (sign_wrongly, ServerUnproven),
    (sign_nothing, ServerUnproven),
    (offer_nothing, MechanismUnsupported),
]
"""Each fault with the error that a client raises."""
