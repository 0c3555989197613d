"""The table in docs/errors.md; write it with `PYTHONPATH=tests .venv/bin/python -m support.error_table`."""

from pathlib import Path

from antiphon.errors import every_error

DOCUMENT = Path(__file__).parents[2] / "docs" / "errors.md"
HEAD = "| code | exit | who erred | what it says | what to do |\n| --- | --- | --- | --- | --- |\n"


def table() -> str:
    """Return a row for each error, in the order of the tree."""
    rows = (
        f"| `{error.code}` | {error.exit_code} | {error.blame} | {error.sentence} | {error.hint} |\n"
        for error in every_error()
    )
    return HEAD + "".join(rows)


def written() -> str:
    """Return the document from its table on."""
    text = DOCUMENT.read_text("utf-8")
    return text[text.index(HEAD.splitlines()[0]) :]


if __name__ == "__main__":
    prose = DOCUMENT.read_text("utf-8").removesuffix(written())
    DOCUMENT.write_text(prose + table(), "utf-8")
