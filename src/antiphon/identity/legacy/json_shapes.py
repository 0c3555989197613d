"""Shapes of JSON: the clients of the objects and arrays in which home-made systems keep them."""

from collections.abc import Iterator, Sequence

from antiphon.errors import Problem, UsageError
from antiphon.identity.legacy.columns import (
    Role,
    entry_by_columns,
    entry_by_content,
    entry_of,
    is_container,
    is_digest,
    role,
    said_by,
)
from antiphon.identity.legacy.formats import Text
from antiphon.identity.legacy.json_text import Node, parse_json
from antiphon.identity.legacy.rows import Cell, Entry, FieldUnusable, Passed, Table, check_lines, is_address
from antiphon.language import N_

_NO_SHAPE = Problem(
    N_(
        "{path} is JSON, but no list of clients that is known: write an object of names and passwords, "
        "or a list of objects with name and password."
    )
)
_NOT_TEXT = Problem(N_("this is neither text nor an object or array of texts"))
_SECRET_ROLES = (Role.PASSWORD, Role.DIGEST)


def read_json(source: Text, columns: Sequence[Role] = ()) -> Table:
    """Return the clients of a JSON text.

    Raises:
        UsageError: the text is no JSON, or JSON of another shape, or too large.
    """
    clients = _clients(parse_json(source), source.path)
    entries: list[Entry] = []
    passed: list[Passed] = []
    roles: set[Role] = set()
    for count, (key, value) in enumerate(clients, 1):
        check_lines(count)
        try:
            entries.append(_entry(key, value, columns, roles))
        except FieldUnusable as error:
            passed.append(error.passed)
    return Table(entries, passed, said_by([*columns, *roles]))


def _clients(top: Node, path: str) -> list[tuple[Node | None, Node]]:
    """Return the clients below the top of a file, each with its key if it has one.

    Raises:
        UsageError: there is no list of clients.
    """
    inner = [(key, value) for key, value in top.members if value.is_object or value.is_array]
    below = [value for key, value in inner if is_container(key.text or "")]
    if len(below) == 1 and not any(_is_one_client(value) for _, value in inner):
        top = below[0]
    elif not inner and _is_one_client(top) and _roles(top) & {Role.LOGIN, Role.NAME, Role.CLIENT}:
        return [(None, top)]
    if top.is_object:
        return [*top.members]
    if top.is_array:
        return [(None, item) for item in top.items]
    raise UsageError(problem=_NO_SHAPE, path=path)


def _is_one_client(node: Node) -> bool:
    """Return whether the keys of an object are those of one client's fields."""
    return bool(_roles(node) & {*_SECRET_ROLES, Role.ADDRESS})


def _roles(node: Node) -> set[Role]:
    return {role(key.text or "") for key, _ in node.members}


def _entry(key: Node | None, value: Node, columns: Sequence[Role], roles: set[Role]) -> Entry:
    """Return a client; add the roles of the keys that it has to `roles`.

    Raises:
        FieldUnusable: the value is none of the shapes.
    """
    start = Cell("", *(key or value)[:2])
    named = None if key is None else Cell(key.text or "", key.line, key.column)
    if value.is_object:
        if named is None and len(value.members) == 1 and role(value.members[0][0].text or "") is Role.OTHER:
            return _entry(*value.members[0], columns, roles)  # a list of objects with one member each
        return entry_of([*_fields(value, roles)], start, named)
    if not value.is_array and named is None:
        raise FieldUnusable(start, UsageError(problem=_NOT_TEXT))
    cells = [_cell(item) for item in value.items] if value.is_array else [_cell(value)]
    fields = cells if named is None else [named, *cells]
    if columns:
        return entry_by_columns(fields, columns, start)
    if named is not None and _is_no_name(named.text) and len(cells) == 2:
        return Entry(cells[0], cells[1], named if is_address(named.text) else None)
    return entry_by_content(fields, start)


def _is_no_name(key: str) -> bool:
    """Return whether a key cannot be a name: an address, a digest or a number."""
    return is_address(key) or is_digest(key) or key.isdecimal()


def _fields(node: Node, roles: set[Role]) -> Iterator[tuple[Role, Cell]]:
    """Yield the fields of an object that matter, with their roles."""
    for key, value in node.members:
        found = role(key.text or "")
        if found is Role.OTHER or (value.text is None and found not in _SECRET_ROLES):
            continue
        roles.add(found)
        yield found, _cell(value)


def _cell(node: Node) -> Cell:
    if node.text is None:
        raise FieldUnusable(Cell("", node.line, node.column), UsageError(problem=_NOT_TEXT))
    return Cell(node.text, node.line, node.column)
