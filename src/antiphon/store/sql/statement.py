"""SQL that SQLAlchemy writes once and the driver executes: the one description of every statement stays its own.

SQLAlchemy's way through `Connection.execute` costs 60 µs a statement, ten times what SQLite needs for most.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import Executable
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import NullType, TypeEngine

Row = dict[str, Any]
"""A row by the names of its columns."""
Convert = Callable[[Any], Any]

_DIALECT = SQLiteDialect_pysqlite(paramstyle="named")


class _Compiled(NamedTuple):
    """What executing takes."""

    text: str
    given: Row
    """Values that stand in the statement itself, as the driver takes them."""
    inward: dict[str, Convert]
    """What turns a parameter into what the driver takes, for the types that need it."""
    outward: list[tuple[str, Convert | None]]
    """Each column of a row: its name, and what turns what the driver gives into its type."""


class Statement:
    """A statement with named parameters, to be executed in the thread of a connection.

    It is compiled when it is executed first, so that a start does not pay for what is seldom needed.
    """

    def __init__(self, expression: Executable, *columns: str) -> None:
        """Execute `expression`; an `insert` gets as parameters the `columns` that have no value in it."""
        self._expression = expression
        self._columns = columns or None

    def rows(self, connection: sqlite3.Connection, **values: Any) -> list[Row]:
        """Return all rows that it gives."""
        columns = self._compiled.outward
        return [
            {
                name: value if value is None or convert is None else convert(value)
                for (name, convert), value in zip(columns, row, strict=True)
            }
            for row in self._executed(connection, values).fetchall()
        ]

    def row(self, connection: sqlite3.Connection, **values: Any) -> Row | None:
        """Return the first row, None where there is none."""
        rows = self.rows(connection, **values)
        return rows[0] if rows else None

    def value(self, connection: sqlite3.Connection, **values: Any) -> Any:
        """Return the first column of the first row, None where there is none."""
        row = self.row(connection, **values)
        return next(iter(row.values())) if row else None

    def change(self, connection: sqlite3.Connection, **values: Any) -> int:
        """Return how many rows it changed."""
        return self._executed(connection, values).rowcount

    def change_each(self, connection: sqlite3.Connection, many: Iterable[Mapping[str, Any]]) -> None:
        """Execute it once for each set of parameters."""
        connection.executemany(self._compiled.text, [self._bound(values) for values in many])

    @cached_property
    def _compiled(self) -> _Compiled:
        expression = self._expression
        assert isinstance(expression, ClauseElement), "whatever can be executed and is written in Python"
        compiled = expression.compile(dialect=_DIALECT, column_keys=self._columns)
        assert isinstance(compiled, SQLCompiler), "none of them changes a table"
        given: Row = {}
        inward: dict[str, Convert] = {}
        for bind, name in compiled.bind_names.items():
            if isinstance(bind.type, NullType):
                raise TypeError(f"“{name}” has no type, and would be kept as the driver likes")
            convert = _inward(bind.type)
            if not bind.required:
                given[name] = convert(bind.value) if convert else bind.value
            elif convert:
                inward[name] = convert
        columns = getattr(expression, "exported_columns", ())
        return _Compiled(str(compiled), given, inward, [(each.key, _outward(each.type)) for each in columns])

    def _executed(self, connection: sqlite3.Connection, values: Mapping[str, Any]) -> sqlite3.Cursor:
        return connection.execute(self._compiled.text, self._bound(values))

    def _bound(self, values: Mapping[str, Any]) -> Row:
        compiled = self._compiled
        bound = {**compiled.given, **values}
        for name, convert in compiled.inward.items():
            bound[name] = convert(bound[name])
        return bound


def _inward(type_: TypeEngine[Any]) -> Convert | None:
    return type_.dialect_impl(_DIALECT).bind_processor(_DIALECT)


def _outward(type_: TypeEngine[Any]) -> Convert | None:
    return type_.dialect_impl(_DIALECT).result_processor(_DIALECT, None)
