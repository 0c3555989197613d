"""Standard streams: pipes that do not block, short writes, closed and full streams, and where they fail."""

import contextlib
import errno
import os
import sys
import threading

import pytest

from antiphon import streams
from antiphon.cli.event_loop import run_loop
from antiphon.errors import OutputClosed, OutputFailed
from support.streams import pipe


def test_a_write_goes_on_until_everything_is_written() -> None:
    data = bytes(range(256)) * 4096
    with pipe(blocking=False) as (reading, writing):
        read: list[bytes] = []
        reader = threading.Thread(target=lambda: read.append(streams.read_all(reading)))
        with contextlib.suppress(BlockingIOError):
            while True:  # full, so that the write begins with a wait
                os.write(writing, b"-" * 4096)
        reader.start()
        streams.write_whole(writing, data)
        os.close(writing)
        reader.join()
        assert read[0].lstrip(b"-") == data


def test_a_pause_is_not_the_end() -> None:
    with pipe(blocking=False) as (reading, writing):
        read: list[bytes] = []
        reader = threading.Thread(target=lambda: read.extend(iter(lambda: streams.read_some(reading, 100), b"")))
        reader.start()
        for line in (b"one\n", b"two\n"):
            os.write(writing, line)
            while b"".join(read)[-4:] != line:
                assert reader.is_alive()
        os.close(writing)
        reader.join()
        assert b"".join(read) == b"one\ntwo\n"


def test_no_more_is_read_than_asked_for() -> None:
    with pipe(blocking=True) as (reading, writing):
        os.write(writing, b"123456")
        assert streams.read_all(reading, 4) == b"1234"


@pytest.mark.parametrize(
    ("path", "kind", "told"),
    [
        (
            "/dev/full",
            OutputFailed,
            "Standard output cannot be written: the disk is full. Not everything was shown.",
        ),
        (None, OutputClosed, "Standard output has no reader any more."),
    ],
)
def test_a_write_that_fails_is_told(
    monkeypatch: pytest.MonkeyPatch, path: str | None, kind: type[OutputFailed], told: str
) -> None:
    with pipe(blocking=True) as (reading, writing):
        os.close(reading)
        descriptor = writing if path is None else os.open(path, os.O_WRONLY)
        with open(descriptor, "w", closefd=path is not None, encoding="utf-8") as stream:
            monkeypatch.setattr(sys, "stdout", streams._whole(stream))
            for _ in range(2):  # nothing is kept that could fail again, or appear late
                with pytest.raises(kind) as caught:
                    streams.stdout.line("hello")
                assert str(caught.value).startswith(told)
            sys.stdout.flush()


def failing() -> None:
    raise OutputFailed(stream="x", problem=os.strerror(errno.EIO))


def test_output_that_fails_in_a_callback_ends_the_command_and_raises_nothing_there() -> None:
    """A connection would take what a callback raises for its own end."""
    import asyncio

    went_on: list[str] = []

    def callback() -> None:
        with streams.ends_command():
            failing()
        went_on.append("callback")

    async def command() -> int:
        asyncio.get_running_loop().call_soon(callback)
        try:
            await asyncio.Event().wait()
        finally:
            went_on.append("cleaned up")
        return 0

    with pytest.raises(OutputFailed):
        run_loop(command())
    assert went_on == ["callback", "cleaned up"]


def test_a_command_that_ends_all_the_same_has_failed() -> None:
    async def command() -> int:
        with streams.ends_command():
            failing()
        return 0

    with pytest.raises(OutputFailed):
        run_loop(command())
