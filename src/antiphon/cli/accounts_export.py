"""`antiphon accounts export`: write the accounts as CSV or JSON, for other programs and for backups."""

import csv
import io
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from antiphon import streams
from antiphon.cli.accounts_import import NOT_PLAIN
from antiphon.cli.common_options import CommonOptions
from antiphon.cli.event_loop import run_loop
from antiphon.cli.output import Record, iso_time, report_result
from antiphon.cli.store_access import LoggedStoreOptions, OpenData, open_data_and_log, operator_name
from antiphon.errors import FileUnusable
from antiphon.files import write_atomically
from antiphon.identity.names import prepare
from antiphon.store.contracts import Overview
from antiphon.store.files import guarded
from antiphon.terminal.console import Console

Format = Literal["csv", "json"]

SECRET_COLUMNS = ("id", "credential_type", "credential")
"""The id is exported with the credential because the credential is sealed for this id."""


def export_accounts(
    file: Annotated[str, Parameter(help="File to write; - for standard output.", allow_leading_hyphen=True)] = "-",
    /,
    *,
    format: Annotated[  # noqa: A002 - the option's name
        Format | None, Parameter(help="Format of the file [default: csv; json with --json].")
    ] = None,
    secrets: Annotated[
        bool, Parameter(negative=(), help="Include the sealed credentials, which secret.key opens.")
    ] = False,
    options: LoggedStoreOptions = LoggedStoreOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Write the accounts to a file: names, flags and times; secrets only with --secrets.

    For example:
        antiphon accounts export accounts.csv
        antiphon accounts export --format json
    """
    form = format or ("json" if options.json else "csv")
    return run_loop(_export(options, common.console(), file, form, secrets=secrets))


async def _export(options: LoggedStoreOptions, console: Console, file: str, form: Format, *, secrets: bool) -> int:
    _ = console.translations.gettext
    async with open_data_and_log(options, console=console) as (here, log):
        rows = await _rows(here, secrets=secrets)
        text = json.dumps(rows, ensure_ascii=False) + "\n" if form == "json" else as_csv(rows, secrets=secrets)
        if file == "-":
            streams.stdout.write(text)
        else:
            _write(Path(file), text)
        log.info("accounts-exported", by=operator_name(), count=len(rows), credentials=secrets)
    sentences = [_("Exported: {count}.").format(count=len(rows))] if file != "-" else []
    if secrets:
        sentences.append(_("Keep it apart from secret.key: anyone who has both can guess passwords at leisure."))
    if file != "-":
        report_result(console, options, {"path": file, "count": len(rows), "secrets": secrets}, *sentences)
    elif not options.json:
        for sentence in sentences:
            console.tell(sentence)
    return 0


async def _rows(here: OpenData, *, secrets: bool) -> list[Record]:
    rows = []
    for overview in await here.overviews():
        row = account_record(overview)
        if secrets:
            account = await here.store.accounts.find(prepare(overview.name).key)
            if account is None:  # removed or renamed since the overview was read
                continue
            row |= {
                "id": account.id,
                "credential_type": account.credential_type,
                "credential": b64encode(account.credential).decode(),
            }
        rows.append(row)
    return rows


def as_csv(rows: Sequence[Record], *, secrets: bool) -> str:
    """Return records as CSV (RFC 4180) with a heading line; flags are `yes` or `no`, unknown values empty."""
    columns = [each.name for each in fields(Overview) if each.name not in ("id", "key")]
    if secrets:
        columns += SECRET_COLUMNS
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([guarded(_cell(row[column]), text=column == "name") for column in columns] for row in rows)
    return out.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _write(path: Path, text: str) -> None:
    if path.is_symlink() or (
        path.exists() and not path.is_file()
    ):  # the atomic write would replace a device by a file
        raise FileUnusable(path=str(path), problem=NOT_PLAIN)
    write_atomically(path, text.encode(), FileUnusable)


def account_record(overview: Overview) -> Record:
    """Return the record of an account, as the commands show it."""
    return {
        "name": overview.name,
        "disabled": overview.disabled,
        "administrator": overview.administrator,
        "registered_at": iso_time(overview.registered_at),
        "registered_from": overview.registered_from,
        "visited_at": iso_time(overview.visited_at),
        "visited_from": overview.visited_from,
        "refusals": overview.refusals,
        "must_change": overview.must_change,
        "expires_at": iso_time(overview.expires_at),
    }
