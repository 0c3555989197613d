"""Readers for the files of an older, home-made system: a CSV of MD5 passwords, and a list of names and addresses.

A reader takes the bytes of a file and classifies every line: an account, or a reason why the line gives none. The
caller reads the files and stores the accounts.
"""

import csv
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from antiphon.errors import NameInvalid, Problem, UsageError
from antiphon.identity.names import Name, prepare
from antiphon.identity.old_forms import MD5
from antiphon.identity.passwords import Password
from antiphon.language import N_

LINES_MOST = 10_000
"""Most lines of a file that are not empty."""
ROWS_MOST = 1_000
"""Most clients of a file: all become accounts in one transaction, which must end within 2.5 s."""
LONGEST_LINE = 1_000
"""Characters. A name has at most 64, and a hash of any known scheme a few hundred."""

_LINES = Problem(N_("The file has more than {most} lines. Split it, and import the parts one by one."))
_CLIENTS = Problem(N_("The file has more than {most} clients. Split it, and import the parts one by one."))
_TOO_LONG = Problem(N_("it has more than {most} characters"))
_QUOTES = Problem(N_("its quotation marks do not match"))
_FIELDS = Problem(N_("the number of its fields is {count}, not 2"))
_NO_DIGEST = Problem(N_("its second field is not an MD5 of 32 hexadecimal digits"))
_NO_NAME = Problem(N_("it has no name"))
_NO_ADDRESS = Problem(N_("it is neither a name nor a name with its address"))
_SCHEME = Problem(N_("passwords of the kind {scheme} are not supported"))
_EMPTY_PASSWORD = Problem(N_("its password is empty"))
_UNNAMED = Problem(N_("no name is known for it"))
_AMBIGUOUS = Problem(N_("more than one name is known for it"))
_REPEATED = Problem(N_("line {later} is about the same client and replaces it"))

_DELIMITERS = ";\t,:"
"""Field delimiters, the most preferred first: the first that a row contains is used. The colon is for htpasswd."""
_DIGEST = re.compile(r"[0-9A-Fa-f]{32}")
_MARK = (
    r"\$(?:1|5|6|7|2[abxy]?|y|gy|H|P|S|apr1|md5|sha1|scrypt|argon2(?:id|i|d)|bcrypt-sha256|pbkdf2[-\w]*)\$"
    r"|\{(?:S?SHA\d*|S?MD5|CRYPT|ARGON2|PBKDF2[-\w]*)\}"
    r"|(?:md5|sha1|bcrypt\w*|argon2|scrypt|pbkdf2_\w+)\$"
)
"""The prefix by which a hashed password names its scheme. Messages repeat only this: the rest may be a secret."""
_MARKED = re.compile(rf'([^;\t,:]*)[;\t,:]\s*"?({_MARK})', re.IGNORECASE)
"""A row with such a password; what follows the prefix may contain delimiters, such as the commas of argon2."""
_SCHEMES = {
    "crypt": re.compile(r"[./0-9A-Za-z]{13}"),
    "MySQL": re.compile(r"\*[0-9A-Fa-f]{40}"),
    "SHA-1": re.compile(r"[0-9A-Fa-f]{40}"),
    "SHA-224": re.compile(r"[0-9A-Fa-f]{56}"),
    "SHA-256": re.compile(r"[0-9A-Fa-f]{64}"),
    "SHA-384": re.compile(r"[0-9A-Fa-f]{96}"),
    "SHA-512": re.compile(r"[0-9A-Fa-f]{128}"),
}
_HEADING_WORD = re.compile(
    r"clients?|user(?:name)?|name|login|id|ip(?:v[46])?|host|addr(?:ess)?|hash|md5|digest|pass(?:wd|word)?|pwd"
    r"|клиента?|пользовател[ья]|имя|логин|айпи|узел|адрес|х[еэ]ш|парол[ья]"
)
_LONGEST_ADDRESS = 45
"""Characters: an IPv6 address that ends in an IPv4 address."""


class Why(StrEnum):
    """Why a line gives no account."""

    EMPTY = "empty"
    HEADING = "heading"
    REPEATED = "repeated"
    """A later line is about the same client."""
    UNNAMED = "unnamed"
    """The client is a digest or an address for which no name, or more than one, is known."""
    UNSUPPORTED = "unsupported"
    """The password is empty, or hashed by another scheme."""
    BROKEN = "broken"
    """The line cannot be read."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line that gives an account: a client and its password."""

    line: int
    name: Name
    password: Password
    """The MD5 of what the person types, as 32 lower-case hexadecimal digits; SCRAM uses this as the password."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A line that gives no account."""

    line: int
    why: Why
    error: UsageError | None = None
    """What is wrong, without anything of a password; None for an empty line and a heading."""


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
            plain = _plain(address)
            clients += [address.lower(), plain, *MD5.digests(address), *MD5.digests(plain)]
        for client in clients:
            held, names = self._claims.get(client, (rank, {}))
            if rank < held:
                names = {}
            if rank <= held:
                self._claims[client] = (rank, names | {name.key: name})


def read_names(data: bytes) -> Names:
    """Read a `clients.txt`: one name a line, alone or with its address before, after or directly behind it.

    `Vadim192.168.1.39` may be Vadim, Vadim1 or Vadim19. The reading with the longest address comes first; the
    others are used only for digests that it does not match.

    Raises:
        UsageError: there are more than `LINES_MOST` lines.
    """
    names = Names()
    for number, text in _lines(data, names.passed):
        try:
            for rank, (written, address) in enumerate(_parted(text)):
                try:
                    name = prepare(written)
                except NameInvalid:
                    if rank == 0:
                        raise
                    continue
                if rank == 0:
                    names.known.append(Known(number, name, None if address is None else _plain(address)))
                names.claim(name, written, address, rank)
        except UsageError as error:
            names.passed.append(Passed(number, Why.BROKEN, error))
    return names


def read_accounts(data: bytes, names: Names) -> tuple[list[Row], list[Passed]]:
    """Read a `clients.csv`: rows of a client and the MD5 of its password; the last row of a client counts.

    The client is a name, or an address, or the MD5 of either; `names` gives the name of the latter three.

    Raises:
        UsageError: there are more than `LINES_MOST` lines or `ROWS_MOST` clients.
    """
    latest: dict[str, Row | Passed] = {}
    passed: list[Passed] = []
    for number, text in _lines(data, passed):
        client, found = _read_row(number, text, names)
        if client in latest:
            passed.append(Passed(latest[client].line, Why.REPEATED, UsageError(problem=_REPEATED, later=number)))
        latest[client] = found
    rows = [found for found in latest.values() if isinstance(found, Row)]
    if len(rows) > ROWS_MOST:
        raise UsageError(problem=_CLIENTS, most=ROWS_MOST)
    passed += [found for found in latest.values() if isinstance(found, Passed)]
    return sorted(rows, key=lambda row: row.line), sorted(passed, key=lambda line: line.line)


def _lines(data: bytes, passed: list[Passed]) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line to parse; add empty lines, headings and overlong lines to `passed`."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1251", "replace")
    lines = re.split(r"\r\n|\r|\n", text)
    filled = 0
    for number, line in enumerate(map(str.strip, lines if lines[-1] else lines[:-1]), 1):
        filled += bool(line)
        if filled > LINES_MOST:
            raise UsageError(problem=_LINES, most=LINES_MOST)
        if not line:
            passed.append(Passed(number, Why.EMPTY))
        elif len(line) > LONGEST_LINE:
            passed.append(Passed(number, Why.BROKEN, UsageError(problem=_TOO_LONG, most=LONGEST_LINE)))
        elif filled == 1 and _is_heading(line):
            passed.append(Passed(number, Why.HEADING))
        else:
            yield number, line


def _is_heading(line: str) -> bool:
    words = re.findall(r"[^\W_]+", line.casefold())
    return len(words) > 1 and all(map(_HEADING_WORD.fullmatch, words))


def _read_row(number: int, text: str, names: Names) -> tuple[str, Row | Passed]:
    """Parse a row; return a key that identifies its client, and the account or the reason why there is none."""
    client = f"line {number}"  # the key of a broken row: it has a space, so no client has it
    try:
        written, hashed = _fields(text)
        client, name = _client(written, names)
        password = _password(hashed)
    except UsageError as error:
        return client, Passed(number, Why.BROKEN, error)
    if isinstance(password, UsageError):
        return client, Passed(number, Why.UNSUPPORTED, password)
    if isinstance(name, UsageError):
        return client, Passed(number, Why.UNNAMED, name)
    return client, Row(number, name, password)


def _fields(text: str) -> list[str]:
    if marked := _MARKED.match(text):
        return [marked[1].strip(' "'), marked[2]]
    delimiter = next((delimiter for delimiter in _DELIMITERS if delimiter in text), _DELIMITERS[0])
    try:
        (fields,) = csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True)
    except csv.Error:
        raise UsageError(problem=_QUOTES) from None
    if len(fields) != 2:
        raise UsageError(problem=_FIELDS, count=len(fields))
    return [field.strip() for field in fields]


def _client(written: str, names: Names) -> tuple[str, Name | UsageError]:
    """Return a key that identifies the client, and its name or the error that says why it has none."""
    if not (_DIGEST.fullmatch(written) or _is_address(written)):
        name = prepare(written)
        return name.key, name
    try:
        name = names.find(written)
    except UsageError as error:
        return written.lower(), error
    return name.key, name


def _password(hashed: str) -> Password | UsageError:
    """Return the password for SCRAM, or the error that says why this kind of password is not supported.

    Raises:
        UsageError: the field is not a hashed password.
    """
    digest = hashed.lower()
    if _DIGEST.fullmatch(digest):
        return UsageError(problem=_EMPTY_PASSWORD) if digest in MD5.digests("") else Password(digest)
    marked = re.match(_MARK, hashed, re.IGNORECASE)
    scheme = marked[0] if marked else next((name for name, form in _SCHEMES.items() if form.fullmatch(hashed)), "")
    if scheme:
        return UsageError(problem=_SCHEME, scheme=scheme)
    raise UsageError(problem=_NO_DIGEST)


def _parted(text: str) -> list[tuple[str, str | None]]:
    """Return every way to split a line into a name and its address, the most likely first.

    Raises:
        UsageError: there is none.
    """
    parts = [part for part in re.split(r"[;,\s]+", text) if part]
    addresses = [part for part in parts if _is_address(part)]
    match parts, addresses:
        case [_, _], [address]:
            return [(parts[parts[0] == address], address)]
        case [alone], []:
            return list(_run_together(alone)) or [(alone, None)]
    raise UsageError(problem=_NO_NAME if len(addresses) == len(parts) else _NO_ADDRESS)


def _run_together(text: str) -> Iterator[tuple[str, str]]:
    """Yield every way to split a name from an address directly behind it, the longest address first."""
    for at in range(max(1, len(text) - _LONGEST_ADDRESS), len(text)):
        if _is_address(text[at:]):
            yield text[:at], text[at:]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _plain(address: str) -> str:
    """Return the canonical spelling of an address."""
    return str(ipaddress.ip_address(address))
