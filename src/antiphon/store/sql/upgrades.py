"""Upgrades: the numbered steps between versions of the tables, and the copy of an SQLite file made before them."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Container
from pathlib import Path
from typing import Final

from antiphon.files import check_file, make_private, sync_folder
from antiphon.store.sql import schema

_KEEP_FAILURES = """
UPDATE failures
SET kept_until = failed_at + (3600000000 << CASE WHEN failures >= 100 THEN 21 ELSE min(failures, 20) END)
WHERE failures > 0
"""
"""What `identity.throttle.kept_until` returns, in microseconds."""
_PROCESSES = """
CREATE TABLE processes (
    id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_at BIGINT NOT NULL,
    beat INTEGER NOT NULL,
    relay_address TEXT NOT NULL,
    relay_version INTEGER NOT NULL,
    service TEXT NOT NULL,
    limits TEXT NOT NULL,
    PRIMARY KEY (id)
) WITHOUT ROWID
"""
_TAKEN_BY_VERSION_4 = """
CREATE TRIGGER sessions_taken AFTER UPDATE OF owner ON sessions
WHEN NEW.owner != NEW.home AND NEW.owner NOT IN (SELECT id FROM processes)
BEGIN
    UPDATE sessions SET home = NULL, claim = claim + 1 WHERE fingerprint = NEW.fingerprint;
END
"""
"""Counts as a claim what a server of version 4 does that takes a session: it writes `owner` and nothing else.

Without it the home of the session would go on with an old channel. Statements of later versions never meet the
condition (`sessions.py`).
"""
_OUTBOX = (
    """
    CREATE TABLE topics (
        id BIGSERIAL NOT NULL,
        name TEXT NOT NULL,
        epoch BIGINT NOT NULL,
        first BIGINT DEFAULT 1 NOT NULL,
        last BIGINT DEFAULT 0 NOT NULL,
        size BIGINT DEFAULT 0 NOT NULL,
        used BIGINT NOT NULL,
        PRIMARY KEY (id),
        UNIQUE (name)
    )
    """,
    """
    CREATE TABLE entries (
        id BIGSERIAL NOT NULL,
        topic BIGINT NOT NULL,
        "offset" BIGINT NOT NULL,
        message BYTEA NOT NULL,
        is_text BOOLEAN NOT NULL,
        size BIGINT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (id),
        FOREIGN KEY(topic) REFERENCES topics (id) ON DELETE CASCADE
    )
    """,
    'CREATE UNIQUE INDEX entries_of_topic ON entries (topic, "offset")',
    """
    CREATE TABLE subscribers (
        topic BIGINT NOT NULL,
        process TEXT NOT NULL,
        number BIGINT NOT NULL,
        account BIGINT NOT NULL,
        name TEXT NOT NULL,
        since BIGINT NOT NULL,
        info BYTEA NOT NULL,
        PRIMARY KEY (topic, process, number),
        FOREIGN KEY(topic) REFERENCES topics (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX subscribers_of_process ON subscribers (process)",
)
"""Tables that only a database which processes of many machines share has."""
BESIDE_TABLES: Final[dict[str, tuple[str, ...]]] = {"sessions": (_TAKEN_BY_VERSION_4,)}
"""Statements that a new database gets after its tables, by a table of the database they are for."""
STEPS: Final[dict[int, dict[str, tuple[str, ...]]]] = {
    4: {
        "failures": (
            "ALTER TABLE failures ADD COLUMN kept_until BIGINT NOT NULL DEFAULT 0",
            "ALTER TABLE failures ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0",
            _KEEP_FAILURES,
            "DROP INDEX ix_failures_failed_at",
            "CREATE INDEX failures_kept ON failures (kept_until, failed_at)",
        ),
    },
    5: {
        "credentials": (
            "ALTER TABLE credentials ADD COLUMN old_form TEXT",
            "UPDATE credentials SET old_form = 'md5' WHERE expires_at IS NOT NULL",  # there was no other form
        ),
        "sessions": (
            "ALTER TABLE sessions ADD COLUMN home TEXT",
            "ALTER TABLE sessions ADD COLUMN claim INTEGER NOT NULL DEFAULT 0",
            _PROCESSES,
            _TAKEN_BY_VERSION_4,
        ),
    },
    6: {
        "accounts": ("ALTER TABLE accounts ADD COLUMN administrator BOOLEAN DEFAULT FALSE NOT NULL",),
        "processes": (
            "ALTER TABLE processes ADD COLUMN place TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE processes ADD COLUMN node_address TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE processes ADD COLUMN certificate TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE processes ADD COLUMN keys TEXT NOT NULL DEFAULT ''",
        ),
        "antiphon": ("ALTER TABLE antiphon ADD COLUMN sealing TEXT", *_OUTBOX),
    },
}
"""Statements that make each version of the tables from the one before it, by a table of the database they are for.

They take nothing away that a server of the version before needs, which may still have the file open. The
first version in PostgreSQL is 5: steps from 6 on must be written for both engines. There `TEXT` is compared by
code points, as in SQLite (`postgres.opening`).
"""
OLDEST: Final = min(STEPS) - 1
"""The oldest version that can be upgraded."""
_BESIDE = ("", "-journal", "-wal", "-shm")


def upgrade(execute: Callable[[str], object], tables: Container[str], version: int) -> None:
    """Make the present tables from those of an earlier `version`, in one transaction of the caller.

    `execute` executes a statement in it; `tables` are those that the database has.
    """
    for later in range(version + 1, schema.SCHEMA_VERSION + 1):
        for table, statements in STEPS[later].items():
            for statement in statements if table in tables else ():
                execute(statement)


def copy_of(path: Path, version: int) -> Path:
    """Return the path of the copy that an upgrade from `version` leaves of the database at `path`."""
    return path.with_name(f"{path.name}.version-{version}")


def keep_copy(path: Path, version: int, timeout: float) -> Path:
    """Copy the database at `path`, of this `version`, to a private file beside it, unless one is there; return it.

    SQLite makes the copy, with what stands in the WAL. It is there whole or not at all, whenever the process is
    killed. Precondition: nobody else makes one, and no other connection can write.

    Raises:
        FolderUnsafe: a link stands in its place, or a copy that others can reach.
        OSError, sqlite3.Error: it cannot be made.
    """
    copy = copy_of(path, version)
    with contextlib.suppress(FileNotFoundError):
        check_file(copy, copy.lstat())
        return copy
    unfinished = copy.with_name(f".{copy.name}.new")
    for suffix in _BESIDE:  # of a process that was killed here
        unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
    make_private(unfinished)
    try:
        # Connections of their own: SQLite copies nothing from one that is writing.
        with (
            contextlib.closing(sqlite3.connect(path, timeout=timeout)) as source,
            contextlib.closing(sqlite3.connect(unfinished)) as target,
        ):
            source.backup(target)
        os.replace(unfinished, copy)  # noqa: PTH105 - as `files.write_atomically`
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return copy
