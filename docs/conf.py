"""How Sphinx builds the documents (`make docs`)."""

from dataclasses import fields, is_dataclass
from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

from antiphon import __version__

project = "Antiphon"
author = "The authors of Antiphon"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"Antiphon {__version__}"
html_copy_source = False
myst_heading_anchors = 3
default_role = "code"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"


TYPES = ModuleAnalyzer.for_module("antiphon.services.contract").find_attr_docs()
"""What is said of types where they stand; autodoc looks only where they are handed on."""


def complete(_: Sphinx, what: str, name: str, thing: Any, _options: Any, lines: list[str]) -> None:
    """Say of a type what is said of it where it stands, and of each option what it says of itself for `--help`."""
    if what == "data":
        lines[:] = TYPES["", name.removeprefix("antiphon.")]
    if isinstance(thing, type) and is_dataclass(thing):
        options = [option for option in fields(thing) if "help" in option.metadata]
        lines += [f":param {option.name}: {option.metadata['help']}".replace("*", r"\*") for option in options]


def setup(app: Sphinx) -> None:
    """Have Sphinx do that."""
    app.connect("autodoc-process-docstring", complete)
