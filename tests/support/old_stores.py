"""Databases as earlier versions made them, and what a database looks like."""

import sqlite3
from contextlib import closing
from pathlib import Path

DUMPS = Path(__file__).parents[1] / "store" / "sql"
"""Holds a folder `version_N` for each version, with a dump of either database."""


def make_old(folder: Path, version: int) -> None:
    """Make the two databases of a server of this version in `folder`."""
    for script in (DUMPS / f"version_{version}").glob("*.sql"):
        path = folder / f"{script.stem}.db"
        path.touch(0o600)
        with closing(sqlite3.connect(path)) as database:
            database.executescript(script.read_text(encoding="utf-8"))


def version_of(path: Path) -> int:
    """Return the version of the tables in a database."""
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


def shape_of(path: Path) -> set[tuple[str, ...]]:
    """Return what columns, indexes and triggers a database has."""
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {
            (table, *map(str, column[1:]))
            for table in tables
            for column in database.execute(f"PRAGMA table_info({table})")
        }
        others = "SELECT name, sql FROM sqlite_master WHERE type IN ('index', 'trigger')"
        return columns | set(database.execute(others))


def dump_of(path: Path) -> list[str]:
    """Return all that a database holds, as statements."""
    with closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())
