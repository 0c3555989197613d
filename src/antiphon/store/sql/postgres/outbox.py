"""Outbox in PostgreSQL: topics, their messages and subscribers.

Whoever publishes or subscribes holds one lock until the commit (`Lock.TOPICS`), so that numbers come in the order
of commits, and a topic does not go while somebody comes. Readers wait for nobody.
"""

import secrets
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from antiphon.store.contracts import OUTBOX_KEPT, Kept, Posted, Present
from antiphon.store.sql.database import TOPICS_CHANNEL, Lock
from antiphon.store.sql.postgres.connection import PostgresConnection
from antiphon.store.sql.postgres.database import PostgresDatabase
from antiphon.store.sql.schema import utc_number, utc_time
from antiphon.topics import (
    ENTRY_OVERHEAD,
    HISTORY_LIMIT,
    HISTORY_MOST,
    TOPICS_MOST,
    TOTAL_LIMIT,
    Subscriber,
)

NEWS_MOST: Final = 500
"""Messages that are given at once."""
NEWS_LIMIT: Final = 64 * 1024
"""Bytes of a message above which it is not given along with others."""

_FIND = "SELECT id, name, epoch, first, last, size FROM topics WHERE name = ANY(%(names)s)"
_COUNT = "SELECT count(*) FROM topics"
_FORGET = """
DELETE FROM topics WHERE id = (
    SELECT id FROM topics WHERE NOT EXISTS (SELECT FROM subscribers WHERE topic = topics.id) ORDER BY used LIMIT 1
)"""
_MAKE = """
INSERT INTO topics (name, epoch, used) VALUES (%(name)s, %(epoch)s, nextval('entries_id_seq'))
RETURNING id, name, epoch, first, last, size"""
_ADD = """
INSERT INTO entries (topic, "offset", message, is_text, size, at)
VALUES (%(topic)s, %(offset)s, %(message)s, %(is_text)s, %(size)s, %(at)s)"""
_MOVE = """
UPDATE topics SET first = %(first)s, last = %(last)s, size = %(size)s, used = currval('entries_id_seq')
WHERE id = %(topic)s"""
_SIZE_BEFORE = """
SELECT coalesce(sum(size), 0)::bigint FROM entries
WHERE topic = %(topic)s AND "offset" >= %(first)s AND "offset" < %(now)s"""
_FITS_FROM = """
SELECT "offset", total FROM (
    SELECT "offset", (sum(size) OVER (ORDER BY "offset" DESC))::bigint AS total
    FROM entries WHERE topic = %(topic)s AND "offset" >= %(first)s
) AS newest WHERE total <= %(limit)s OR "offset" = %(last)s ORDER BY "offset" LIMIT 1"""
"""From where on the messages of a topic fit into a limit, and their bytes; the newest one fits always."""
_SUBSCRIBE = """
INSERT INTO subscribers (topic, process, number, account, name, since, info)
VALUES (%(topic)s, %(process)s, %(number)s, %(account)s, %(name)s, %(since)s, %(info)s)
ON CONFLICT DO NOTHING"""
_UNSUBSCRIBE = """
DELETE FROM subscribers USING topics
WHERE topics.name = %(name)s AND topic = topics.id AND process = %(process)s AND number = %(number)s"""
_USE = "UPDATE topics SET used = nextval('entries_id_seq') WHERE name = %(name)s"
_SUBSCRIPTIONS = """
SELECT topics.name, number FROM subscribers JOIN topics ON topics.id = topic WHERE process = %(process)s"""
_HELD = "SELECT count(*) FROM subscribers WHERE process = %(process)s"
_READ = """
SELECT "offset", message, is_text FROM (
    SELECT "offset", message, is_text, sum(size) OVER (ORDER BY "offset") - size AS before
    FROM entries WHERE topic = %(topic)s AND "offset" >= %(start)s AND "offset" <= %(last)s
) AS next WHERE before < %(most)s ORDER BY "offset"
"""
_NEWEST = "SELECT coalesce(max(id), 0) FROM entries"
_HERE = "EXISTS (SELECT FROM subscribers WHERE topic = topics.id AND process = %(process)s)"
_NEWS = f"""
SELECT entries.id, name, epoch, "offset", CASE WHEN entries.size <= %(large)s THEN message END, is_text
FROM entries JOIN topics ON topics.id = topic
WHERE entries.id > %(after)s AND entries.id <= %(newest)s AND {_HERE}
ORDER BY entries.id LIMIT %(most)s"""  # noqa: S608 - no value stands in it
_ENDS = f"SELECT name, epoch, last FROM topics WHERE {_HERE}"  # noqa: S608 - likewise
_TOPICS = """
SELECT DISTINCT topics.id, topics.name, process FROM topics JOIN subscribers ON topic = topics.id
WHERE starts_with(topics.name, %(prefix)s) AND process IN (SELECT id FROM processes)
ORDER BY topics.id, process"""
_PRESENT = """
SELECT topics.name, process, number, account, subscribers.name, since, info
FROM subscribers JOIN topics ON topics.id = topic
WHERE topics.name = ANY(%(names)s) AND process IN (SELECT id FROM processes)
ORDER BY since, process, number"""
_OLD = """
SELECT topic AS id, max("offset") + 1 AS first FROM entries JOIN topics ON topics.id = topic
WHERE at < %(before)s AND "offset" >= first GROUP BY topic"""
_LARGEST = "SELECT id, first, last, size FROM topics ORDER BY size DESC LIMIT 1"
_TOTAL = "SELECT coalesce(sum(size), 0)::bigint FROM topics"
_BEGIN_AT = "UPDATE topics SET first = %(first)s, size = %(size)s WHERE id = %(topic)s"
_DROP = 'DELETE FROM entries USING topics WHERE topics.id = topic AND "offset" < first'
_DROP_ABSENT = "DELETE FROM subscribers WHERE process NOT IN (SELECT id FROM processes)"


class PostgresOutbox:
    """`contracts.Outbox` in a database."""

    def __init__(
        self, database: PostgresDatabase, topics_most: int = TOPICS_MOST, total: int = TOTAL_LIMIT
    ) -> None:
        """Use a database that has the tables of `schema.SHARED_SCHEMA`; the limits are those of this module."""
        self._database = database
        self.topics_most = topics_most
        self._total_limit = total

    async def publish(self, messages: list[tuple[str, str | bytes]], now: datetime) -> list[bool]:
        """See `contracts.Outbox`."""

        def work(connection: PostgresConnection) -> list[bool]:
            connection.lock(Lock.TOPICS)
            found = _Topics(connection, self.topics_most, [topic for topic, _ in messages])
            taken = [found.add(topic, message, utc_number(now)) for topic, message in messages]
            if any(taken):
                found.write()
                connection.notify(TOPICS_CHANNEL)
            return taken

        return await self._database.run(work)

    async def subscribe(self, process: str, topic: str, number: int, subscriber: Subscriber) -> Kept | None:
        """See `contracts.Outbox`."""

        def work(connection: PostgresConnection) -> Kept | None:
            connection.lock(Lock.TOPICS)
            found = _Topics(connection, self.topics_most, [topic]).find(topic)
            if found is None:
                return None
            account, name, since, info = subscriber
            connection.execute(
                _SUBSCRIBE,
                {
                    "topic": found.id,
                    "process": process,
                    "number": number,
                    "account": account,
                    "name": name,
                    "since": utc_number(since),
                    "info": info.encode(),
                },
            )
            return Kept(found.epoch, found.first, found.last)

        return await self._database.run(work)

    async def unsubscribe(self, process: str, subscriptions: Iterable[tuple[str, int]]) -> None:
        """See `contracts.Outbox`."""
        gone = [{"name": topic, "process": process, "number": number} for topic, number in subscriptions]

        def work(connection: PostgresConnection) -> None:
            connection.lock(Lock.TOPICS)
            connection.executemany(_UNSUBSCRIBE, gone)
            connection.executemany(_USE, [{"name": name} for name in dict.fromkeys(each["name"] for each in gone)])

        await self._database.run(work)

    async def subscriptions(self, process: str) -> set[tuple[str, int]]:
        """See `contracts.Outbox`."""
        return set(await self._rows(_SUBSCRIPTIONS, process=process))

    async def count(self, process: str) -> int:
        """See `contracts.Outbox`."""
        ((count,),) = await self._rows(_HELD, process=process)
        return int(count)

    async def read(self, topic: str, epoch: int, offset: int, most: int) -> tuple[Kept | None, list[Posted]]:
        """See `contracts.Outbox`."""

        def work(connection: PostgresConnection) -> tuple[Kept | None, list[Posted]]:
            found = connection.execute(_FIND, {"names": [topic]}).fetchone()
            if found is None:
                return None, []
            kept = Kept(*found[2:5])
            start = max(kept.first, offset + 1) if epoch == kept.epoch else kept.first
            rows = connection.execute(
                _READ, {"topic": found[0], "start": start, "last": kept.last, "most": most}
            ).fetchall()
            return kept, [
                Posted(topic, kept.epoch, at, _message(message, is_text)) for at, message, is_text in rows
            ]

        return await self._database.run(work)

    async def news(self, process: str, after: int) -> tuple[int, list[Posted]]:
        """See `contracts.Outbox`."""

        def work(connection: PostgresConnection) -> tuple[int, list[Posted]]:
            ((newest,),) = connection.execute(_NEWEST).fetchall()
            if newest <= after:
                return after, []
            rows = connection.execute(
                _NEWS,
                {"after": after, "newest": newest, "process": process, "most": NEWS_MOST, "large": NEWS_LIMIT},
            ).fetchall()
            read = rows[-1][0] if len(rows) == NEWS_MOST else newest
            return read, [
                Posted(topic, epoch, offset, _message(message, is_text))
                for _, topic, epoch, offset, message, is_text in rows
            ]

        return await self._database.run(work)

    async def ends(self, process: str) -> tuple[int, list[Posted]]:
        """See `contracts.Outbox`."""

        def work(connection: PostgresConnection) -> tuple[int, list[Posted]]:
            ((newest,),) = connection.execute(_NEWEST).fetchall()
            rows = connection.execute(_ENDS, {"process": process}).fetchall()
            return newest, [Posted(topic, epoch, last, None) for topic, epoch, last in rows]

        return await self._database.run(work)

    async def listen(self, heard: Callable[[], object]) -> None:
        """See `contracts.Outbox`."""
        await self._database.listen(TOPICS_CHANNEL, heard)

    async def topics(self, prefix: str) -> list[tuple[str, str]]:
        """See `contracts.Outbox`."""
        return [(name, process) for _, name, process in await self._rows(_TOPICS, prefix=prefix)]

    async def present(self, topics: Collection[str]) -> dict[str, list[Present]]:
        """See `contracts.Outbox`."""
        found: dict[str, list[Present]] = {}
        rows = await self._rows(_PRESENT, names=list(topics))
        for topic, process, number, account, name, since, info in rows:
            who = Subscriber(account, name, utc_time(since), info.decode())
            found.setdefault(topic, []).append(Present(process, number, who))
        return found

    async def trim(self, now: datetime) -> None:
        """See `contracts.Outbox`."""

        def work(connection: PostgresConnection) -> None:
            connection.lock(Lock.TOPICS)
            for topic, first in connection.execute(_OLD, {"before": utc_number(now - OUTBOX_KEPT)}).fetchall():
                _begin_at(connection, topic, first)
            ((total,),) = connection.execute(_TOTAL).fetchall()
            while total > self._total_limit:  # the topic with the most loses half, even its newest one
                ((topic, first, last, size),) = connection.execute(_LARGEST).fetchall()
                limits = {"topic": topic, "first": first, "last": last, "limit": size // 2}
                ((fits_from, fits),) = connection.execute(_FITS_FROM, limits).fetchall()
                if fits > size // 2:
                    fits_from, fits = last + 1, 0
                connection.execute(_BEGIN_AT, {"topic": topic, "first": fits_from, "size": fits})
                total -= size - fits
            connection.execute(_DROP)
            connection.execute(_DROP_ABSENT)

        await self._database.run(work)

    async def _rows(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        return await self._database.run(lambda connection: connection.execute(statement, values).fetchall())


class _Topic:
    """A topic in a transaction that holds the lock."""

    def __init__(self, row: Sequence[Any]) -> None:
        self.id: int
        self.id, self.name, self.epoch, self.first, self.last, self.size = row
        self.before = self.last


class _Topics:
    """Topics in a transaction that holds the lock, and the messages that it adds to them."""

    def __init__(self, connection: PostgresConnection, most: int, names: list[str]) -> None:
        self._connection = connection
        self._most = most
        rows = connection.execute(_FIND, {"names": names}).fetchall()
        self._found = {topic.name: topic for topic in map(_Topic, rows)}
        self._added: list[dict[str, Any]] = []

    def find(self, name: str) -> _Topic | None:
        """Return a topic, which is made if there is none; None if there are too many."""
        found = self._found.get(name)
        if found is None:
            ((count,),) = self._connection.execute(_COUNT).fetchall()
            if count >= self._most and not self._connection.execute(_FORGET).rowcount:
                return None
            made = self._connection.execute(_MAKE, {"name": name, "epoch": secrets.randbits(56) + 1})
            found = self._found[name] = _Topic(made.fetchall()[0])
        return found

    def add(self, name: str, message: str | bytes, at: int) -> bool:
        """Number a message; return whether there is room for its topic."""
        topic = self.find(name)
        if topic is None:
            return False
        size = sys.getsizeof(message) + ENTRY_OVERHEAD
        is_text = isinstance(message, str)
        topic.last += 1
        topic.size += size
        self._added.append(
            {
                "topic": topic.id,
                "offset": topic.last,
                "message": message.encode() if isinstance(message, str) else message,
                "is_text": is_text,
                "size": size,
                "at": at,
            }
        )
        return True

    def write(self) -> None:
        """Write what was added, and drop what is too much of a topic."""
        self._connection.executemany(_ADD, self._added)
        for topic in self._found.values():
            if topic.last == topic.before:
                continue
            first = max(topic.first, topic.last - HISTORY_MOST + 1)
            if first > topic.first:
                limits = {"topic": topic.id, "first": topic.first, "now": first}
                ((dropped,),) = self._connection.execute(_SIZE_BEFORE, limits).fetchall()
                topic.first, topic.size = first, topic.size - dropped
            if topic.size > HISTORY_LIMIT:
                limits = {"topic": topic.id, "first": first, "last": topic.last, "limit": HISTORY_LIMIT}
                ((topic.first, topic.size),) = self._connection.execute(_FITS_FROM, limits).fetchall()
            self._connection.execute(
                _MOVE, {"topic": topic.id, "first": topic.first, "last": topic.last, "size": topic.size}
            )


def _begin_at(connection: PostgresConnection, topic: int, first: int) -> None:
    """Keep of a topic what comes from `first` on."""
    ((size,),) = connection.execute(
        'SELECT coalesce(sum(size), 0)::bigint FROM entries WHERE topic = %(topic)s AND "offset" >= %(first)s',
        {"topic": topic, "first": first},
    ).fetchall()
    connection.execute(_BEGIN_AT, {"topic": topic, "first": first, "size": size})


def _message(message: bytes | None, is_text: object) -> str | bytes | None:
    return message.decode() if message is not None and is_text else message
