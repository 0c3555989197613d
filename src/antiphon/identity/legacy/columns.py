"""Columns: which field of a client is its name, its address and its password, by headings, keys or content."""

import re
from collections.abc import Sequence
from enum import Enum

from antiphon.errors import Problem, UsageError
from antiphon.identity.legacy.rows import Cell, Entry, FieldUnusable, Said, is_address
from antiphon.identity.old_forms import HASHES
from antiphon.language import N_

FIELDS = Problem(N_("the number of its fields is {count}, not {expected}"))
NO_PASSWORD = Problem(N_("it has no password"))
NO_CLIENT = Problem(N_("it has neither a name nor an address"))
_UNKNOWN_COLUMNS = Problem(
    N_("it has {count} fields, and nothing says which is which: name them with --columns, as in ip,name,password")
)
_TWO_PASSWORDS = Problem(
    N_("two columns or keys look like the password: name the columns with --columns, as in name,-,password")
)
_SALT = Problem(N_("its password is hashed with a salt of its own, which is not supported"))
_FIELD_NAME = Problem(
    N_(
        "{path}, line {line}, column {column}: the name of a field stands where a client's is expected, "
        "so the file looks like another format. Nothing of it was read."
    )
)


class Role(Enum):
    """Content of a column; the lower of two names counts."""

    LOGIN = 1
    NAME = 2
    CLIENT = 3
    ADDRESS = 4
    PASSWORD = 5
    DIGEST = 6
    SALT = 7
    OTHER = 8


_WORDS = {
    Role.ADDRESS: r"ip(?:v?[46])?|(?:ip)?addr(?:ess)?|host|айпи|узел|адрес",
    Role.SALT: "salt|соль",
    Role.PASSWORD: r"pass(?:wd|word|w)?|pwd|psw|psswd|парол[ья]",
    Role.LOGIN: r"login|user(?:name)?|nick(?:name)?|логин|ник|пользовател[ья]",
    Role.NAME: "name|имя",
    Role.CLIENT: r"clients?|id|клиента?",
    Role.DIGEST: r"(?:password|pass)?hash|md5|sha(?:224|256|512|1)?|digest|х[еэ]ш",
}
"""Words of headings and keys by their role; of several words in one heading the first role here counts."""
_SECRET = re.compile(f"{_WORDS[Role.PASSWORD]}|{_WORDS[Role.DIGEST]}")
_ANY_WORD = re.compile("|".join(_WORDS.values()))
_MANY_WORDS = re.compile(
    r"clients|users|accounts|people|members|students|data(?:base)?|db|клиенты|пользователи|люди|ученики|студенты"
)
_NAMES = (Role.LOGIN, Role.NAME, Role.CLIENT)


def role(heading: str) -> Role:
    """Return the role of a column by its heading."""
    words = _words(heading)
    for found, pattern in _WORDS.items():
        if any(re.fullmatch(pattern, word) for word in words):
            # “md5(password)” and “password_hash” say what is made of the password
            if found is Role.PASSWORD and any(re.fullmatch(_WORDS[Role.DIGEST], word) for word in words):
                return Role.DIGEST
            return found
    return Role.OTHER


def is_container(key: str) -> bool:
    """Return whether a key says that clients stand below it."""
    return bool(_MANY_WORDS.fullmatch(key.casefold()))


def is_heading(line: str) -> bool:
    """Return whether all words of a line are words of headings."""
    words = _words(line)
    return len(words) > 1 and all(map(_ANY_WORD.fullmatch, words))


def are_columns(words: Sequence[str]) -> bool:
    """Return whether words name columns: those of a client and a password, and perhaps others or `-`."""
    known = all(word == "-" or role(word) is not Role.OTHER for word in words)
    return known and is_heading_row(words)


def is_heading_row(cells: Sequence[str]) -> bool:
    """Return whether the fields of a row are headings: one of a password, and one of a client."""
    if not any(_SECRET.search(cell.casefold()) for cell in cells):  # asked for every line, and soon answered
        return False
    roles = [role(cell) for cell in cells]
    secret = any(found in (Role.PASSWORD, Role.DIGEST) for found in roles)
    return secret and any(found in (*_NAMES, Role.ADDRESS) for found in roles)


def said_by(roles: Sequence[Role]) -> Said | None:
    """Return what the columns say of the passwords."""
    if Role.DIGEST in roles:
        return Said.DIGEST
    return Said.PASSWORD if Role.PASSWORD in roles else None


def entry_of(cells: Sequence[tuple[Role, Cell]], start: Cell, key: Cell | None = None) -> Entry:
    """Return the client whose fields have roles; `key` is what stands for it in a JSON object.

    Raises:
        FieldUnusable: there is no client, or not one password.
    """
    by_role: dict[Role, list[Cell]] = {}
    for found, cell in cells:
        by_role.setdefault(found, []).append(cell)
    passwords = by_role.get(Role.PASSWORD, []) + by_role.get(Role.DIGEST, [])
    if len(passwords) > 1:
        raise FieldUnusable(start, UsageError(problem=_TWO_PASSWORDS))
    if by_role.get(Role.SALT):
        raise FieldUnusable(start, UsageError(problem=_SALT))
    keyed_address = key if key is not None and is_address(key.text) else None
    address = next(iter(by_role.get(Role.ADDRESS, [])), keyed_address)
    names = [cell for found in _NAMES for cell in by_role.get(found, [])]
    if key is not None and keyed_address is None and not names:
        names.append(key)
    client = next(iter(names), address)
    if client is None:
        raise FieldUnusable(start, UsageError(problem=NO_CLIENT))
    return Entry(client, passwords[0] if passwords else None, address)


def entry_by_columns(cells: Sequence[Cell], columns: Sequence[Role], start: Cell) -> Entry:
    """Return the client of fields below headings.

    Raises:
        FieldUnusable: there are more or fewer fields than headings, no client, or not one password.
    """
    if len(cells) != len(columns):
        raise FieldUnusable(start, UsageError(problem=FIELDS, count=len(cells), expected=len(columns)))
    return entry_of([*zip(columns, cells, strict=True)], start)


def entry_by_content(cells: Sequence[Cell], start: Cell) -> Entry:
    """Return the client of fields without headings: name and password, or these and an address or its digest.

    Raises:
        FieldUnusable: the fields do not say which is which.
    """
    if len(cells) < 2:
        raise FieldUnusable(start, UsageError(problem=FIELDS, count=len(cells), expected=2))
    if len(cells) == 2:
        client, password = cells
        return Entry(client, password, pair=True)
    others = [index for index, cell in enumerate(cells) if is_address(cell.text)]
    if not others and is_digest(cells[0].text):
        others = [0]
    if len(cells) != 3 or len(others) != 1:
        raise FieldUnusable(start, UsageError(problem=_UNKNOWN_COLUMNS, count=len(cells)))
    client, password = (cell for index, cell in enumerate(cells) if index != others[0])
    return Entry(client, password, cells[others[0]])


def is_digest(text: str) -> bool:
    """Return whether a text looks like a digest of any old form."""
    return len(text) in HASHES.values() and re.fullmatch(r"[0-9A-Fa-f]+", text) is not None


def check_names(entries: Sequence[Entry], path: str) -> None:
    """Refuse a file in which a client is called as a field is.

    Raises:
        UsageError: with line and column.
    """
    for entry in entries:
        if _ANY_WORD.fullmatch(entry.client.text.strip().casefold()):
            _, line, column = entry.client
            raise UsageError(problem=_FIELD_NAME, path=path, line=line, column=column)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())
