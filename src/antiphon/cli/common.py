"""What every command takes, and how a command runs its event loop."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from cyclopts import Parameter

from antiphon.language import choose
from antiphon.terminal.console import Console

Settings = TypeVar("Settings")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """Options of every command."""

    lang: Literal["en", "ru"] | None = field(
        default=None, metadata={"help": "Language of what is said to people [default: the locale's]."}
    )
    config: Path | None = field(default=None, metadata={"help": "TOML file with options."})
    no_input: Annotated[bool, Parameter(negative=())] = field(
        default=False, metadata={"help": "Never ask; fail with exit code 2 when something is missing."}
    )
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative=())] = field(
        default=False, metadata={"help": "Also tell what is sent and received, with sizes."}
    )

    def console(self) -> Console:
        """Return the console that these options ask for."""
        return Console(choose(self.lang, os.environ), may_ask=not self.no_input, verbose=self.verbose)


def run_loop(main: Coroutine[Any, Any, int], *, fast: bool = False) -> int:
    """Run `main` in an event loop of its own; `fast` takes uvloop's, which costs 0.05 s to load."""
    factory = None
    if fast and sys.platform != "win32":
        import uvloop  # noqa: PLC0415 - not on every system, and not for a client

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
