"""Abuse of a chat by one person: not reading, and sending too much."""

import contextlib
import socket
from pathlib import Path
from typing import Any

from antiphon.services import Chat
from antiphon.wire.kinds import KIB
from support.chat_clients import ChatClient
from support.serving import seed, serving

TALKERS = 20
TEXT = "x" * 900
HELD = 1024 * KIB
"""Bytes that the server may hold for one who does not read: what waits to be sent (512 KiB, and what one text may
add), and what is kept for when they come back (256 KiB)."""


def test_one_who_does_not_read_is_cut_in_bounded_memory_and_nobody_else_loses_a_line(tmp_path: Path) -> None:
    names = [f"user{number}" for number in range(TALKERS)]
    tokens = {name: seed(tmp_path / "data", name)[0] for name in [*names, "stalled"]}
    chat = Chat(at_once=1_000_000)
    with (
        serving(tmp_path / "data", chat, plain=True, write_seconds=1) as server,
        contextlib.ExitStack() as stack,
    ):
        talkers = [ChatClient(stack.enter_context(server.session(tokens[name]))) for name in names]
        stack.enter_context(server.session(tokens["stalled"]))
        for talker in talkers:
            talker.hears("[lobby] -- stalled has joined")

        def held() -> int | None:
            """Return the bytes that wait for the stalled one, None once they are cut."""
            (channel,) = (each for each in server.server._host.channels if each.shown.name == "stalled")
            connection: Any = channel._connection
            if connection is None:
                return None
            sock = connection._writer.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * KIB)  # full before long
            return sum(map(len, channel.replay.frames())) + int(connection._writer.waiting)

        most = said = 0
        while (holds := server.read(lambda _: held())) is not None:
            most = max(most, holds)
            speaker = talkers[said // 100 % 2]
            speaker.say(*(f"{number} {TEXT}" for number in range(said, said + 100)))
            said += 100
            for talker in talkers[2:]:
                talker.hears(f"[lobby] {names[(said // 100 - 1) % 2]}: {said - 1} {TEXT}")
        assert 0 < most < HELD
        expected = [f"[lobby] user{number // 100 % 2}: {number} {TEXT}" for number in range(said)]
        for talker in talkers[2:]:
            assert [line for line in talker.heard if line.endswith(TEXT)] == expected
        assert talkers[0].say("/who")[0].endswith(", stalled")  # its connection is closed, and its return awaited
    assert server.log().count("peer-too-slow") == 1
