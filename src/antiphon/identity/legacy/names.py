"""The list of names of an old system: names with their addresses."""

import re
from dataclasses import dataclass, field

from antiphon.errors import Problem, UsageError
from antiphon.identity.legacy.columns import is_heading
from antiphon.identity.legacy.formats import decoded
from antiphon.identity.legacy.json_shapes import read_json
from antiphon.identity.legacy.rows import (
    LONGEST_LINE,
    TOO_LONG,
    Passed,
    Table,
    Why,
    check_lines,
    checked_name,
    is_address,
    plain_address,
    run_together,
)
from antiphon.identity.names import Name
from antiphon.identity.old_forms import MD5
from antiphon.language import N_

_NO_NAME = Problem(N_("it has no name"))
_NO_ADDRESS = Problem(N_("it is neither a name nor a name with its address"))
_UNNAMED = Problem(N_("no name is known for it"))
_AMBIGUOUS = Problem(N_("more than one name is known for it"))
_MARKS = re.compile(r'[|:="\[\]{}()<>]')
"""Characters that stand in no name of a list: a line with one is of another kind, perhaps with a password."""


@dataclass(frozen=True, slots=True)
class Known:
    """A line of the list of names: a name, with its address if the line has one."""

    line: int
    name: Name
    address: str | None


@dataclass(frozen=True, slots=True)
class Names:
    """The list of names, indexed by what the old system may have stored for a client: an address or a digest."""

    known: list[Known] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    _claims: dict[str, tuple[int, dict[str, Name]]] = field(default_factory=dict)
    """By digest or address: the rank of the names (0 is the most likely reading), and the names by key."""

    def find(self, client: str) -> Name:
        """Return the name of a client, given as an address or as the MD5 of an address or a name.

        Raises:
            UsageError: no name, or more than one, is known for it.
        """
        _, names = self._claims.get(client.lower(), (0, {}))
        if len(names) != 1:
            raise UsageError(problem=_AMBIGUOUS if names else _UNNAMED)
        return next(iter(names.values()))

    def claim(self, name: Name, written: str, address: str | None, rank: int) -> None:
        """Index a name, `written` so in the list, under its digests, its address and the address's digests.

        Where several names claim one digest or address, those of the lowest `rank` win.
        """
        clients = [*MD5.digests(written), *MD5.digests(name.display)]
        if address is not None:
            plain = plain_address(address)
            clients += [address.lower(), plain, *MD5.digests(address), *MD5.digests(plain)]
        for client in clients:
            held, names = self._claims.get(client, (rank, {}))
            if rank < held:
                names = {}
            if rank <= held:
                self._claims[client] = (rank, names | {name.key: name})


def read_names(data: bytes, path: str = "-") -> Names:
    """Read a `clients.txt`: one name a line, alone or with its address before, after or directly behind it.

    `Vadim192.168.1.39` may be Vadim, Vadim1 or Vadim19. The reading with the longest address comes first; the
    others are used only for digests that it does not match. JSON is read too, in the shapes that have addresses.

    Raises:
        UsageError: the file is of another format, or there are more than `LINES_MOST` lines.
    """
    text = decoded(data, path)
    names = Names()
    if text.is_json:
        _read_table(read_json(text), names)
    else:
        _read_text(text.text, names)
    return names


def _read_text(text: str, names: Names) -> None:
    filled = 0
    lines = text.split("\n")
    for number, line in enumerate(map(str.strip, lines if lines[-1] else lines[:-1]), 1):
        filled += bool(line)
        check_lines(filled)
        if not line:
            names.passed.append(Passed(number, Why.EMPTY))
        elif len(line) > LONGEST_LINE:
            names.passed.append(Passed(number, Why.BROKEN, UsageError(problem=TOO_LONG, most=LONGEST_LINE)))
        elif filled == 1 and is_heading(line):
            names.passed.append(Passed(number, Why.HEADING))
        else:
            try:
                _add(number, _parted(line), names)
            except UsageError as error:
                names.passed.append(Passed(number, Why.BROKEN, error))


def _read_table(table: Table, names: Names) -> None:
    names.passed.extend(table.passed)
    for entry in table.entries:
        name, address = entry.client, entry.address
        if entry.pair and entry.password:
            name, address = (
                (entry.password, entry.client) if is_address(entry.client.text) else (entry.client, entry.password)
            )
        try:
            if address is None or not is_address(address.text) or is_address(name.text):
                raise UsageError(problem=_NO_ADDRESS)  # noqa: TRY301 - told as the error of the name below
            _add(name.line, [(name.text, address.text)], names)
        except UsageError as error:
            names.passed.append(Passed(name.line, Why.BROKEN, error, name.column))


def _add(number: int, readings: list[tuple[str, str | None]], names: Names) -> None:
    """Add a name to the list, in every way in which it can be read.

    Raises:
        UsageError: the first reading is no name.
    """
    for rank, (written, address) in enumerate(readings):
        try:
            name = checked_name(written)
        except UsageError:
            if rank == 0:
                raise
            continue
        if rank == 0:
            names.known.append(Known(number, name, None if address is None else plain_address(address)))
        names.claim(name, written, address, rank)


def _parted(text: str) -> list[tuple[str, str | None]]:
    """Return every way to split a line into a name and its address, the most likely first.

    Raises:
        UsageError: there is none.
    """
    parts = [part for part in re.split(r"[;,\s]+", text) if part]
    addresses = [part for part in parts if is_address(part)]
    match parts, addresses:
        case [_, _], [address]:
            return [(parts[parts[0] == address], address)]
        case [alone], [] if not _MARKS.search(alone) or list(run_together(alone)):
            return list(run_together(alone)) or [(alone, None)]
    raise UsageError(problem=_NO_NAME if len(addresses) == len(parts) else _NO_ADDRESS)
