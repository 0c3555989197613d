"""HTML from Python: elements are made by `tag`, which escapes whatever is not an element itself."""

import html
from collections.abc import Iterable
from typing import Final

VOID: Final = frozenset({"br", "input", "link", "meta"})
"""Elements without an end tag."""


class Html(str):
    """Text that is HTML: it is not escaped again."""

    __slots__ = ()


Child = str | int | None | Iterable["Child"]
"""What an element may hold: elements, text, numbers, nothing, or several of these."""


def tag(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Html:
    """Return an element.

    Args:
        name: of the element.
        children: what it holds.
        attributes: `_` stands for `-`, and one at the end is dropped (`class_`). True is an attribute without a
            value; None and False are none.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{''.join(map(_child, children))}</{name}>")


def joined(*children: Child) -> Html:
    """Return elements and text one after another."""
    return Html("".join(map(_child, children)))


def _attribute(key: str, value: str | float | bool | None) -> str:  # noqa: FBT001 - the value of an attribute
    name = key.removesuffix("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str | int):
        return html.escape(str(child))
    return "".join(map(_child, child))
