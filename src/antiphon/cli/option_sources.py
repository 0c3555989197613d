"""Sources of options beside flags: environment variables, then a TOML file; and what a path in them means."""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, MutableMapping
from pathlib import Path
from typing import Any, get_args

from cyclopts import App, ArgumentCollection
from cyclopts.config import Dict, Env

from antiphon.errors import Problem, SettingInvalid
from antiphon.files import expanded, user_folder
from antiphon.language import N_

Source = Callable[..., Any]
"""A function that cyclopts calls to fill in the options that no flag has set."""

PREFIX = "ANTIPHON_"
_NO_COMMAND = Problem(N_("there is no command “{name}”."))

SECRETS = frozenset({"PASSWORD", "NEW_PASSWORD", "INVITATION"})
"""Variables that are no options: a secret is never an argument."""
_OF_PROGRAMS = frozenset({"NAME", "ACCOUNT", "ADDRESS"})
"""Variables that `antiphon serve exec:COMMAND` gives to a program, which may call `antiphon` itself."""
_YES_OR_NO = dict.fromkeys(("true", "1", "y", "t", "on"), "yes") | dict.fromkeys(
    ("false", "0", "n", "f", "off"), "no"
)
_FILES = frozenset({"FILE", "--file", "--from", "--service", "--json"})
"""Options and arguments of texts that name a file, beside those that end in `-file`."""
ALONE = frozenset({"--explain"})
"""Options whose value is only what follows `=`; without it they mean yes."""
_OF_KUBERNETES = re.compile(
    r"ANTIPHON(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_OF_DOCKER_LINKS = re.compile(r"(tcp|udp|sctp)://")
"""Prefix of the value of NAME_PORT that Kubernetes sets for a service named `antiphon`."""


def clear_variables(environment: MutableMapping[str, str]) -> None:
    """Remove the variables that are not meant for us: empty ones, and those of a Kubernetes service `antiphon`.

    An empty secret stays, and is an error where it is read: a script that has not found its password is told so.
    """
    for name in [name for name in environment if name.startswith(PREFIX)]:
        value = environment[name]
        port_of_service = name.endswith("_PORT") and _OF_DOCKER_LINKS.match(value)
        empty = not value and name.removeprefix(PREFIX) not in SECRETS
        if empty or port_of_service or _OF_KUBERNETES.fullmatch(name):
            del environment[name]


def option_sources(arguments: list[str], app: App, tell: Callable[[str, str], object]) -> tuple[Source, ...]:
    """Return the sources of options, the strongest first; the file may have a table for each command of `app`.

    `tell` is called with each unknown variable, and the known one that is nearest to it.
    """
    named = early_option("config", arguments)
    folder = user_folder("config")
    path = Path(expanded(named)) if named else folder and folder / "antiphon.toml"
    variables = Env(PREFIX, command=False)

    def from_environment(command: App, commands: tuple[str, ...], options: ArgumentCollection) -> None:
        for name, nearest in unknown_variables(os.environ, app, options):
            tell(name, nearest)
        variables(command, commands, options)

    def from_file(*asked: Any) -> None:
        if path is not None and (tables := _tables(path, set(app), must_exist=named is not None)):
            Dict(tables, source=str(path))(*asked)

    return from_environment, from_file, expand_paths, read_explain


def early_option(option: str, arguments: list[str]) -> str | None:
    """Return an option that is needed before the command line is parsed: by its flag, else its variable."""
    flag = f"--{option}"
    for index, argument in enumerate(arguments):
        if argument == flag and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith(f"{flag}="):
            return argument.removeprefix(f"{flag}=")
    return os.environ.get(f"ANTIPHON_{option.upper()}") or None


def unknown_variables(
    environment: MutableMapping[str, str], app: App, options: ArgumentCollection
) -> Iterator[tuple[str, str]]:
    """Yield each variable that no command of `app` knows, and the nearest one; `options` are the command's own."""
    known = SECRETS | _OF_PROGRAMS | _variables_of(options)
    found = [name for name in environment if name.startswith(PREFIX)]
    if {name.removeprefix(PREFIX) for name in found} <= known:
        return  # the usual case; otherwise each command is imported, which takes a moment
    known |= set().union(*map(_variables_of, _every_command(app)))
    for name in found:
        if (short := name.removeprefix(PREFIX)) not in known:
            yield name, PREFIX + difflib.get_close_matches(short, sorted(known), n=1, cutoff=0)[0]


def _variables_of(options: ArgumentCollection) -> set[str]:
    """Return the variables that set `options`, without their prefix."""
    names = (name for option in options for name in option.names if name.startswith("--"))
    return {name.removeprefix("--").upper().replace("-", "_") for name in names}


def _every_command(app: App) -> Iterator[ArgumentCollection]:
    for name in app:
        if not name.startswith("-"):
            command = app[name]
            yield from _every_command(command)
            if command.default_command is not None:
                yield command.assemble_argument_collection()


def expand_paths(_app: App, _commands: tuple[str, ...], options: ArgumentCollection) -> None:
    """Replace `~` at the beginning of each path by the home folder, which a shell does for a whole word only.

    Raises:
        FolderUnusable: there is no such user or home folder.
    """
    for option in options:
        if Path in (option.hint, *get_args(option.hint)) or any(map(names_a_file, option.names)):
            option.tokens[:] = [
                token.evolve(value=expanded(token.value)) if token.value.startswith("~") else token
                for token in option.tokens
            ]


def with_values(arguments: list[str]) -> list[str]:
    """Return the arguments with `--explain` alone as `--explain=yes`: the word after it is never its value."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words = {name: f"{name}=yes" for name in ALONE} | {f"--no-{name[2:]}": f"{name}=no" for name in ALONE}
    given = [words.get(word, word) for word in arguments[:end]] + arguments[end:]
    return _shown(given) if given[:2] == ["config", "show"] else given


def _shown(arguments: list[str]) -> list[str]:
    """Return the arguments of `config show` with the command to show, and its options, behind `--`.

    `--json` and `--help` are those of `config show`, wherever they stand.
    """
    own, rest = arguments[:2], arguments[2:]
    while rest and rest[0].startswith("-") and rest[0] != "--":
        own.append(rest.pop(0))
        if own[-1] in ("--config", "--lang"):
            own += rest[:1]
            del rest[:1]
    if rest[:1] == ["--"]:
        del rest[0]
    ours = {"--json", "--help", "-h"}
    return [*own, *(word for word in rest if word in ours), "--", *(word for word in rest if word not in ours)]


def read_explain(_app: App, _commands: tuple[str, ...], options: ArgumentCollection) -> None:
    """Replace values of `--explain` that mean yes or no, such as `true` in the file, as for any flag."""
    for option in options:
        if "--explain" in option.names:
            option.tokens[:] = [
                token.evolve(value=_YES_OR_NO.get(token.value.lower(), token.value)) for token in option.tokens
            ]


def names_a_file(name: str) -> bool:
    """Return whether an option or argument of this name, whose value is text, names a file."""
    return name in _FILES or name.endswith("-file")


def _tables(path: Path, commands: Collection[str], *, must_exist: bool) -> dict[str, Any]:
    """Return the tables of the file; none if it is not there.

    Raises:
        SettingInvalid: a named file is missing, the file cannot be read, or it has a table for an unknown command.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        if not must_exist:
            return {}
        raise SettingInvalid(source=str(path), problem=error.strerror) from None
    except OSError as error:
        raise SettingInvalid(source=str(path), problem=error.strerror) from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise SettingInvalid(source=str(path), problem=str(error)) from None
    for name in tables:
        if name not in commands:
            raise SettingInvalid(source=str(path), problem=_NO_COMMAND, name=name)
    return tables
