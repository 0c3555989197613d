"""Node: what this process needs to relay to and from other machines on the same database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from antiphon.address import relay_place
from antiphon.data.keyring import LiveKeyRing
from antiphon.observe.log import ServerLog
from antiphon.observe.repeats import Repeats
from antiphon.server.forking import give_up_socket
from antiphon.server.nodes.certificate import make_certificate
from antiphon.server.nodes.ends import KeysOf
from antiphon.server.nodes.listener import NodePlace, listen


@dataclass(frozen=True)
class Node:
    """What other nodes see of this process."""

    place: NodePlace
    keys: KeysOf
    repeats: Repeats
    """where refusals and failures are written"""


@contextlib.asynccontextmanager
async def open_node(relay_address: str | None, ring: LiveKeyRing, log: ServerLog) -> AsyncIterator[Node | None]:
    """Listen at the `--relay-address`, whose form was checked, in the block. Without one this gives None.

    Raises:
        RelayPortsTaken: none of its ports is free.
    """
    place = None if relay_address is None else relay_place(relay_address)
    if place is None:
        yield None
        return
    certificate = await asyncio.to_thread(make_certificate)
    sock, address = await asyncio.to_thread(listen, *place)
    with sock:
        give_up_socket(sock)
        repeats = Repeats(log)
        try:
            yield Node(NodePlace(sock, address, certificate), ring.proof_keys, repeats)
        finally:
            repeats.finish()
