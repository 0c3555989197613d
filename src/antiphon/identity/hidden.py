"""Bytes that do not print: the type of tokens and keys."""

from typing import Self


class HiddenBytes(bytes):
    """Secret bytes of one size; `repr`, `str` and every format give the name of the type only."""

    SIZE: int

    def __new__(cls, value: bytes) -> Self:
        """Take `value`, which must have `SIZE` bytes; ValueError otherwise, without showing it."""
        if len(value) != cls.SIZE:
            raise ValueError(f"{cls.__name__} has {cls.SIZE} bytes, not {len(value)}")
        return super().__new__(cls, value)

    def __repr__(self) -> str:
        """Hide the bytes."""
        return f"{type(self).__name__}(hidden)"

    __str__ = __repr__
