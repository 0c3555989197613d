"""Tests of docs/security.md: every promise has a row, and every test named there exists."""

import ast
import re
from functools import cache

from support.documents import ROOT, read, table

ROWS = table(read("docs/security.md"), "#", "promise", "shown by")
NAMED = [tuple(named.split("::")) for row in ROWS for named in row[2].split(", ")]


def test_every_promise_has_a_row() -> None:
    assert [int(number) for number, _, _ in ROWS] == [*range(1, 34), 37]  # the others are not kept yet


@cache
def defined_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_what_shows_a_promise_is_a_test_that_exists() -> None:
    for file, test in NAMED:
        assert re.fullmatch(r"tests/\w+(/\w+)*/test_\w+\.py", file), file
        assert test.startswith("test_"), test
        assert test in defined_in(file), (file, test)
