"""Statements: SQL that SQLAlchemy compiles once for each engine, and that the driver executes.

SQLAlchemy's own `Connection.execute` takes 60 µs a statement, ten times what SQLite needs for most.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from sqlalchemy import Dialect, Executable
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import NullType, TypeEngine

from antiphon.store.sql.database import Connection, Cursor

Row = dict[str, Any]
"""A row by the names of its columns."""
Convert = Callable[[Any], Any]
Build = Callable[[Any], Executable]
"""Builds a statement from the `insert` of an engine's dialect, which knows `on_conflict_do_…`."""


class _Compiled(NamedTuple):
    """A statement as one engine executes it."""

    text: str
    given: Row
    """Values that stand in the statement itself, as the driver takes them."""
    inward: dict[str, Convert]
    """Conversion of each parameter to what the driver takes, for the types that need one."""
    outward: list[tuple[str, Convert | None]]
    """Each column of a row: its name, and the conversion of what the driver gives, if its type needs one."""


class Statement:
    """A statement with named parameters. Execute it in the thread of the connection.

    It is compiled when it is first executed, so that a start does not pay for statements that are seldom needed.
    """

    def __init__(self, expression: Executable | Build, *columns: str) -> None:
        """Execute `expression`. An `insert` gets as parameters the `columns` that have no value in it."""
        self._expression = expression
        self._columns = columns or None
        self._compiled: dict[str, _Compiled] = {}
        """By the name of the dialect."""

    def rows(self, connection: Connection, **values: Any) -> list[Row]:
        """Execute it; return all rows that it gives."""
        compiled = self.compiled(connection.dialect)
        return _converted(compiled, _execute(connection, compiled, values).fetchall())

    def each(self, connection: Connection, most: int) -> Iterator[Row]:
        """Execute it; yield the rows that it gives, of which no more than `most` are in memory at once."""
        compiled = self.compiled(connection.dialect)
        cursor = _execute(connection, compiled, {})
        while rows := cursor.fetchmany(most):
            yield from _converted(compiled, rows)

    def row(self, connection: Connection, **values: Any) -> Row | None:
        """Execute it; return the first row, None if there is none."""
        rows = self.rows(connection, **values)
        return rows[0] if rows else None

    def value(self, connection: Connection, **values: Any) -> Any:
        """Execute it; return the first column of the first row, None if there is none."""
        row = self.row(connection, **values)
        return next(iter(row.values())) if row else None

    def change(self, connection: Connection, **values: Any) -> int:
        """Execute it; return how many rows it changed."""
        return _execute(connection, self.compiled(connection.dialect), values).rowcount

    def change_each(self, connection: Connection, many: Iterable[Mapping[str, Any]]) -> None:
        """Execute it once for each set of parameters."""
        compiled = self.compiled(connection.dialect)
        connection.executemany(compiled.text, [_bound(compiled, values) for values in many])

    def compiled(self, dialect: Dialect) -> _Compiled:
        """Return it as the engine with this dialect executes it."""
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = self._compile(dialect)
        return found

    def _compile(self, dialect: Dialect) -> _Compiled:
        expression = self._expression
        if not isinstance(expression, Executable):
            expression = expression(import_module(f"sqlalchemy.dialects.{dialect.name}").insert)
        assert isinstance(expression, ClauseElement), "whatever can be executed and is written in Python"
        compiled = expression.compile(dialect=dialect, column_keys=self._columns)
        assert isinstance(compiled, SQLCompiler), "none of them changes a table"
        given: Row = {}
        inward: dict[str, Convert] = {}
        for bind, name in compiled.bind_names.items():
            if isinstance(bind.type, NullType):
                raise TypeError(f"“{name}” has no type, and would be kept as the driver likes")
            convert = _inward(bind.type, dialect)
            if not bind.required:
                given[name] = convert(bind.value) if convert else bind.value
            elif convert:
                inward[name] = convert
        columns = getattr(expression, "exported_columns", ())
        return _Compiled(
            str(compiled), given, inward, [(each.key, _outward(each.type, dialect)) for each in columns]
        )


def _execute(connection: Connection, compiled: _Compiled, values: Mapping[str, Any]) -> Cursor:
    return connection.execute(compiled.text, _bound(compiled, values))


def _converted(compiled: _Compiled, rows: Iterable[Any]) -> list[Row]:
    return [
        {
            name: value if value is None or convert is None else convert(value)
            for (name, convert), value in zip(compiled.outward, row, strict=True)
        }
        for row in rows
    ]


def _bound(compiled: _Compiled, values: Mapping[str, Any]) -> Row:
    bound = {**compiled.given, **values}
    for name, convert in compiled.inward.items():
        bound[name] = convert(bound[name])
    return bound


def _inward(type_: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    return type_.dialect_impl(dialect).bind_processor(dialect)


def _outward(type_: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    return type_.dialect_impl(dialect).result_processor(dialect, None)
