"""How Sphinx builds the documents (`make docs`)."""

from antiphon import __version__

project = "Antiphon"
author = "The authors of Antiphon"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"Antiphon {__version__}"
html_copy_source = False
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
