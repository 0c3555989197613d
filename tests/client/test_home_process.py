"""Sessions in a process that was forked: every use raises a clear error, and leaving touches nothing."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antiphon.blocking import connect
from antiphon.client.aio.connect import connect as connect_aio
from antiphon.errors import AntiphonError
from support.processes import PASSWORD, ServerProcess
from support.serving import seed

BELONGS = "This session belongs to the process that opened it."


@pytest.fixture(params=["tcp", "tls"])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    seed(tmp_path / "data")
    with ServerProcess(tmp_path / "data", *(["--plain"] if request.param == "tcp" else [])) as server:
        yield server


def in_child(do: Callable[[], object]) -> str:
    """Run `do` in a fork of this process; return what it returned, or the error that it raised."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(20)
            try:
                told = repr(do())
            except AntiphonError as error:
                told = f"{type(error).__name__}: {error}"
            os.write(writing, told.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told_here:
        told = told_here.read()
    os.waitpid(child, 0)
    return told


def test_a_child_cannot_use_a_blocking_session_and_the_parent_goes_on(server: ServerProcess) -> None:
    with connect(server.address, name="ann", password=PASSWORD, timeout=60) as session:
        assert session.ask("before") == "before"
        waiting = session.ask_stream("a stream that is open at the fork")
        uses: list[Callable[[], object]] = [
            lambda: session.ask("the child's"),
            lambda: session.send("the child's"),
            lambda: session.receive(timeout=1),
            lambda: list(session.ask_many(["the child's"])),
            lambda: next(waiting),
            session.heartbeat,
        ]
        for use in uses:
            assert in_child(use).startswith(f"UsageError: {BELONGS}")
        for number in range(3):
            assert session.ask(f"after {number}") == f"after {number}"
        assert list(waiting) == ["a stream that is open at the fork"]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_a_child_that_leaves_a_blocking_session_touches_nothing(
    server: ServerProcess, error: type[BaseException] | None
) -> None:
    with connect(server.address, name="ann", password=PASSWORD, timeout=60, give_up=0) as session:
        stream = session.ask_stream("not read")

        def leave() -> None:
            stream.close()  # type: ignore[attr-defined] # a generator
            session.__exit__(error, None, None)

        assert in_child(leave) == "None"
        assert session.ask("after") == "after"
        assert list(stream) == ["not read"]


def test_a_child_cannot_use_a_session_of_the_asyncio_client(server: ServerProcess) -> None:
    async def scene() -> None:
        async with connect_aio(server.address, name="ann", password=PASSWORD, give_up=0) as session:
            assert await session.ask("before") == "before"

            assert in_child(lambda: asyncio.run(session.ask("the child's"))).startswith(f"UsageError: {BELONGS}")
            assert in_child(lambda: asyncio.run(session.leave())) == "None"
            assert await session.ask("after") == "after"

    asyncio.run(scene())


def test_a_child_that_connects_itself_has_a_session_of_its_own(server: ServerProcess) -> None:
    with connect(server.address, name="ann", password=PASSWORD, timeout=60) as session:

        def ask() -> object:
            with connect(server.address, name="ann", password=PASSWORD, timeout=60) as own:
                return own.ask("the child's")

        assert in_child(ask) == repr("the child's")
        assert session.ask("after") == "after"
