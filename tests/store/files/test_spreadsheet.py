"""Names that a spreadsheet would read as values stay as they are, and those that it has rewritten are found."""

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from antiphon.errors import NameInvalid
from antiphon.identity.names import Name, prepare
from antiphon.store.files.account_rows import ACCOUNTS, AccountRow
from antiphon.store.files.spreadsheet import guarded, looks_rewritten, may_be_made_of, plain, reads_as_value
from support.spreadsheet import kept, saved

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROW = AccountRow(
    name=prepare("ann"),
    number=1,
    must_change=False,
    expires_at=None,
    registered_at=NOON,
    registered_from="192.0.2.1",
    epoch=2**31,
    credential_type="scram-sha-256",
    credential=b"\xfbsealed",
)
VALUES = [
    "007", "1e5", "1E5", "12345678901234567890", "42", "0", ".5", "5.", "1.5", "5%", "$5", "(5)", "1,000",
    "true", "TRUE", "False", "истина", "1-2", "1/2", "3.4.2026", "2026-11-22", "1.2.3", "10:20", "may1", "Jan-02",
    "MARCH1", "sept2", "2-feb", "5may", "май1", "1e-5", "123456789012", "+5", "-5", "=5",
]  # fmt: skip
ORDINARY = ["ann", "Вадим", "ann7", "e5", "5b-ann"[1:], "mayor1", "marvin", "june", "May", "truest", "李", "x-1"]


def valid(text: str) -> Name:
    try:
        return prepare(text)
    except NameInvalid:
        assume(False)
        raise


NAMES = (
    st.from_regex(r"[-+$(']?[0-9]{0,22}[-./:,]?[0-9]{0,4}(?:[eE][-+]?[0-9]{1,3})?[%)]?", fullmatch=True)
    | st.from_regex(
        r"(?:[0-9]{1,2}[-/]?)?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[-./]?[0-9]{0,4}", fullmatch=True
    )
    | st.from_regex(r"(?:true|false|TRUE|False)", fullmatch=True)
    | st.text(st.characters(exclude_categories=["Cs", "Cn"]), min_size=1, max_size=12)
).map(valid)


def names_of(data: str) -> list[str]:
    return [row.name.display for row in ACCOUNTS.parse(Path("accounts.csv"), data.encode())]


def rows_of(names: list[Name]) -> list[AccountRow]:
    return [replace(ROW, name=name, number=number) for number, name in enumerate(names, 1)]


@pytest.mark.parametrize("name", VALUES)
def test_a_name_that_reads_as_a_value_has_a_guard_in_the_file(name: str) -> None:
    text = ACCOUNTS.dump([replace(ROW, name=prepare(name))]).decode()
    (_, cells) = csv.reader(io.StringIO(text))
    assert cells[0] == "'" + prepare(name).display
    assert names_of(text) == [prepare(name).display]


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_name_has_none(name: str) -> None:
    assert guarded(name, text=True) == name
    assert kept(name) == name


def test_no_column_but_the_name_has_a_guard() -> None:
    (_, cells) = csv.reader(io.StringIO(ACCOUNTS.dump([replace(ROW, credential=b"x")]).decode()))
    assert not any(cell.startswith("'") for cell in cells)


@given(st.lists(NAMES, min_size=1, max_size=5, unique_by=lambda name: name.key), st.booleans())
@example([prepare(name) for name in ("007", "1e5", "12345678901234567890", "7", "100000")], False)
def test_whatever_the_names_they_outlive_a_spreadsheet(names: list[Name], strips: bool) -> None:
    assume(not strips or not any(name.display.startswith("'") for name in names))
    rows = rows_of(names)
    text = ACCOUNTS.dump(rows).decode()
    assert ACCOUNTS.parse(Path("accounts.csv"), text.encode()) == rows
    assert names_of(saved(text, strips=strips)) == [name.display for name in names]


@given(st.lists(NAMES, min_size=1, max_size=5, unique_by=lambda name: name.key))
def test_a_file_of_an_earlier_version_without_guards_is_read_as_before(names: list[Name]) -> None:
    assume(not any(name.display.startswith("'") for name in names))  # these had one then, too
    head, *lines = csv.reader(io.StringIO(ACCOUNTS.dump(rows_of(names)).decode()))
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *([plain(cell) for cell in line] for line in lines)])
    assert ACCOUNTS.parse(Path("accounts.csv"), out.getvalue().encode()) == rows_of(names)


@given(st.text(max_size=10), st.booleans())
def test_a_guard_is_removed_exactly(cell: str, text: bool) -> None:
    assert plain(guarded(cell, text=text)) == cell


@given(NAMES)
@example(prepare("007"))
@example(prepare("12345678901234567890"))
@example(prepare("1e5"))
@example(prepare("100000001%"))
def test_what_a_spreadsheet_changes_has_a_guard_and_is_known_for_what_it_was(name: Name) -> None:
    made = kept(name.display)
    if made != name.display and not name.display.startswith("'"):
        assert guarded(name.display, text=True).startswith("'")
        assert may_be_made_of(name.display, made)


@pytest.mark.parametrize(
    ("was", "now"),
    [("007", "7"), ("1e5", "1E+05"), ("1e5", "100000"), ("12345678901234567890", "1.23457E+19"), ("1,5", "1.5"),
     ("12345678901234567890", "12345678901234500000"), ("true", "TRUE"), ("1-2", "2-Jan"), ("may1", "1-May"),
     ("1/2", "2026/01/02"), ("10:20", "10:20:00"), ("5%", "0.05"), ("$5", "5"), ("(5)", "-5"), ("1,000", "1000")],
)  # fmt: skip
def test_a_rewritten_name_is_known(was: str, now: str) -> None:
    assert may_be_made_of(was, now)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("007", "8"),
        ("ann", "anna"),
        ("ann", "7"),
        ("1e5", "ann"),
        ("ann", "TRUE"),
        ("1e999", "7"),
        ("7", "007"),
        ("100000", "1e5"),
        ("1.23457E+19", "12345678901234567890"),
        ("TRUE", "true"),
    ],
)
def test_a_new_name_is_not_taken_for_a_rewritten_one(was: str, now: str) -> None:
    assert not may_be_made_of(was, now)


@pytest.mark.parametrize(
    "cell", ["1E+05", "1.23457E+19", "1,23457E+19", "1E-05", "12345678901234500000", "TRUE", "ЛОЖЬ", "2-Jan",
             "Jan-02", "01.02.2026", "1/2/2026", "2026-11-22", "10:20:00"]
)  # fmt: skip
def test_the_spelling_of_a_spreadsheet_is_seen(cell: str) -> None:
    assert looks_rewritten(cell)
    assert reads_as_value(cell)
    assert not looks_rewritten("'" + cell)


@pytest.mark.parametrize(
    "cell", ["007", "1e5", "100000", "7", "true", "ann", "1-2", "may1", "12345678901234567890"]
)
def test_the_spelling_of_a_person_is_not_suspected(cell: str) -> None:
    assert not looks_rewritten(cell)
