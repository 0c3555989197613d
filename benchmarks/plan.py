"""How a run is to go: what was asked for on the command line, and where things run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """How long, how often, on which cores, and which rows."""

    rounds: int
    seconds: float
    """Of a round of load."""
    warmup: float
    quick: bool
    server_core: int
    load_core: int
    folder: Path
    """Room for data folders; it is empty and goes away afterwards."""
    wanted: Callable[[str], bool]
    """Whether the row of a name is to be measured."""
    say: Callable[[str], None]
    """Shows a line while the run goes on."""

    def few(self, number: int, most: int) -> int:
        """Return `number`, but no more than `most` in a quick run."""
        return min(number, most) if self.quick else number
