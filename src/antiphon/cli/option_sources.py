"""Sources of options beside flags: environment variables, then a TOML file."""

import os
import tomllib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from cyclopts.config import Env, Toml
from platformdirs import user_config_path

from antiphon.errors import Problem, SettingInvalid
from antiphon.language import N_

Source = Callable[..., Any]
"""A function that cyclopts calls to fill in the options that no flag has set."""

_NO_COMMAND = Problem(N_("there is no command “{name}”."))


def option_sources(arguments: list[str], commands: Collection[str]) -> tuple[Source, Source]:
    """Return the sources of options, the strongest first; the file may have a table for each of `commands`."""
    named = early_option("config", arguments)
    path = Path(named) if named else user_config_path("antiphon", appauthor=False) / "antiphon.toml"
    toml = Toml(path)

    def from_file(*asked: Any) -> None:
        _check(path, commands, must_exist=named is not None)
        toml(*asked)

    return Env("ANTIPHON_", command=False), from_file


def early_option(option: str, arguments: list[str]) -> str | None:
    """Return an option that is needed before the command line is parsed: from its flag, else its variable."""
    flag = f"--{option}"
    for index, argument in enumerate(arguments):
        if argument == flag and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith(f"{flag}="):
            return argument.removeprefix(f"{flag}=")
    return os.environ.get(f"ANTIPHON_{option.upper()}") or None


def _check(path: Path, commands: Collection[str], *, must_exist: bool) -> None:
    """Check the file for faults that cyclopts would ignore, or report in terms of its own code.

    Raises:
        SettingInvalid: a named file is missing, the file cannot be read, or it has a table for an unknown command.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        if not must_exist:
            return
        raise SettingInvalid(source=str(path), problem=error.strerror) from None
    except OSError as error:
        raise SettingInvalid(source=str(path), problem=error.strerror) from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise SettingInvalid(source=str(path), problem=str(error)) from None
    for name in tables:
        if name not in commands:
            raise SettingInvalid(source=str(path), problem=_NO_COMMAND, name=name)
