"""The plan of a run: the options of the command line, and the cores and the folder to use."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """How long and how often to measure, on which cores, and which rows."""

    rounds: int
    seconds: float
    """Length of a round of load."""
    warmup: float
    quick: bool
    server_core: int
    load_core: int
    folder: Path
    """An empty temporary folder for data folders."""
    wanted: Callable[[str], bool]
    """Returns whether to measure the row of this name."""
    say: Callable[[str], None]
    """Prints a line during the run."""

    def few(self, number: int, most: int) -> int:
        """Return `number`; in a quick run at most `most`."""
        return min(number, most) if self.quick else number
