"""What the servers' services have recorded, and the rules that hold for it."""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple


class Record(NamedTuple):
    """One line of the file."""

    event: str
    """`run`, `opened` or `closed`, by a service; `kill` or `freeze`, by the test, before it does so."""
    name: str
    message: str
    process: int


class Records:
    """The file, read again at each look."""

    def __init__(self, path: Path) -> None:
        """Read records at `path`, which need not exist yet."""
        self.path = path

    def read(self) -> list[Record]:
        """Return all records so far."""
        if not self.path.exists():
            return []
        return [Record(*json.loads(line)) for line in self.path.read_text("utf-8").splitlines()]

    def note(self, event: str, process: int) -> None:
        """Write what the test is about to do to a process."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([event, "", "", process]) + "\n")

    def homes(self) -> dict[str, int]:
        """Return the process in which each session is open, or has run last where the service has no hooks."""
        homes: dict[str, int] = {}
        for event, name, _, process in self.read():
            if event in ("opened", "run"):
                homes[name] = process
            elif event == "closed" and homes.get(name) == process:
                del homes[name]
        return homes

    def runs(self) -> Counter[str]:
        """Return how often each message was given to a handler."""
        return Counter(record.message for record in self.read() if record.event == "run")

    def faults(self, *, hooks: bool, ended: bool) -> list[str]:
        """Return what breaks a rule. `ended` says that every process has; `hooks`, that the service has them."""
        faults = [f"{message} was handled {times} times" for message, times in self.runs().items() if times > 1]
        return faults + (_Homes(self.read()).faults(ended=ended) if hooks else [])


class _Homes:
    """Walks through the records with the homes of all sessions."""

    def __init__(self, records: list[Record]) -> None:
        self._records = records
        self._home: dict[str, int] = {}
        self._open: set[tuple[str, int]] = set()
        """Sessions that are open, by name and process."""
        self._killed: set[int] = set()
        self._frozen: set[int] = set()
        """Processes whose sessions may have been claimed."""

    def faults(self, *, ended: bool) -> list[str]:
        faults = [fault for record in self._records if (fault := self._fault(record))]
        left = [f"{name} was opened in process {process} and not closed" for name, process in self._left()]
        return faults + (left if ended else [])

    def _left(self) -> list[tuple[str, int]]:
        return [(name, process) for name, process in self._open if process not in self._killed]

    def _fault(self, record: Record) -> str:
        event, name, message, process = record
        home = self._home.get(name)
        if event == "kill":
            self._killed.add(process)
        elif event == "freeze":
            self._frozen.add(process)
        elif event == "opened":
            self._home[name] = process
            twice = (name, process) in self._open
            self._open.add((name, process))
            if twice:
                return f"{name} was opened twice in process {process}"
            alive = home is not None and home not in self._killed | self._frozen
            if alive and (name, home) in self._open:
                return f"{name} was opened in process {process} while it was open in {home}"
        elif (name, process) not in self._open:
            return f"{event} of {message or name} in process {process}, where it is not open"
        elif event == "closed":
            self._open.discard((name, process))
        elif home != process:
            return f"{message} ran in process {process}, which is frozen or slow: the home is {home}"
        return ""
