"""Tests of docs/api.md: it is what the source says, and it has every public name."""

import re

from support.documents import read
from support.reference_table import page, public_names

TEXT = read("docs/api.md")


def test_the_page_is_what_the_source_says() -> None:
    assert page() == TEXT


def test_every_public_name_has_an_entry() -> None:
    listed: set[str] = set()
    for section in TEXT.split("\n## ")[1:]:
        module, _, entries = section.partition("\n")
        names = re.findall(r"^- `(?:class |async with )?(\w+)", entries, re.MULTILINE)
        listed |= {f"{module}.{name}" for name in names}
    assert listed - {"antiphon.address.Address"} == public_names()
