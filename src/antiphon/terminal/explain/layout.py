"""Layout of a frame in `--explain`: header, rows of bytes, text; secret bytes are stars."""

import re
from collections.abc import Iterator

from antiphon.printable import printable
from antiphon.wire.frames import HEADER_SIZE
from antiphon.wrapping import width_of

JSON_WIDTH = 96
"""Characters of JSON on one line, where no terminal says otherwise."""
ROWS = (16, 8, 4)
"""Numbers of bytes in a row of the dump; the first one that fits is taken."""
GROUP = 8
"""Bytes of a row between wider gaps."""
_STARS = b"***"
HIDDEN, SPOILED = 1, 2
"""Marks of a byte: secret; secret, and different from the byte of the session's token at this place."""


def header_lines(frame: bytes, columns: int | None) -> list[str]:
    """Return the header with each field named, broken between two fields where a line ends."""
    parts = (("length", 0, 4), ("kind", 4, 5), ("flags", 5, 6), ("reserved", 6, 8), ("id", 8, 12))
    return _joined([f"{name} {frame[begin:end].hex(' ')}" for name, begin, end in parts], " | ", columns)


def dump(body: bytes, mask: bytearray, columns: int | None) -> Iterator[str]:
    """Yield a body in rows, much as `hexdump -C` shows it; secret bytes are stars in both columns.

    Each row begins with the place of its first byte in the frame.
    """
    size = next((size for size in ROWS if columns is None or _row_width(size) <= columns), ROWS[-1])
    for at in range(0, len(body), size):
        pairs = list(zip(body[at : at + size], mask[at : at + size], strict=True))
        digits = [("**", "!!")[hidden - HIDDEN] if hidden else f"{byte:02x}" for byte, hidden in pairs]
        letters = "".join(
            "*!"[hidden - HIDDEN] if hidden else chr(byte) if 0x20 <= byte < 0x7F else "."
            for byte, hidden in pairs
        )
        groups = (" ".join(digits[begin : begin + GROUP]) for begin in range(0, size, GROUP))
        hexadecimal = "  ".join(f"{group:{3 * min(size, GROUP) - 1}}" for group in groups)
        yield f"{HEADER_SIZE + at:04x}  {hexadecimal}  |{letters}|"


def _row_width(size: int) -> int:
    """Return the columns of a row: place, digits with gaps, letters between bars."""
    return 4 + 2 + 3 * size - 1 + (size > GROUP) + 2 + size + 2


def json_lines(text: str, columns: int | None) -> list[str]:
    """Return JSON as lines, broken between two fields."""
    return _joined(re.split(r'(?<=,)(?=")', text), "", columns or JSON_WIDTH) if text else []


def _joined(parts: list[str], separator: str, columns: int | None) -> list[str]:
    """Return the parts joined to lines of at most `columns` columns; a part that is longer stays whole."""
    lines = parts[:1]
    for part in parts[1:]:
        joined = lines[-1] + separator + part
        if columns is None or width_of(joined) <= columns:
            lines[-1] = joined
        else:
            lines.append(part)
    return lines


def quoted(payload: bytes, mask: bytearray, most: int) -> str:
    """Return the beginning of a payload as one line of text, with `***` for secret bytes."""
    seen = bytearray()
    for byte, hidden in zip(payload[: 4 * most], mask, strict=False):
        if not hidden:
            seen.append(byte)
        elif not seen.endswith(_STARS):
            seen += _STARS
    text = printable(seen.decode("utf-8", "backslashreplace"))
    return text[:most] + "…" if len(text) > most or len(payload) > 4 * most else text
