"""`antiphon accounts export`: the accounts as CSV or JSON, for other programs and for backups."""

import csv
import io
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from antiphon.cli.accounts import told
from antiphon.cli.common import Common, run_loop
from antiphon.cli.imports import NOT_PLAIN
from antiphon.cli.operator import ActPlace, Opened, Record, acting, operator, tell
from antiphon.errors import FileUnusable
from antiphon.files import write_atomically
from antiphon.identity.names import prepare
from antiphon.store.contracts import Overview
from antiphon.terminal.console import Console

Format = Literal["csv", "json"]

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""A field that begins with one of these may be run by a spreadsheet (OWASP: CSV injection)."""
GUARD = "'"
"""Stands before such a field, and before one that begins with itself, so that it can be taken away again."""
SECRET_COLUMNS = ("id", "credential_type", "credential")
"""A credential is sealed for its account's number."""


def export_accounts(
    file: Annotated[
        str, Parameter(help="Where to write; - for standard output.", allow_leading_hyphen=True)
    ] = "-",
    /,
    *,
    format: Annotated[  # noqa: A002 - the option's name
        Format | None, Parameter(help="How to write [default: csv; json with --json].")
    ] = None,
    secrets: Annotated[
        bool, Parameter(negative=(), help="With the sealed credentials, which secret.key opens.")
    ] = False,
    place: ActPlace = ActPlace(),
    common: Common = Common(),
) -> int:
    """Write out the accounts: names, flags and times, and no secrets unless asked for.

    For example:
        antiphon accounts export accounts.csv
        antiphon accounts export --format json
    """
    form = format or ("json" if place.json else "csv")
    return run_loop(_export(place, common.console(), file, form, secrets=secrets))


async def _export(place: ActPlace, console: Console, file: str, form: Format, *, secrets: bool) -> int:
    _ = console.translations.gettext
    async with acting(place) as (here, log):
        rows = await _rows(here, secrets=secrets)
        text = json.dumps(rows, ensure_ascii=False) + "\n" if form == "json" else as_csv(rows, secrets=secrets)
        if file == "-":
            print(text, end="", flush=True)
        else:
            _write(Path(file), text)
        log.info("accounts-exported", by=operator(), count=len(rows), credentials=secrets)
    sentences = [_("Exported: {count}.").format(count=len(rows))] if file != "-" else []
    if secrets:
        sentences.append(_("Keep it apart from secret.key: whoever has both can guess passwords at leisure."))
    if file != "-":
        tell(console, place, {"path": file, "count": len(rows), "secrets": secrets}, *sentences)
    elif not place.json:
        for sentence in sentences:
            console.tell(sentence)
    return 0


async def _rows(here: Opened, *, secrets: bool) -> list[Record]:
    rows = []
    for overview in await here.store.accounts.overviews():
        row = told(overview)
        if secrets:
            account = await here.store.accounts.find(prepare(overview.name).key)
            if account is None:  # removed or renamed meanwhile
                continue
            row |= {
                "id": account.id,
                "credential_type": account.credential_type,
                "credential": b64encode(account.credential).decode(),
            }
        rows.append(row)
    return rows


def as_csv(rows: Sequence[Record], *, secrets: bool) -> str:
    """Return records as CSV (RFC 4180) with a heading, `yes` and `no`, and nothing where nothing is known."""
    columns = [each.name for each in fields(Overview) if each.name != "id"]
    if secrets:
        columns += SECRET_COLUMNS
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)
    return out.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return GUARD + text if text.startswith((*FORMULA, GUARD)) else text


def _write(path: Path, text: str) -> None:
    if path.is_symlink() or (path.exists() and not path.is_file()):  # a device would make way for a file
        raise FileUnusable(path=str(path), problem=NOT_PLAIN)
    write_atomically(path, text.encode(), FileUnusable)
