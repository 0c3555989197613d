"""The accounts of an old system: clients with their passwords, of lines or of JSON."""

from typing import NamedTuple

from antiphon.errors import Problem, UsageError
from antiphon.identity.legacy.columns import NO_PASSWORD, check_names, is_digest, role
from antiphon.identity.legacy.formats import decoded
from antiphon.identity.legacy.json_shapes import read_json
from antiphon.identity.legacy.lines import read_lines
from antiphon.identity.legacy.names import Names
from antiphon.identity.legacy.rows import (
    NO_HINTS,
    ROWS_MOST,
    Entry,
    Field,
    FieldUnusable,
    Hints,
    Passed,
    Row,
    Scheme,
    Table,
    Why,
    checked_name,
    is_address,
    run_together,
)
from antiphon.identity.legacy.schemes import password_of, scheme_of
from antiphon.identity.names import Name
from antiphon.identity.passwords import Password
from antiphon.language import N_

_CLIENTS = Problem(N_("The file has more than {most} clients. Split it, and import the parts one by one."))
_RUN_TOGETHER = Problem(N_("an address stands directly behind it: put a separator between them"))
_REPEATED = Problem(N_("line {later} is about the same client and replaces it"))
NO_PASSWORDS = Problem(
    N_(
        "{path} holds names and addresses, but no passwords: give it to --names, beside the file with the "
        "passwords, or add --names-only to keep the names for --access identify. "
        "If the addresses stand beside plain passwords, add --scheme plain."
    )
)


class Accounts(NamedTuple):
    """Content of a file: rows that give an account, and rows that are passed over."""

    rows: list[Row]
    passed: list[Passed]
    """Lines that give no account."""
    scheme: Scheme


def read_accounts(data: bytes, names: Names, hints: Hints = NO_HINTS, path: str = "-") -> Accounts:
    """Read a file of clients and passwords; the last row of a client counts.

    A client is a name, or an address, or the MD5 of either; `names` gives the name of the latter three.

    Raises:
        UsageError: the file is of another format, too large, or does not say what its fields are.
    """
    text = decoded(data, path)
    table = read_json(text, [role(word) for word in hints.columns]) if text.is_json else read_lines(text, hints)
    check_names(table.entries, path)
    if table.entries and _holds_names_only(table, hints):
        raise UsageError(problem=NO_PASSWORDS, path=path)
    passwords = [entry.password for entry in table.entries if entry.password is not None]
    scheme = scheme_of(passwords, hints, table.said, path)
    rows, passed = _last_of_each([*map(_Reader(names, scheme).read, table.entries)])
    return Accounts(rows, sorted(table.passed + passed, key=lambda line: (line.line, line.column or 0)), scheme)


def _holds_names_only(table: Table, hints: Hints) -> bool:
    """Return whether every client has an address and no password."""
    return all(
        (entry.password is None and entry.address is not None)
        or (hints.scheme is None and table.said is None and entry.pair and _is_name_and_address(entry))
        for entry in table.entries
    )


def _is_name_and_address(entry: Entry) -> bool:
    first, second = entry.client.text, entry.password.text if entry.password else ""
    return is_address(first) != is_address(second) and not is_digest(first) and not is_digest(second)


class _Reader:
    """Reader of clients whose fields are known."""

    def __init__(self, names: Names, scheme: Scheme) -> None:
        self._names = names
        self._scheme = scheme

    def read(self, entry: Entry) -> tuple[str, Row | Passed]:
        """Return a key that identifies the client, and the account or the reason why there is none."""
        line, column = entry.client.line, entry.client.column
        key = f"line {line}, column {column}"  # the key of a broken row: it has a space, so no client has it
        try:
            key, name = self._client(entry)
            password = self._password(entry)
        except FieldUnusable as error:
            return key, error.passed
        if isinstance(name, UsageError):
            return key, Passed(line, Why.UNNAMED, name, column)
        return key, Row(line, name, password)

    def _password(self, entry: Entry) -> Password:
        if entry.password is None:
            raise FieldUnusable(entry.client, UsageError(problem=NO_PASSWORD))
        return password_of(entry.password, self._scheme)

    def _client(self, entry: Entry) -> tuple[str, Name | UsageError]:
        """Return a key that identifies the client, and its name or the error that says why it has none.

        Raises:
            FieldUnusable: it can be no name.
        """
        written = entry.client.text
        try:
            if not (is_digest(written) or is_address(written)):
                name = _name_alone(written)
                return name.key, name
        except UsageError as error:
            raise FieldUnusable(entry.client, error, Field.NAME) from None
        try:
            name = self._names.find(written)
        except UsageError as error:
            return written.lower(), error
        return name.key, name


def _name_alone(text: str) -> Name:
    """Return the name of a field.

    Raises:
        UsageError: it can be no name, or an address stands directly behind it: which digits are the name's?
    """
    name = checked_name(text)
    if any(run_together(name.display)):
        raise UsageError(problem=_RUN_TOGETHER)
    return name


def _last_of_each(found: list[tuple[str, Row | Passed]]) -> tuple[list[Row], list[Passed]]:
    """Return the last of each client, and the reasons why the others give no account.

    Raises:
        UsageError: there are more than `ROWS_MOST` clients.
    """
    latest: dict[str, Row | Passed] = {}
    passed: list[Passed] = []
    for key, each in found:
        if key in latest:
            error = UsageError(problem=_REPEATED, later=each.line)
            passed.append(Passed(latest.pop(key).line, Why.REPEATED, error))
        latest[key] = each
    rows = [each for each in latest.values() if isinstance(each, Row)]
    if len(rows) > ROWS_MOST:
        raise UsageError(problem=_CLIENTS, most=ROWS_MOST)
    passed += [each for each in latest.values() if isinstance(each, Passed)]
    return sorted(rows, key=lambda row: row.line), passed
