"""The PostgreSQL engine: all contracts in one database, for the servers and workers of one machine.

Nothing outside `store/opening.py` imports it, because it imports psycopg (extra `antiphon[postgres]`). Everything
that only PostgreSQL knows stands here: at the start its errors become `DatabaseUnusable` and
`DatabaseUnreachable`, later `TryLater` with the driver's error as the cause.
"""

from antiphon.store.sql.postgres.filling import check_fillable, fill_postgres
from antiphon.store.sql.postgres.opening import check_version, open_postgres, prepare, version_of

__all__ = [
    "check_fillable",
    "check_version",
    "fill_postgres",
    "open_postgres",
    "prepare",
    "version_of",
]
