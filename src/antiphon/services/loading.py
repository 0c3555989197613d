"""Loader of the service named after `antiphon serve`: a built-in one, an object in a module, or a program."""

import contextlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from antiphon.errors import Problem, ServiceNotLoaded
from antiphon.language import N_
from antiphon.services.chat import Chat
from antiphon.services.contract import Handler
from antiphon.services.echo import echo
from antiphon.services.program import SCHEME, Program
from antiphon.settings import ProgramSettings
from antiphon.user_code import location_of, message_of

BUILT_IN = ("echo", "chat")
"""Services that come with Antiphon, by their names."""

_NO_SUCH_SERVICE = Problem(N_("no service of that name comes with Antiphon"))
_NO_FUNCTION = Problem(N_("the name of a function or object must follow, such as {file}:answer"))
_NO_ATTRIBUTE = Problem(N_("“{part}” is not in {module}"))
_NO_MODULE = Problem(N_("there is no module “{module}” here"))
_NO_FILE = Problem(N_("there is no file {module}"))
_UNREADABLE = Problem(N_("{module} cannot be read: {why}"))
_NAME_IN_USE = Problem(N_("another module is called “{module}”, so {path} needs another name"))
_ENDED = Problem(N_("the module ends the program when it is loaded ({place})"))
_RAISED = Problem(N_("{error} ({place})"))


def load(service: str, program: ProgramSettings | None = None) -> Handler:
    """Return the handler that `service` names.

    `service` is `echo`, `chat`, `module:attr`, `path/to/file.py:attr`, or `exec:COMMAND`, which `program` limits.
    Modules in the current directory can be imported; `attr` may contain dots. What a module prints while it is
    loaded goes to standard error.

    Raises:
        ServiceNotLoaded: no such service exists, or loading its module failed.
    """
    if service == "echo":
        return echo
    if service == "chat":
        return Chat()
    if service.startswith(SCHEME):
        return Program(service.removeprefix(SCHEME), program)
    module, colon, attribute = service.rpartition(":")
    if (file := service.rstrip(":")).endswith(".py"):
        raise ServiceNotLoaded(service=service, problem=_NO_FUNCTION, file=file)
    if not (colon and module and attribute):
        raise ServiceNotLoaded(service=service, problem=_NO_SUCH_SERVICE)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # programs read our address on standard output
            handler: Handler = _attribute(service, _module(service, module), attribute)
    except (ServiceNotLoaded, KeyboardInterrupt):
        raise
    except SystemExit as error:
        raise ServiceNotLoaded(service=service, problem=_ENDED, place=location_of(error)) from error
    except BaseException as error:  # a user's module may raise anything
        raise ServiceNotLoaded(
            service=service, problem=_RAISED, error=message_of(error), place=location_of(error)
        ) from error
    return handler


def _module(service: str, name: str) -> ModuleType:
    """Import a module of the user; its code may do anything."""
    if name.endswith(".py"):
        return _from_file(service, Path(name))
    top = name.partition(".")[0]
    _check_name(service, top, next((path for path in (Path(f"{top}.py"), Path(top)) if path.exists()), None))
    if not all(name.split(".")):
        raise ServiceNotLoaded(service=service, problem=_NO_MODULE, module=name)
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ServiceNotLoaded(service=service, problem=_NO_MODULE, module=error.name) from None
        raise


def _from_file(service: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise ServiceNotLoaded(service=service, problem=_NO_FILE, module=path)
    try:
        path.read_bytes()
    except OSError as error:
        raise ServiceNotLoaded(service=service, problem=_UNREADABLE, module=path, why=error.strerror) from None
    _check_name(service, path.stem, path)
    sys.path.insert(0, str(path.parent.absolute()))
    spec = importlib.util.spec_from_file_location(path.stem, path.absolute())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # as an import does: dataclasses and pickle need it
    spec.loader.exec_module(module)
    return module


def _check_name(service: str, name: str, path: Path | None) -> None:
    """Check that the user's module does not have the name of one that Python or Antiphon needs.

    Raises:
        ServiceNotLoaded: it does.
    """
    if path is None:
        return
    loaded = getattr(sys.modules.get(name), "__file__", None)
    ours = loaded is not None and path.absolute() in (Path(loaded), Path(loaded).parent)
    if name in sys.stdlib_module_names or (name in sys.modules and not ours):
        raise ServiceNotLoaded(service=service, problem=_NAME_IN_USE, module=name, path=path)


def _attribute(service: str, module: ModuleType, attribute: str) -> Any:
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ServiceNotLoaded(
                service=service, problem=_NO_ATTRIBUTE, part=part, module=module.__name__
            ) from None
    return found
