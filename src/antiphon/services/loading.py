"""From what follows `antiphon serve` to a handler: a service that ships, or an object of a module of one's own."""

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

_NO_SUCH_SERVICE = Problem(N_("no service of that name comes with Antiphon"))
_NO_ATTRIBUTE = Problem(N_("“{part}” is not in {module}"))
_NO_MODULE = Problem(N_("there is no module “{module}” here"))
_NO_FILE = Problem(N_("there is no file {module}"))
_ENDED = Problem(N_("the module ends the program when it is loaded ({place})"))
_RAISED = Problem(N_("loading it failed: {error} ({place})"))


def load(service: str) -> Handler:
    """Return the handler that `service` names: `echo`, `chat`, `module:attr` or `path/to/file.py:attr`.

    What stands in the current directory can be imported; `attr` may have dots.

    Raises:
        ServiceNotLoaded: there is no such thing, or its module raises.
    """
    if service == "echo":
        return echo
    if service == "chat":
        return Chat()
    module, colon, attribute = service.rpartition(":")
    if not (colon and module and attribute):
        raise ServiceNotLoaded(service=service, problem=_NO_SUCH_SERVICE)
    handler: Handler = _attribute(service, _module(service, module), attribute)
    return handler


def _module(service: str, name: str) -> ModuleType:
    """Run a module of the user's own, which may do anything."""
    path = Path(name)
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise ServiceNotLoaded(service=service, problem=_NO_FILE, module=name)
    sys.path.insert(0, str(path.parent.absolute() if is_file else Path.cwd()))
    try:
        return _from_file(path) if is_file else importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ServiceNotLoaded(service=service, problem=_NO_MODULE, module=error.name) from None
        raise _raised(service, error) from error
    except SystemExit as error:
        raise ServiceNotLoaded(service=service, problem=_ENDED, place=_place(error)) from error
    except Exception as error:
        raise _raised(service, error) from error


def _from_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path.absolute())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # as importing does: dataclasses and pickle look there
    spec.loader.exec_module(module)
    return module


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


def _raised(service: str, error: Exception) -> ServiceNotLoaded:
    said = traceback.format_exception_only(error)[-1].strip()
    return ServiceNotLoaded(service=service, problem=_RAISED, error=said, place=_place(error))


def _place(error: BaseException) -> str:
    """Return the file and line where the user's own code came to its end."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    last = next((each for each in reversed(frames) if not _is_machinery(each.filename)), frames[-1])
    return f"{last.filename}, line {last.lineno}"


def _is_machinery(file: str) -> bool:
    """Whether a frame is of Python or of a package that is installed, not of the user."""
    standard = Path(traceback.__file__).parent
    return file.startswith("<") or file == __file__ or Path(file).is_relative_to(standard)
