"""A typed handler whose annotations are strings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from antiphon import Session


class Order(Struct):
    """Defined below, for a reader of annotations, only when the module is loaded."""

    item: str
    count: int


def answer(order: Order, *, session: Session) -> int:
    """Return the number of things; `Session` is known to type checkers only."""
    return order.count
