"""Declaration of the commands as plain data: what completions and manual pages are made from."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from cyclopts import App, Argument, Group

from antiphon.cli.option_sources import ALONE, names_a_file
from antiphon.services.loading import BUILT_IN

Takes = Literal["text", "file", "folder"]

_KINDS = {int: "INT", float: "FLOAT", Path: "PATH"}
_FOLDERS = frozenset({"--data"})
MAIN_GROUP = "Parameters"
"""The group of the options that most need, as `--help` shows it; positional arguments stand there too."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option or a positional argument of a command."""

    names: tuple[str, ...]
    """Flags, the usual one first; none of an argument that has no flag."""
    opposites: tuple[str, ...] = ()
    """Switches that undo it, such as `--no-plain`."""
    word: str
    """Word that stands for the value; the empty string for a switch."""
    help: str
    group: str = MAIN_GROUP
    words: tuple[str, ...] = ()
    """Values to offer: all of a closed set, or those with a name of their own."""
    takes: Takes = "text"
    count: int = 1
    """The number of values behind the flag; 0 of a switch."""
    attached: bool = False
    """Whether a value is only what follows `=`."""
    positional: bool = False
    repeated: bool = False
    required: bool = False
    default: str = ""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command, or a group of commands."""

    name: tuple[str, ...]
    """Its words, without `antiphon`."""
    about: str
    """Its text in `--help`, whole."""
    options: tuple[Option, ...]
    commands: tuple["Command", ...]

    @property
    def summary(self) -> str:
        """The first sentence of its text."""
        return first_sentence(self.about)

    @property
    def arguments(self) -> tuple[Option, ...]:
        """The positional arguments."""
        return tuple(option for option in self.options if option.positional)

    @property
    def flagged(self) -> tuple[Option, ...]:
        """The options that have a flag."""
        return tuple(option for option in self.options if option.names)

    def every(self) -> Iterator["Command"]:
        """Yield the command and all below it."""
        yield self
        for command in self.commands:
            yield from command.every()


HELP = Option(names=("--help", "-h"), word="", help="Show this text and exit.", count=0)
VERSION = Option(names=("--version",), word="", help="Show the version and exit.", count=0)


def declared(app: App, name: tuple[str, ...] = (), top: tuple[str, ...] = ()) -> Command:
    """Return the declaration of `app`, whose commands are imported for it.

    `name` is what it is called by, below a program with the commands `top`.
    """
    names = tuple(word for word in app if not word.startswith("-"))
    own = (HELP,) if name else (HELP, VERSION)
    options: list[Option] = []
    if app.default_command is not None:
        collection = app.assemble_argument_collection(parse_docstring=True)
        options = [_option(argument, top) for argument in collection if argument.show and argument.name != "*"]
    return Command(
        name=name,
        about=inspect.cleandoc(app.help or ""),
        options=(*sorted(options, key=lambda option: option.positional, reverse=True), *own),
        commands=tuple(declared(app[word], (*name, word), top or names) for word in names),
    )


def first_sentence(text: str) -> str:
    """Return the first sentence of a help text, without its full stop."""
    return re.split(r"\.(?:\s|$)| \[default: ", " ".join(text.split()), maxsplit=1)[0]


def brief(text: str) -> str:
    """Return the first part of a help text, up to the first sign that ends a thought."""
    return re.split(r"[.:;](?:\s|$)| \[default: ", " ".join(text.split()), maxsplit=1)[0]


def _option(argument: Argument, top: tuple[str, ...]) -> Option:
    types = list(_types(argument.hint))
    names = tuple(name for name in argument.names if name.startswith("-") and name not in argument.negatives)
    positional = argument.index is not None
    switch = argument.is_flag()
    choices = tuple(argument.get_choices(force=True) or ())
    is_file = not switch and (Path in types or any(map(names_a_file, argument.names)))
    word = argument.name.lstrip("-").upper()
    words = {"SERVICE": BUILT_IN, "COMMAND": top}.get(word, ()) if positional else ()
    if switch:
        word = ""
    elif not positional:
        word = "CHOICE" if choices else next((_KINDS[each] for each in types if each in _KINDS), "STR")
    return Option(
        names=names,
        opposites=tuple(argument.negatives),
        word=word,
        help=" ".join((argument.parameter.help or "").split()),
        group=MAIN_GROUP if positional else _group(argument.parameter.group),
        words=choices or words,
        takes="folder" if _FOLDERS & {*names} else "file" if is_file or "--service" in names else "text",
        count=0 if switch else types.count(Path) if tuple in types and Ellipsis not in types else 1,
        attached=bool(ALONE & {*names}),
        positional=positional,
        repeated=Ellipsis in types,
        required=argument.required,
        default=_default(argument, switch=switch),
    )


def _group(groups: Any) -> str:
    """Return the name of the group that an option is shown in."""
    return next((group.name for group in groups or () if isinstance(group, Group)), MAIN_GROUP)


def _types(hint: Any) -> Iterator[Any]:
    """Yield a type, and the types in it, as `tuple`, `Path` and `None` of `tuple[Path, Path] | None`."""
    yield get_origin(hint) or hint
    for part in get_args(hint):
        yield from _types(part)


def _default(argument: Argument, *, switch: bool) -> str:
    """Return the default value; an empty string if there is none to tell, or the help tells it."""
    value = argument.field_info.default
    told = "[default: " in (argument.parameter.help or "")
    if switch or told or argument.required or value in (None, (), inspect.Parameter.empty):
        return ""
    return str(value)
