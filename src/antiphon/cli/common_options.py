"""Options that every command takes."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from antiphon.language import choose
from antiphon.terminal.console import Console


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """Options of every command."""

    lang: Literal["en", "ru"] | None = field(
        default=None, metadata={"help": "Language of messages [default: the locale's]."}
    )
    config: Path | None = field(default=None, metadata={"help": "TOML file with options."})
    no_input: Annotated[bool, Parameter(negative=())] = field(
        default=False, metadata={"help": "Never ask; fail with exit code 2 when something is missing."}
    )

    def console(self) -> Console:
        """Return a console with the language and the behaviour that these options select."""
        return Console(choose(self.lang, os.environ), may_ask=not self.no_input)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TalkOptions(CommonOptions):
    """The same options for the commands that send lines."""

    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative=())] = field(
        default=False, metadata={"help": "Also tell what is sent and received, with sizes."}
    )

    def console(self) -> Console:
        """Return a console as `CommonOptions` does, which also tells sizes with --verbose."""
        return Console(choose(self.lang, os.environ), may_ask=not self.no_input, verbose=self.verbose)
