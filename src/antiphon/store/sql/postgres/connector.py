"""Connector: makes the connections of one process to a database that may be away.

While the database is away nobody waits for it: there is one attempt after the other, and callers fail at once
until one succeeds. So they are told in time, however many they are, and no crowd meets a database that comes back.
"""

import math
import threading
import time

import psycopg

from antiphon.store.sql.postgres.connection import PostgresConnection, SilentError, connect

AGAIN_SECONDS = 0.4
"""Pause between two attempts if the server says nothing. Each of them takes `CONNECT_SECONDS`; but one begins soon
after the server's return, whatever has become of those before."""
SILENT_MOST = 6
"""Attempts without an outcome beside those of who waits: as many as begin in `CONNECT_SECONDS`, and one."""
SOON_SECONDS = 0.25
"""Longest wait of a caller for an attempt while the database is away."""


class _Waiter:
    """Somebody who waits for a connection."""

    def __init__(self, ends_at: float, *, patient: bool) -> None:
        self.asked_at = time.monotonic()
        self.ends_at = ends_at
        self.patient = patient
        self.connection: PostgresConnection | None = None


class Connector:
    """Makes connections in threads of its own, and gives each to whoever waits for one."""

    def __init__(self, dsn: str) -> None:
        """Connect to the `postgresql://` address when somebody asks."""
        self._dsn = dsn
        self._changed = threading.Condition()
        self._waiters: list[_Waiter] = []
        self._under_way: list[float] = []
        """When the attempts began that have no outcome yet, the oldest first."""
        self._spare: PostgresConnection | None = None
        """One that was made when nobody waited any more."""
        self._made_at = -math.inf
        """When the attempt began that has succeeded last."""
        self._away = False
        self._error: psycopg.Error | None = None
        self._error_at = -math.inf
        """When the attempt began that has failed last."""

    def connection(self, ends_at: float, *, patient: bool = False) -> PostgresConnection:
        """Return a connection, which the caller closes; it blocks until `ends_at` at the longest.

        While the database is away, only a `patient` caller waits so long: it has a thread of its own. It is served
        before the others.

        Raises:
            psycopg.Error: there is none.
        """
        with self._changed:
            spare, self._spare = self._spare, None
            if spare is not None:
                return spare
            waiter = _Waiter(ends_at, patient=patient)
            self._waiters.append(waiter)
            try:
                while waiter.connection is None:
                    self._check(waiter)
                    self._try()
                    self._changed.wait(self._pause(waiter))
                return waiter.connection
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def close(self) -> None:
        """Close what nobody has taken."""
        with self._changed:
            spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()

    def _check(self, waiter: _Waiter) -> None:
        """Raise an error if there is no use in waiting any longer."""
        if self._error is not None and self._error_at >= waiter.asked_at:
            raise type(self._error)(*self._error.args)  # one for each of those who wait
        if time.monotonic() >= self._waits_until(waiter):
            raise SilentError("timeout: the server does not answer")

    def _waits_until(self, waiter: _Waiter) -> float:
        if not self._away or waiter.patient or not self._under_way:
            return waiter.ends_at
        return min(waiter.ends_at, self._under_way[-1] + SOON_SECONDS)

    def _try(self) -> None:
        """Begin an attempt, if it is time for one. Those that have begun long ago do not count."""
        now = time.monotonic()
        young = sum(now < began_at + AGAIN_SECONDS for began_at in self._under_way)
        enough = 1 if self._away else len(self._waiters)
        if young < enough and len(self._under_way) < len(self._waiters) + SILENT_MOST:
            self._under_way.append(now)
            threading.Thread(target=self._attempt, args=(now,), name="postgres-connect", daemon=True).start()

    def _pause(self, waiter: _Waiter) -> float:
        now = time.monotonic()
        ages = [began_at + AGAIN_SECONDS for began_at in self._under_way if began_at + AGAIN_SECONDS > now]
        return max(0.0, min([self._waits_until(waiter), *ages]) - now)

    def _attempt(self, began_at: float) -> None:
        try:
            made = connect(self._dsn)
        except psycopg.Error as error:
            with self._changed:
                self._under_way.remove(began_at)
                if began_at > self._made_at:  # else a later one has succeeded
                    self._away = True
                    self._error, self._error_at = error, began_at
                self._changed.notify_all()
            return
        with self._changed:
            self._under_way.remove(began_at)
            self._made_at = max(self._made_at, began_at)
            self._away = False
            surplus = self._hand_out(made)
            self._changed.notify_all()
        if surplus is not None:
            surplus.close()

    def _hand_out(self, made: PostgresConnection) -> PostgresConnection | None:
        """Give a connection to somebody; return one that is left over."""
        if self._waiters:
            waiter = next((each for each in self._waiters if each.patient), self._waiters[0])
            self._waiters.remove(waiter)
            waiter.connection = made
            return None
        surplus, self._spare = self._spare, made
        return surplus
