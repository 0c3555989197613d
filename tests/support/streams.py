"""Standard streams as tests need them: files of given bytes, and pipes that do not block."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def file_of(content: bytes) -> Iterator[TextIO]:
    """Yield a real file that holds `content`, to be read from its beginning."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        with open(file.fileno(), encoding="utf-8", closefd=False) as text:
            yield text


@contextlib.contextmanager
def pipe(*, blocking: bool) -> Iterator[tuple[int, int]]:
    """Yield a pipe's reading end and writing end; both are closed at the end if the test has not done so."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, blocking)
    try:
        yield ends
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                os.close(end)
