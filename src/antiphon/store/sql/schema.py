"""Tables of a store, for every SQL engine: one schema for accounts, one for sessions."""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    text,
)

SCHEMA_VERSION = 6
"""Version of the tables. Every change of a table raises it; a database of a later version is refused, one of an
earlier version is upgraded by the engine."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class UtcTime(TypeDecorator[datetime]):
    """A time, kept as whole microseconds since 1970 in UTC: SQLite has no type for it, and numbers compare."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's
        """Return the number for a time that has a time zone."""
        return None if value is None else utc_number(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - same
        """Return the time, in UTC."""
        return None if value is None else utc_time(value)


def utc_number(time: datetime) -> int:
    """Return the number that `UtcTime` keeps for a time with a time zone."""
    return (time - _EPOCH) // _MICROSECOND


def utc_time(number: int) -> datetime:
    """Return the time, in UTC, for which `UtcTime` keeps a number."""
    return _EPOCH + timedelta(microseconds=number)


# Engines with one size of integers give the size that is needed; texts are compared and sorted by code points.
_Number = Integer().with_variant(BigInteger, "postgresql")
_Words = Text().with_variant(Text(collation="C"), "postgresql")

ACCOUNTS_SCHEMA = MetaData()
SESSIONS_SCHEMA = MetaData()
SHARED_SCHEMA = MetaData()
"""Tables of a database that is not in the data folder of its servers."""

ACCOUNTS = Table(
    "accounts",
    ACCOUNTS_SCHEMA,
    Column("id", _Number, primary_key=True),
    Column("key", _Words, nullable=False, unique=True),
    Column("display", _Words, nullable=False),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("epoch", _Number, nullable=False, default=0),
    Column("registered_at", UtcTime, nullable=False),
    Column("registered_from", _Words, nullable=False),
    Column("visited_at", UtcTime),
    Column("visited_from", _Words),
    Column("refusals", _Number, nullable=False, default=0),  # since visited_at, as versions before 4 counted them
    # The visit before: kept, so that one UPDATE records a visit and returns the one that it replaces.
    Column("previous_at", UtcTime),
    Column("previous_from", _Words),
    Column("previous_refusals", _Number),
    Column("administrator", Boolean, nullable=False, server_default=text("FALSE")),
    sqlite_autoincrement=True,  # a number is never given again: seals and sessions name it
)

CREDENTIALS = Table(
    "credentials",
    ACCOUNTS_SCHEMA,
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("type", _Words, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("must_change", Boolean, nullable=False, default=False),
    Column("expires_at", UtcTime),
    Column("old_form", _Words),  # of an imported password, as `identity.old_forms` names it
)

CLIENTS = Table(
    "clients",
    ACCOUNTS_SCHEMA,
    Column("address", _Words, primary_key=True),
    Column("key", _Words, primary_key=True),
    Column("display", _Words, nullable=False),
    Column("first_at", UtcTime, nullable=False),
    Column("visited_at", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)

INVITATIONS = Table(
    "invitations",
    ACCOUNTS_SCHEMA,
    Column("id", _Number, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False, unique=True),
    Column("display", _Words, nullable=False),
    Column("key", _Words, nullable=False, index=True),
    Column("made_at", UtcTime, nullable=False),
    Column("made_by", _Words, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("used_at", UtcTime),
    Column("used_from", _Words),
    sqlite_autoincrement=True,
)

SESSIONS = Table(
    "sessions",
    SESSIONS_SCHEMA,
    Column("fingerprint", LargeBinary, primary_key=True),
    Column("account_id", _Number, nullable=False),  # of another database: no foreign key
    Column("name", _Words, nullable=False),
    Column("epoch", _Number, nullable=False),
    Column("opened_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    # Whose socket carries the connection that holds it. Untrue if that process is not in `processes`.
    Column("owner", _Words),
    Column("address", _Words, nullable=False),
    Column("home", _Words),
    Column("claim", _Number, nullable=False, server_default=text("0")),
    Column("kept", LargeBinary),  # the snapshot
    Index("sessions_of_account", "account_id"),  # counted at every sign-in
    sqlite_with_rowid=False,
)

PROCESSES = Table(
    "processes",
    SESSIONS_SCHEMA,
    Column("id", _Words, primary_key=True),
    Column("pid", _Number, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("beat", _Number, nullable=False),
    Column("relay_address", _Words, nullable=False),
    Column("relay_version", _Number, nullable=False),
    Column("service", _Words, nullable=False),
    Column("limits", _Words, nullable=False),
    Column("place", _Words, nullable=False, server_default=text("''")),
    Column("node_address", _Words, nullable=False, server_default=text("''")),
    Column("certificate", _Words, nullable=False, server_default=text("''")),
    Column("keys", _Words, nullable=False, server_default=text("''")),
    sqlite_with_rowid=False,
)

FAILURES = Table(
    "failures",
    SESSIONS_SCHEMA,
    Column("name", LargeBinary, primary_key=True),
    Column("failures", _Number, nullable=False),
    Column("failed_at", UtcTime, nullable=False),
    Column("kept_until", UtcTime, nullable=False, server_default=text("0")),  # `throttle.kept_until`
    Column("refusals", _Number, nullable=False, server_default=text("0")),  # since the last sign-in
    Index("failures_kept", "kept_until", "failed_at"),  # the first of them make way
    sqlite_with_rowid=False,
)

SOURCES = Table(
    "sources",  # addresses from which a name has signed in, with their own failures since
    SESSIONS_SCHEMA,
    Column("name", LargeBinary, primary_key=True),
    Column("source", LargeBinary, primary_key=True),
    Column("used_at", UtcTime, nullable=False),
    Column("failures", _Number, nullable=False, default=0),
    Column("failed_at", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)

REVOCATIONS = Table(
    "revocations",
    SESSIONS_SCHEMA,
    Column("id", _Number, primary_key=True),
    Column("fingerprint", LargeBinary),
    Column("account_id", _Number),
    Column("owner", _Words),
    Column("reason", _Words, nullable=False),
    Column("at", UtcTime, nullable=False),
    sqlite_autoincrement=True,  # servers remember the last number that they read, also of a deleted row
)

ANTIPHON = Table(
    "antiphon",  # one row: what is true of the whole database
    SHARED_SCHEMA,
    Column("version", _Number, nullable=False),  # of the tables
    Column("ring", LargeBinary),  # mark of the key ring that belongs to it
    Column("place", _Words),  # machine and data folder of the servers that use it
    Column("sealing", _Words),  # mark of the key that seals its accounts
)

TOPICS = Table(
    "topics",
    SHARED_SCHEMA,
    Column("id", _Number, primary_key=True),
    Column("name", _Words, nullable=False, unique=True),
    Column("epoch", _Number, nullable=False),
    Column("first", _Number, nullable=False, server_default=text("1")),  # the oldest entry that is kept
    Column("last", _Number, nullable=False, server_default=text("0")),
    Column("size", _Number, nullable=False, server_default=text("0")),  # bytes of the entries that are kept
    Column("used", _Number, nullable=False),  # in the order of the entries' numbers
)

ENTRIES = Table(
    "entries",
    SHARED_SCHEMA,
    Column("id", _Number, primary_key=True),  # in the order of commits
    Column("topic", ForeignKey("topics.id", ondelete="CASCADE"), nullable=False),
    Column("offset", _Number, nullable=False),
    Column("message", LargeBinary, nullable=False),
    Column("is_text", Boolean, nullable=False),
    Column("size", _Number, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("entries_of_topic", "topic", "offset", unique=True),
)

SUBSCRIBERS = Table(
    "subscribers",
    SHARED_SCHEMA,
    Column("topic", ForeignKey("topics.id", ondelete="CASCADE"), primary_key=True),
    Column("process", _Words, primary_key=True),  # untrue if it is not in `processes`
    Column("number", _Number, primary_key=True),
    Column("account", _Number, nullable=False),
    Column("name", _Words, nullable=False),
    Column("since", UtcTime, nullable=False),
    Column("info", LargeBinary, nullable=False),  # text that may hold NUL
    Index("subscribers_of_process", "process"),
)
