"""Edits by hand of `accounts.csv`: which sessions they end, and for what reason."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from antiphon.store.files.account_rows import AccountRow


class Edits:
    """Accounts that were edited by hand, until their sessions have been ended."""

    def __init__(self, end_sessions: Callable[[int, str], Awaitable[object]]) -> None:
        """Begin with none; `end_sessions` gets the number of an account and the reason."""
        self._end_sessions = end_sessions
        self._over: dict[int, str] = {}
        """Numbers of accounts whose sessions are over, each with the reason."""

    def note(self, before: list[AccountRow], now: list[AccountRow]) -> list[AccountRow]:
        """Compare rows before and after an edit; return them with a new epoch for each account that it concerns.

        If the epoch differs already, a command made the change, and the command ends the sessions itself.
        """
        numbers = {row.number for row in now}
        self._over |= {row.number: "removed" for row in before if row.number not in numbers}
        known = {row.number: row for row in before}
        return [self._judged(known.get(row.number), row) for row in now]

    async def end_sessions(self) -> None:
        """End the sessions of the accounts that were edited.

        Raises:
            TryLater: they cannot be ended now; the next call tries again.
        """
        while self._over:
            number, reason = self._over.popitem()
            try:
                await self._end_sessions(number, reason)
            except BaseException:
                self._over.setdefault(number, reason)
                raise

    def _judged(self, was: AccountRow | None, row: AccountRow) -> AccountRow:
        reason = _over(was, row) if was and was.epoch == row.epoch else None
        if reason is None:
            return row
        self._over[row.number] = reason
        return replace(row, epoch=row.epoch + 1)


def _over(was: AccountRow, row: AccountRow) -> str | None:
    """Return why an edit ends the sessions of an account, None if it does not."""
    if row.disabled and not was.disabled:
        return "disabled"
    if row.name != was.name:
        return "renamed"
    return "password" if row.credential != was.credential else None
