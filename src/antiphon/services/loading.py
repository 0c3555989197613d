"""From what follows `antiphon serve` to a handler: a service that ships, an object of one's own, or a program."""

import contextlib
import importlib
import importlib.util
import sys
import traceback
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

_NO_SUCH_SERVICE = Problem(N_("no service of that name comes with Antiphon"))
_NO_ATTRIBUTE = Problem(N_("“{part}” is not in {module}"))
_NO_MODULE = Problem(N_("there is no module “{module}” here"))
_NO_FILE = Problem(N_("there is no file {module}"))
_UNREADABLE = Problem(N_("{module} cannot be read: {why}"))
_NAME_IN_USE = Problem(N_("another module is called “{module}”, so {path} needs another name"))
_ENDED = Problem(N_("the module ends the program when it is loaded ({place})"))
_RAISED = Problem(N_("loading it failed: {error} ({place})"))


def load(service: str, program: ProgramSettings | None = None) -> Handler:
    """Return the handler that `service` names.

    That is `echo`, `chat`, `module:attr`, `path/to/file.py:attr`, or `exec:COMMAND`, which `program` limits. What
    stands in the current directory can be imported; `attr` may have dots. What a module prints while it is loaded
    goes to standard error.

    Raises:
        ServiceNotLoaded: there is no such thing, or its module raises.
    """
    if service == "echo":
        return echo
    if service == "chat":
        return Chat()
    if service.startswith(SCHEME):
        return Program(service.removeprefix(SCHEME), program)
    module, colon, attribute = service.rpartition(":")
    if not (colon and module and attribute):
        raise ServiceNotLoaded(service=service, problem=_NO_SUCH_SERVICE)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # on standard output programs read where we listen
            handler: Handler = _attribute(service, _module(service, module), attribute)
    except (ServiceNotLoaded, KeyboardInterrupt):
        raise
    except SystemExit as error:
        raise ServiceNotLoaded(service=service, problem=_ENDED, place=_place(error)) from error
    except BaseException as error:  # a module may raise whatever it likes
        raise ServiceNotLoaded(
            service=service, problem=_RAISED, error=_said(error), place=_place(error)
        ) from error
    return handler


def folder_of(service: str) -> Path | None:
    """Return the folder in which the modules of a service of one's own stand; None for any other."""
    module, colon, _ = service.rpartition(":")
    if not colon or service.startswith(SCHEME):
        return None
    return Path(module).parent.absolute() if module.endswith(".py") else Path.cwd()


def _module(service: str, name: str) -> ModuleType:
    """Run a module of the user's own, which may do anything."""
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
    sys.modules[path.stem] = module  # as importing does: dataclasses and pickle look there
    spec.loader.exec_module(module)
    return module


def _check_name(service: str, name: str, path: Path | None) -> None:
    """See that a module of the user's own does not take the name of one that Python or we need."""
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


def _said(error: BaseException) -> str:
    """Return what an exception says, on one line."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    return traceback.format_exception_only(error)[0].strip().partition("\n")[0]


def _place(error: BaseException) -> str:
    """Return the file and line where the user's own code came to its end."""
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):
        return f"{error.filename}, line {error.lineno or 1}"
    frames = traceback.extract_tb(error.__traceback__)
    last = next((each for each in reversed(frames) if not _is_machinery(each.filename)), frames[-1])
    return f"{last.filename}, line {last.lineno}"


def _is_machinery(file: str) -> bool:
    """Whether a frame is of Python or of a package that is installed, not of the user."""
    path = Path(file)
    installed = not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
    standard = Path(traceback.__file__).parent
    return file.startswith("<") or file == __file__ or installed or path.is_relative_to(standard)
