"""`antiphon config show`: each option of a command, its value, and what has set it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Argument, ArgumentCollection, MissingArgumentError, Parameter, Token

from antiphon.cli.common_options import CommonOptions
from antiphon.cli.output import Record, show_records
from antiphon.errors import Problem, UsageError
from antiphon.language import N_

_SOURCES = {
    "default": N_("default"),
    "argument": N_("argument"),
    "flag": N_("flag"),
    "variable": N_("variable {name}"),
    "file": "{name} [{table}]",
}
_NO_COMMAND = Problem(N_("Name one command, as in antiphon config show {example}."))

app = App(
    name="config",
    help="Show what sets the options of a command.\n\nFor example:\n    antiphon config show serve",
    help_format="plaintext",
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ConfigOptions:
    """Options of the output."""

    json: Annotated[bool, Parameter(negative=())] = field(
        default=False, metadata={"help": "Print the result as one line of JSON."}
    )


@app.command
def show(
    *command: Annotated[str, Parameter(help="A command; options behind it count as they would in that command.")],
    options: ConfigOptions = ConfigOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Show each option of a command: its value, and whether a flag, a variable or the file has set it.

    Passwords and codes are never options, so nothing secret is shown.

    For example:
        antiphon config show serve
        antiphon config show --json accounts list
        antiphon config show serve --port 9000
    """
    _ = common.console().translations.gettext
    headings = {"option": _("Option"), "value": _("Value"), "set_by": _("Set by")}
    rows = list(_records(list(command)))
    if not options.json:
        rows = [row | _in_words(row, _) for row in rows]
    show_records(options, rows, headings)
    return 0


def _in_words(row: Record, translate: Callable[[str], str]) -> Record:
    """Return what a person is shown of a record beside the option: value, and what has set it."""
    value = row["value"]
    return {
        "value": ", ".join(value) if isinstance(value, list) else value,
        "set_by": translate(_SOURCES[row["source"]]).format_map(row),
    }


def _records(words: list[str]) -> Iterator[Record]:
    """Yield the record of each option of the command that `words` give."""
    from antiphon.cli.main import app as whole  # noqa: PLC0415 - which names this module

    found: list[tuple[tuple[str, ...], ArgumentCollection]] = []

    def keep(_: App, command: tuple[str, ...], options: ArgumentCollection) -> None:
        found.append((command, options))

    sources = whole.config
    whole.config = (*sources, keep)
    try:
        whole.parse_args(words, exit_on_error=False, print_error=False)
    except MissingArgumentError:
        pass  # what has to be given to run it need not be given to look
    finally:
        whole.config = sources
    if not found:
        raise UsageError(problem=_NO_COMMAND, example="serve")
    command, options = found[-1]
    for option in options:
        if option.name != "*":  # the parent of options that are declared together
            yield _record(option, ".".join(command))


def _record(option: Argument, table: str) -> Record:
    record = {"option": option.name, "value": _value(option), "source": "default", "name": None, "table": None}
    if not option.tokens:
        return record
    token: Token = option.tokens[0]
    if token.source == "cli":
        return record | {"source": "argument" if token.keyword is None else "flag"}
    if token.source == "env":
        return record | {"source": "variable", "name": token.keyword}
    return record | {"source": "file", "name": token.source, "table": table}


def _value(option: Argument) -> object:
    """Return the value as JSON can hold it; None for an option that is not set and has no default."""
    value: Any = option.value if option.tokens else option.field_info.default
    if isinstance(value, tuple | list):
        return [str(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    if option.tokens and not isinstance(
        value, bool | int | float | str
    ):  # it was not read: another one is missing
        return " ".join(token.value for token in option.tokens)
    return value if isinstance(value, bool | int | float | str) else None
