"""A spreadsheet, as far as it matters for CSV: what it makes of each cell that it reads, and saves again.

It stands for Excel and Gnumeric, whose results with the same cells it was compared with. It knows nothing of what
Antiphon takes for a value.
"""

import csv
import io
import re

_NUMBER = re.compile(r"[$€£]?([-+]?)(\d{1,3}(?:,\d{3})+|\d*)(\.\d*)?(?:e([-+]?\d{1,3}))?(%?)", re.IGNORECASE)
_BRACKETS = re.compile(r"\((\d+)\)")
_DAY = re.compile(r"(\d{1,2})[-/.](\d{1,2})(?:[-/.](\d{2}|\d{4}))?")
_ISO = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})")
_TIME = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?")
_MONTH = re.compile(
    r"(?:(\d{1,2})[-/ ]?)?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)(?:[-/. ]?(\d{1,4}))?", re.IGNORECASE
)


def saved(text: str, *, strips: bool = False) -> str:
    """Return CSV text after a spreadsheet has opened and saved it; `strips` says that it removes apostrophes."""
    out = io.StringIO()
    rows = csv.reader(io.StringIO(text, newline=""))
    csv.writer(out, lineterminator="\r\n").writerows([kept(cell, strips=strips) for cell in row] for row in rows)
    return out.getvalue()


def kept(cell: str, *, strips: bool = False) -> str:
    """Return what a spreadsheet shows, and so saves, of a cell."""
    if cell.startswith("'"):
        return cell[1:] if strips else cell
    if cell.lower() in ("true", "false"):
        return cell.upper()
    if found := _BRACKETS.fullmatch(cell):
        return f"-{int(found[1])}"
    if (found := _NUMBER.fullmatch(cell)) and any(map(str.isdigit, (found[2] or "") + (found[3] or ""))):
        return _number(found)
    if found := _ISO.fullmatch(cell):
        return f"{found[1]}/{int(found[2]):02}/{int(found[3]):02}"
    if (found := _DAY.fullmatch(cell)) and int(found[1]) <= 12 and int(found[2]) <= 31:
        return f"{int(found[1]):02}/{int(found[2]):02}/{(found[3] or '2026')[-4:]}"
    if found := _TIME.fullmatch(cell):
        return f"{int(found[1])}:{found[2]}:{found[3] or '00'}"
    if (found := _MONTH.fullmatch(cell)) and (found[1] or found[3]):
        number = found[1] or found[3]
        if 1 <= int(number) <= 31:
            return f"{int(number)}-{found[2].title()}"
        return f"{found[2].title()}-{number[-2:]}" if 1900 <= int(number) <= 2100 else cell
    return cell


def _number(found: re.Match[str]) -> str:
    sign, whole, fraction, exponent, percent = found.groups()
    value = float(f"{sign}{(whole or '0').replace(',', '')}{fraction or ''}e{exponent or 0}")
    value = value / 100 if percent else value
    if value in (float("inf"), float("-inf")):
        return found[0]  # too large for a number: it stays a text
    if value == int(value) and abs(value) < 10**11:
        return str(int(value))
    return f"{value:.6G}" if 1e-4 <= abs(value) < 10**11 else f"{value:.5E}"
