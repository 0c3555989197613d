"""docs/api.md, the public names; write it with `PYTHONPATH=tests .venv/bin/python -m support.reference_table`.

Signatures and sentences are read from the source, so annotations stand there as the code writes them, whatever
Python version runs this.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import antiphon
from antiphon import blocking, errors, testing

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"
WIDTH = 120
MODULES = {
    "antiphon": tuple(sorted(antiphon._HANDED_ON, key=str.lower)),
    "antiphon.address": ("Address",),
    "antiphon.blocking": tuple(sorted(blocking.__all__, key=str.lower)),
    "antiphon.testing": tuple(sorted(testing.__all__, key=str.lower)),
    "antiphon.settings": ("ServerSettings", "ClientSettings"),
    "antiphon.errors": tuple(error.__name__ for error in errors.every_error() if error.__name__ in errors.__all__),
}
"""Public names by module, in the order of the page; errors are in the order of their tree."""
GIVEN = {
    *("antiphon.ClientSession", "antiphon.Session", "antiphon.blocking.Session", "antiphon.blocking.SessionInfo"),
    *("antiphon.blocking.FramedTlsSocket", "antiphon.settings.ServerSettings", "antiphon.settings.ClientSettings"),
    "antiphon.ServerOptions",
    *("antiphon.ServiceServer", "antiphon.Subscriber"),
}
"""Classes without a signature here: a program is given them, or their options are listed under them."""
INTERNAL = {"connection", "hang_up", "message", "end", "acknowledgement", "of", "starting"}
"""Members without an underscore that are for other parts of Antiphon, so docs/reference.md leaves them out."""
SPECIAL = {"__enter__", "__exit__", "__iter__", "__aenter__", "__aexit__", "__aiter__"}
HEAD = """# Public names

Each public name with its signature and the first sentence of its docstring. [reference.md](reference.md), built by
`make docs`, has the whole docstrings, with arguments, ranges and errors. A test compares this page with the code.
"""

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_names() -> set[str]:
    """Return the public names in full, as CONTRIBUTING.md defines them."""
    return {
        f"{module}.{name}" for module, names in MODULES.items() for name in names if module != "antiphon.address"
    }


def page() -> str:
    """Return the document."""
    sections = (f"\n## {module}\n\n" + "".join(_entries(module)) for module in MODULES)
    return HEAD + "".join(sections)


def _entries(module: str) -> Iterator[str]:
    for name in MODULES[module]:
        thing = getattr(import_module(module), name)
        if not inspect.isclass(thing) and not inspect.isfunction(thing):
            yield _item(*_alias(name))
        elif inspect.isfunction(thing):
            yield _item(_signature(_tree(inspect.unwrap(thing))), inspect.getdoc(thing))
        elif issubclass(thing, errors.AntiphonError):
            yield _item(
                f"{name}({thing.__mro__[1].__name__})", f"`{thing.code}`: {_sentence(inspect.getdoc(thing))}"
            )
            if thing is errors.AntiphonError:
                yield from _members(thing)
        else:
            yield _item(
                f"class {name}{'' if f'{module}.{name}' in GIVEN else _made_by(thing)}", inspect.getdoc(thing)
            )
            yield from _options(thing) if module == "antiphon.settings" else _members(thing)


def _members(thing: type[Any]) -> Iterator[str]:
    """Yield the documented members of a class, those of bases that are not public included."""
    shown: set[str] = set()
    for base in thing.__mro__:
        if base is not thing and (not base.__module__.startswith("antiphon.") or _is_listed(base)):
            continue
        for name, signature, doc in _defined(_tree(base)):
            if name not in shown:
                shown.add(name)
                yield _item(signature, doc, "  ")


def _defined(tree: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Yield name, signature and docstring of what a class defines, the attributes that `__init__` sets first."""
    for node in tree.body:
        if isinstance(node, _Function) and node.name == "__init__":
            yield from _attributes(node.body)
    yield from _attributes(tree.body)
    for node in tree.body:
        if isinstance(node, _Function) and _is_public(node.name) and (doc := ast.get_docstring(node)):
            yield node.name, _signature(node), doc


def _attributes(body: list[ast.stmt]) -> Iterator[tuple[str, str, str]]:
    """Yield the attributes with a docstring under them."""
    for node, below in pairwise(body):
        match node, below:
            case (
                (ast.AnnAssign(target=target) | ast.Assign(targets=[target])),
                ast.Expr(value=ast.Constant(value=str(doc))),
            ):
                name = ast.unparse(target).removeprefix("self.")
                annotated = f"{name}: {ast.unparse(node.annotation)}" if isinstance(node, ast.AnnAssign) else name
                if _is_public(name):
                    yield name, annotated, inspect.cleandoc(doc)


def _is_public(name: str) -> bool:
    return name in SPECIAL or not (name.startswith("_") or name in INTERNAL)


def _is_listed(thing: type[Any]) -> bool:
    return any(getattr(import_module(module), name) is thing for module in MODULES for name in MODULES[module])


def _options(thing: type[Any]) -> Iterator[str]:
    """Yield the options of settings, each with its help."""
    nodes = [node for node in _tree(thing).body if isinstance(node, ast.AnnAssign)]
    types = {ast.unparse(node.target): ast.unparse(node.annotation) for node in nodes}
    for field in fields(thing):
        yield _item(f"{field.name}: {types[field.name]} = {field.default!r}", field.metadata["help"], "  ")


def _made_by(thing: type[Any]) -> str:
    """Return the arguments that make an instance."""
    if is_dataclass(thing):
        tree = _tree(thing)
        arguments = [ast.unparse(node) for node in tree.body if isinstance(node, ast.AnnAssign)]
        return f"({', '.join(arguments)})"
    return _arguments(_tree(thing.__init__))


def _signature(node: _Function) -> str:
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    returned = ast.unparse(node.returns) if node.returns else "None"
    if "property" in decorators:
        return f"{node.name}: {returned}"
    managers = {"contextmanager": "with ", "asynccontextmanager": "async with "}
    for decorator, prefix in managers.items():
        if decorator in {each.rpartition(".")[2] for each in decorators}:
            inner = re.fullmatch(r"\w+\[(.+?)(?:, None)?\]", returned)
            assert inner, returned
            return f"{prefix}{node.name}{_arguments(node)} -> {inner[1]}"
    waiting = isinstance(node, ast.AsyncFunctionDef)
    prefix = ("async for " if returned.startswith("AsyncIterator") else "await ") if waiting else ""
    return f"{prefix}{node.name}{_arguments(node)} -> {returned}"


def _arguments(node: _Function) -> str:
    """Return the arguments but `self`, as the formatter would write them."""
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [*([None] * (len(positional) - len(given.defaults))), *given.defaults]
    written = [_argument(*pair) for pair in zip(positional, defaults, strict=True)]
    if positional and positional[0].arg in ("self", "cls"):
        del written[0]
    if given.vararg or given.kwonlyargs:
        written.append(f"*{_argument(given.vararg)}" if given.vararg else "*")
    written += [_argument(*pair) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        written.append(f"**{_argument(given.kwarg)}")
    return f"({', '.join(written)})"


def _argument(argument: ast.arg, default: ast.expr | None = None) -> str:
    return ast.unparse(argument) + (f" = {ast.unparse(default)}" if default else "")


def _alias(name: str) -> tuple[str, str]:
    """Return the definition of a type alias, and the docstring under it."""
    tree = ast.parse(inspect.getsource(import_module(antiphon._HANDED_ON[name])))
    for node, below in pairwise(tree.body):
        match node, below:
            case ast.Assign(targets=[ast.Name(id=found)]), ast.Expr(value=ast.Constant(value=str(doc))):
                if found == name:
                    return ast.unparse(node), inspect.cleandoc(doc)
    raise AssertionError(f"{name} has no docstring")


def _tree(thing: Any) -> Any:
    """Return the definition of a class or function."""
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


def _sentence(doc: str | None) -> str:
    """Return the first sentence of a docstring."""
    paragraph = " ".join((doc or "").partition("\n\n")[0].split())
    found = re.match(r".*?[.!?](?= [A-Z`]|$)", paragraph)
    assert found, f"no sentence: {paragraph!r}"
    return found[0]


def _item(signature: str, doc: str | None, indent: str = "") -> str:
    text = f"{indent}- `{signature}`: {_sentence(doc)}"
    return (
        textwrap.fill(text, WIDTH, subsequent_indent=f"{indent}  ", break_on_hyphens=False, break_long_words=False)
        + "\n"
    )


if __name__ == "__main__":
    DOCUMENT.write_text(page(), "utf-8")
