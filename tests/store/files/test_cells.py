"""CSV text that gives back what was put in, and that no spreadsheet runs."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.store.files.cells import read_cells, write_cells

CELLS = st.text(st.characters(exclude_categories=["Cs"])) | st.text("=+-@\t\r\n'\",; ａ＝", max_size=4)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@given(rows=st.lists(st.lists(CELLS, min_size=3, max_size=3)))
def test_what_is_written_is_read_back_exactly(delimiter: str, rows: list[list[str]]) -> None:
    head = ["name", "number", "place"]
    read = list(read_cells(write_cells([head, *rows], delimiter)))
    assert [row for _, row in read] == [head, *(row for row in rows if any(row))]


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1", "'=1"])
def test_no_spreadsheet_runs_a_cell(formula: str) -> None:
    text = write_cells([["a", "b"], ["x", formula]], ",")
    (_, (_, cell)) = csv.reader(io.StringIO(text, newline=""))
    assert cell == "'" + formula


def test_a_row_is_told_of_by_the_line_where_it_begins() -> None:
    text = 'a,b\n1,"two\nlines"\n\n,\n3,4\n'
    assert list(read_cells(text)) == [(1, ["a", "b"]), (2, ["1", "two\nlines"]), (6, ["3", "4"])]


def test_quotes_that_are_not_in_order_are_an_error() -> None:
    with pytest.raises(csv.Error):
        list(read_cells('a,b\n1,"2\n'))
