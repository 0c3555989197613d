"""Programs as services (`exec:`): commands, questions to them, and the processes below them."""

import time
from functools import partial
from pathlib import Path

from antiphon.wire.conversation import Control
from antiphon.wire.frames import Frame
from antiphon.wire.kinds import Kind
from support.raw import RawClient


def shell(script: str) -> str:
    """Return a command that runs a shell script, which must not contain a single quote."""
    return f"sh -c '{script}'"


def asked(client: RawClient, message: str | bytes) -> int:
    """Send a message; return its id."""
    id, data = client.conversation.message(message)
    client.send(data)
    return id


def said(client: RawClient, count: int) -> list[tuple[int, object]]:
    """Return the next frames: the id, and the payload, the code of an ERROR, or None for END."""
    frames: list[tuple[int, object]] = []
    while len(frames) < count:
        event = client.next()
        if isinstance(event, Control):
            frames.append((event.id, getattr(event.body, "code", event.body)))
        elif isinstance(event, Frame) and event.kind != Kind.HEARTBEAT:
            frames.append((event.id, event.payload if event.kind == Kind.MESSAGE else None))
    return frames


def ask(client: RawClient, message: str) -> object:
    """Return the only answer to a message, or None; check that its END follows."""
    id = asked(client, message)
    answers = []
    while (frame := said(client, 1)[0]) != (id, None):
        assert frame[0] == id, frame
        answers.append(frame[1])
    assert len(answers) <= 1, answers
    return answers[0] if answers else None


def until_gone(*pids: int) -> None:
    """Wait until no such process is left, except zombies that were not reaped yet."""
    ends = time.monotonic() + 60
    while any(map(alive, pids)):
        assert time.monotonic() < ends, [pid for pid in pids if alive(pid)]
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with_parent = partial((entry / "stat").read_text)
            try:
                parents[int(entry.name)] = int(with_parent().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def in_a_group(pid: int) -> bool:
    """Return whether a program runs in a control group of its own."""
    return "/antiphon-" in Path(f"/proc/{pid}/cgroup").read_text()


def keeper_of(watcher: int) -> int:
    """Return the process above the one that has started a program."""
    return int(Path(f"/proc/{watcher}/stat").read_text().rpartition(")")[2].split()[1])
