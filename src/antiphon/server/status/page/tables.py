"""Tables of the page."""

from collections.abc import Iterable, Sequence

from antiphon.server.status.page.html import Child, Html, tag

Cell = tuple[str, Child]
"""The class of a cell (`number`, or nothing), and what it holds."""


def table(
    caption: str, heads: Sequence[tuple[str, str]], rows: Iterable[tuple[str, Sequence[Child]]], empty: str
) -> Html:
    """Return a table; on narrow screens each row is a small list with the heads as labels.

    Args:
        caption: what the table holds, for who cannot see it.
        heads: class and text of each column.
        rows: key and cells of each row; a row with a key keeps its place while it is there.
        empty: what stands there instead of a table without rows.
    """
    rows = list(rows)
    if not rows:
        return tag("p", empty, class_="empty")
    # The roles are those of the elements; what is laid out as a list loses them otherwise.
    return tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", [tag("th", text, class_=kind or None, scope="col", role="columnheader")
            for kind, text in heads], role="row"), role="rowgroup"),
        tag("tbody", [_row(heads, key, cells) for key, cells in rows], role="rowgroup"),
        role="table",
    )  # fmt: skip


def _row(heads: Sequence[tuple[str, str]], key: str, cells: Sequence[Child]) -> Html:
    shown = [
        tag("td", cell, class_=kind or None, data_label=text or None, role="cell")
        for (kind, text), cell in zip(heads, cells, strict=True)
    ]
    return tag("tr", shown, data_key=key, role="row")
