"""Secret bytes that do not print: the base of session tokens and invitation secrets."""

from typing import Self


class HiddenBytes(bytes):
    """Secret bytes of a fixed size; `repr`, `str` and format strings show only the name of the type."""

    SIZE: int
    """Bytes; each subclass sets it."""

    def __new__(cls, value: bytes) -> Self:
        """Create the secret from `value`.

        Raises:
            ValueError: `value` does not have `SIZE` bytes; the message does not show it.
        """
        if len(value) != cls.SIZE:
            raise ValueError(f"{cls.__name__} has {cls.SIZE} bytes, not {len(value)}")
        return super().__new__(cls, value)

    def __repr__(self) -> str:
        """Return the name of the type, without the bytes."""
        return f"{type(self).__name__}(hidden)"

    __str__ = __repr__
