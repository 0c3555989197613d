"""CSV text that gives back what was put in, and that no spreadsheet runs."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.store.files.cells import LINE_LIMIT, LineUnreadable, read_cells, write_cells
from antiphon.store.files.spreadsheet import plain
from support.leaks import assert_takes_less

CELLS = st.text(st.characters(exclude_categories=["Cs"])) | st.text("=+-@\t\r\n'\",; ａ＝", max_size=4)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@given(rows=st.lists(st.lists(CELLS, min_size=3, max_size=3)))
def test_what_is_written_is_read_back_exactly(delimiter: str, rows: list[list[str]]) -> None:
    head = ["name", "number", "place"]
    read = list(read_cells(write_cells([head, *rows], delimiter, {0}).encode()))
    assert [list(map(plain, row)) for _, row in read] == [head, *(row for row in rows if any(row))]


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1", "'=1"])
def test_no_spreadsheet_runs_a_cell(formula: str) -> None:
    text = write_cells([["a", "b"], ["x", formula]], ",")
    (_, (_, cell)) = csv.reader(io.StringIO(text, newline=""))
    assert cell == "'" + formula


def test_a_row_is_told_of_by_the_line_where_it_begins() -> None:
    text = 'a,b\n1,"two\nlines"\n\n,\n3,4\n'
    assert list(read_cells(text.encode())) == [(1, ["a", "b"]), (2, ["1", "two\nlines"]), (6, ["3", "4"])]


def test_quotes_that_are_not_in_order_are_an_error() -> None:
    with pytest.raises(LineUnreadable, match="quotes") as caught:
        list(read_cells(b'a,b\n1,"2\n'))
    assert caught.value.line == 2


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_beyond_the_limit_is_refused_with_its_number(end: str) -> None:
    longest = f"1,{'x' * (LINE_LIMIT - len(end) - 2)}{end}"
    head = f"a,b{end}"
    assert len(list(read_cells(f"{head}{longest}".encode()))) == 2
    with pytest.raises(LineUnreadable, match="longer than 64 KiB") as caught:
        list(read_cells(f"{head}{longest}x{longest}".encode()))
    assert caught.value.line == 3


def test_a_cell_of_endless_lines_is_refused() -> None:
    lines = "x\n" * (LINE_LIMIT + 1)
    with pytest.raises(LineUnreadable, match="longer than 64 KiB") as caught:
        list(read_cells(f'a,b\n1,2\n3,"{lines}"\n'.encode()))
    assert caught.value.line == 3


def test_a_huge_line_is_refused_without_a_copy_of_it() -> None:
    data = "a,b\n1,😀".encode() + bytes(1000 * LINE_LIMIT)

    def read() -> None:
        with pytest.raises(LineUnreadable):
            list(read_cells(data))

    assert_takes_less(read, LINE_LIMIT)


def test_what_is_no_text_is_refused_with_its_line() -> None:
    with pytest.raises(LineUnreadable, match="UTF-8") as caught:
        list(read_cells(b"a,b\n1,2\n3,\xff\n"))
    assert caught.value.line == 3
