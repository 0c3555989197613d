"""What may stand in a file, and what is said of what may not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import RowInvalid
from antiphon.identity.names import prepare
from antiphon.store.files.account_rows import ACCOUNTS, AccountRow
from antiphon.store.files.clients import CLIENTS

PATH = Path("/people/accounts.csv")
NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
ANN = AccountRow(
    name=prepare("Ann"),
    number=1,
    must_change=False,
    expires_at=None,
    registered_at=NOON,
    registered_from="::1",
    epoch=7,
    credential_type="SCRAM-SHA-256",
    credential=b"\xfbsealed",
)
BOB = replace(ANN, name=prepare("Вадим"), number=2, disabled=True, visited_at=NOON, visited_from="192.0.2.1")
HEAD = ",".join(ACCOUNTS.columns)
LINE = "Ann,1,no,no,no,,,2026-03-01T12:00:00.123456+00:00,::1,,,0,7,SCRAM-SHA-256,'+3NlYWxlZA=="


def said(data: str | bytes) -> str:
    with pytest.raises(RowInvalid) as caught:
        ACCOUNTS.parse(PATH, data.encode() if isinstance(data, str) else data)
    return caught.value.text()


def test_a_line_is_one_that_a_person_can_read() -> None:
    assert ACCOUNTS.dump([ANN]).decode() == f"{HEAD}\n{LINE}\n"


def test_what_is_written_is_read_back() -> None:
    assert ACCOUNTS.parse(PATH, ACCOUNTS.dump([ANN, BOB])) == [ANN, BOB]


@given(
    address=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    credential=st.binary(),
    number=st.integers(1, 10**18 - 1),
    at=st.datetimes(timezones=st.just(UTC)),
)
def test_whatever_stands_in_a_column_is_read_back(
    address: str, credential: bytes, number: int, at: datetime
) -> None:
    row = replace(ANN, visited_from=address, credential=credential, number=number, visited_at=at)
    assert ACCOUNTS.parse(PATH, ACCOUNTS.dump([row])) == [row]


@pytest.mark.parametrize("delimiter", ",;\t")
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "mark"])
def test_what_a_spreadsheet_has_saved_is_read(delimiter: str, mark: bytes) -> None:
    line = LINE.replace(",no,", ",FALSE,").replace(".123456+00:00", "")
    data = mark + f"{HEAD}\r\n{line}\r\n\r\n".replace(",", delimiter).encode()
    assert ACCOUNTS.parse(PATH, data) == [replace(ANN, registered_at=NOON.replace(microsecond=0))]


def test_columns_may_stand_in_another_order_and_times_in_another_zone() -> None:
    moscow = NOON.astimezone(timezone(timedelta(hours=3))).isoformat()
    data = f"name\tlast_visit\tfirst_visit\taddress\nann\t{moscow}\t2026-03-01\t::1\n"
    (row,) = CLIENTS.parse(PATH, data.encode())
    assert (row.address, row.last_visit, row.first_visit) == ("::1", NOON, datetime(2026, 3, 1, tzinfo=UTC))


@pytest.mark.parametrize("column", [column for column in ACCOUNTS.columns if column not in ("epoch", "refusals")])
def test_what_cannot_be_read_is_told_of_by_its_line_and_column(column: str) -> None:
    cells = dict(zip(ACCOUNTS.columns, LINE.split(","), strict=True)) | {column: "ä ö"}
    if column in ("registered_from", "visited_from", "credential_type"):
        cells[column] = ""
    if column == "visited_from":
        return  # it may be empty, or anything
    told = said(f"{HEAD}\n{LINE}\n{','.join(cells.values())}\n")
    assert told == f"/people/accounts.csv, line 3: what stands under “{column}” cannot be read."


def test_a_file_of_before_the_old_forms_has_the_only_one_that_there_was() -> None:
    head = HEAD.replace("old_form,", "")
    line = LINE.replace("no,no,,,", "no,no,,")
    imported = LINE.replace("Ann,1,no,no,no,,,", "Zoe,2,no,no,yes,2026-03-01T12:00:00+00:00,")
    old, new = ACCOUNTS.parse(PATH, f"{head}\n{line}\n{imported}\n".encode())
    assert (old, new.old_form) == (ANN, "md5")
    assert ACCOUNTS.dump([old]).decode() == f"{HEAD}\n{LINE}\n"


def test_a_file_of_before_the_administrators_has_none() -> None:
    head = HEAD.replace("administrator,", "")
    line = LINE.replace("no,no,no,", "no,no,")
    assert ACCOUNTS.parse(PATH, f"{head}\n{line}\n".encode()) == [ANN]
    (marked,) = ACCOUNTS.parse(PATH, f"{HEAD}\n{LINE.replace('no,no,no,', 'no,yes,no,')}\n".encode())
    assert marked.account().administrator
    assert marked.overview().administrator


@pytest.mark.parametrize("number", ["-1", "1.0", "٣", "1e3", "9" * 19, " "])
def test_what_is_no_number_is_refused(number: str) -> None:
    assert "line 2: what stands under “number” cannot be read" in said(
        f"{HEAD}\n{LINE.replace('Ann,1', f'Ann,{number}')}\n"
    )


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"])
def test_a_time_that_utc_cannot_hold_is_refused(time: str) -> None:
    assert "line 2: what stands under “expires_at” cannot be read" in said(
        f"{HEAD}\n{LINE.replace('no,no,,', f'no,no,{time},')}\n"
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("", "line 1: these columns must be named there, and no others: name, number, "),
        (LINE, "line 1: these columns must be named there"),
        (f"{HEAD},remark\n", "line 1: these columns must be named there"),
        (f"{HEAD}\n\n{LINE},more\n", "line 3: it has 16 fields instead of 15"),
        (f'{HEAD}\n{LINE}\n"Ann\n', "line 3: its quotes are not in order"),
        (f'"{HEAD}\n{LINE}\n', "line 1: its quotes are not in order"),
        (f"{HEAD}\n{LINE}\n{LINE.replace('Ann,1', 'Zoe,1')}\n", "line 3: “number” is the same as in line 2"),
        (f"{HEAD}\n{LINE}\n{LINE.replace('Ann,1', 'ANN,2')}\n", "line 3: “name” is the same as in line 2"),
        (f"{HEAD}\n{LINE}\n".encode() + b"\xff", "line 3: it is not UTF-8 text"),
    ],
    ids=[
        "empty",
        "no head",
        "a column more",
        "a field more",
        "quote",
        "quote in the head",
        "number",
        "name",
        "text",
    ],
)
def test_what_is_wrong_is_told_of_by_its_line(data: str | bytes, problem: str) -> None:
    assert said(data).startswith(f"/people/accounts.csv, {problem}")


def test_a_credential_that_is_broken_is_not_repeated() -> None:
    assert "3NlYW" not in said(f"{HEAD}\n{LINE}!\n")
    assert "sealed" not in repr(ANN)
