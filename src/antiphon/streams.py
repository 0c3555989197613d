"""Standard streams: all that a command prints is written whole or ends the command; input ends at its end only.

Every command and the terminal client print through `stdout` and `stderr` and read through `read_some`. A stream
may be non-blocking, take a part of the bytes, be closed or be full:

- A write goes on after a part was taken, and waits while the stream takes nothing.
- A write that fails raises `OutputFailed`, or `OutputClosed` if the reader has gone. The command ends with exit
  code 1.
- Code that runs in a callback of the event loop prints within `ends_command`: nothing is raised there, since the
  caller would take it for an error of its own. Instead the command is stopped, and then raises the error.
"""

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from typing import TextIO, cast

from antiphon.errors import OutputClosed, OutputFailed, Problem
from antiphon.files import problem_of
from antiphon.language import N_
from antiphon.wrapping import wrapped

_GONE = {errno.EPIPE, errno.ESHUTDOWN}
_NAMES = {"stdout": Problem(N_("Standard output")), "stderr": Problem(N_("Standard error"))}


def write_whole(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however little the descriptor takes at a time; wait while it takes nothing.

    Raises:
        OSError: it cannot be written; a part may have been.
    """
    rest = memoryview(data).cast("B")
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            _wait_for(descriptor, select.POLLOUT)


def read_some(descriptor: int, size: int) -> bytes:
    """Return at most `size` bytes, as soon as there are any; empty bytes mean the end, and nothing else does.

    Raises:
        OSError: it cannot be read.
    """
    while True:
        try:
            return os.read(descriptor, size)
        except BlockingIOError:  # a pause of a non-blocking pipe
            _wait_for(descriptor, select.POLLIN)


def read_all(descriptor: int, most: int | None = None) -> bytes:
    """Return everything up to the end; with `most`, stop after that many bytes.

    Raises:
        OSError: it cannot be read to its end.
    """
    data = bytearray()
    while (most is None or len(data) < most) and (chunk := read_some(descriptor, io.DEFAULT_BUFFER_SIZE)):
        data += chunk
    return bytes(data if most is None else data[:most])


def _wait_for(descriptor: int, event: int) -> None:
    waiting = select.poll()
    waiting.register(descriptor, event)
    waiting.poll()


class WholeWrites(io.RawIOBase):
    """A descriptor as a file to print to: a write returns when all of it is written. Nothing is held back."""

    def __init__(self, descriptor: int) -> None:
        """Write to `descriptor`, which stays open."""
        self._descriptor = descriptor
        self.error: OSError | None = None
        """The error of the last write that failed."""
        self.replaced: TextIO | None = None
        """The stream in whose place this one is, kept because its end would close the descriptor."""

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override] # any buffer
        """Write all of `data`; raise OSError if that fails."""
        try:
            write_whole(self._descriptor, data)
        except OSError as error:
            self.error = error
            raise
        return len(data)


def take_over() -> None:
    """Make Python's standard streams fit for a command, whatever this process was started with.

    They use UTF-8 in any locale. A closed stream is opened on the null device: otherwise the next opened file
    would get its descriptor. Standard output and standard error write whole (`WholeWrites`): what a library
    prints, such as `--help`, is not lost either, and nothing is left for Python to write at its exit.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - it stays open
    cast("io.TextIOWrapper", sys.stdin).reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.stdout, sys.stderr = _whole(sys.stdout), _whole(sys.stderr)


def _whole(stream: TextIO) -> io.TextIOWrapper:
    stream.flush()
    raw = WholeWrites(stream.fileno())
    raw.replaced = stream
    return io.TextIOWrapper(
        cast("io.BufferedWriter", raw),  # it need not be buffered: a write is whole
        encoding="utf-8",
        errors="backslashreplace",
        newline="\n",
        write_through=True,
    )


class Output:
    """Standard output or standard error, as `sys` has it at each write."""

    def __init__(self, name: str) -> None:
        """Write to the stream `name` of `sys`."""
        self._name = name

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return bool(getattr(sys, self._name).isatty())

    def columns(self) -> int | None:
        """Return the width of the terminal; None if this is no terminal, or one that does not know its width."""
        try:
            return os.get_terminal_size(getattr(sys, self._name).fileno()).columns or None
        except (OSError, ValueError):  # no terminal; no descriptor, or a closed one
            return None

    def fitted(self, text: str, hang: int = 0) -> str:
        """Return a line with line ends between words where the terminal ends; elsewhere as it is.

        Later lines are indented as the first one is, and `hang` columns more.
        """
        columns = self.columns()
        return text if columns is None else "\n".join(wrapped(text, columns, hang))

    def line(self, text: str) -> None:
        """Write `text` and a line end, as in `write`."""
        self.write(text + "\n")

    def write(self, data: str | bytes) -> None:
        """Write text, or bytes as they are, and return when all of it is written.

        Raises:
            OutputClosed: the reader has gone.
            OutputFailed: it cannot be written for another reason.
        """
        stream = getattr(sys, self._name)
        try:
            if isinstance(data, str):
                stream.write(data)
            else:
                stream.buffer.write(data)
                stream.buffer.flush()
            stream.flush()
        except OSError as error:
            raise self.failed(error) from error

    def failed(self, error: OSError) -> OutputFailed:
        """Return the error for people that `error` means."""
        kind = OutputClosed if error.errno in _GONE else OutputFailed
        return kind(stream=_NAMES[self._name], problem=problem_of(error))

    def raised(self, error: OSError) -> bool:
        """Return whether a write to this stream raised `error`."""
        raw = getattr(getattr(sys, self._name), "buffer", None)
        return isinstance(raw, WholeWrites) and raw.error is error


stdout = Output("stdout")
stderr = Output("stderr")


def failure_of(error: OSError) -> OutputFailed | None:
    """Return the error for people if `error` comes from a library's write to a standard stream, else None."""
    return next((output.failed(error) for output in (stdout, stderr) if output.raised(error)), None)


class _Command:
    """The command that runs in this process, if it has an event loop."""

    stop: Callable[[OutputFailed], None] | None = None


_command = _Command()


@contextlib.contextmanager
def stopped_by(stop: Callable[[OutputFailed], None]) -> Iterator[None]:
    """Call `stop` during the block when output fails within `ends_command`."""
    before, _command.stop = _command.stop, stop
    try:
        yield
    finally:
        _command.stop = before


@contextlib.contextmanager
def ends_command() -> Iterator[None]:
    """Stop the command if output fails in the block; do not raise.

    Print so from callbacks of the event loop and from what a connection calls: raised there, the error would be
    taken for a lost connection.
    """
    try:
        yield
    except OutputFailed as error:
        if _command.stop is None:
            raise
        _command.stop(error)
