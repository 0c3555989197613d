"""docs/architecture.md: what it names exists, every promise has a row, and each picture has its twin in words."""

import ast
import re
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from support.documents import ROOT, read, section, table

TEXT = read("docs/architecture.md")
SOURCE = ROOT / "src" / "antiphon"
SVG = "{http://www.w3.org/2000/svg}"
FILES = sorted(set(re.findall(r"`((?:\w+/)*\w+\.(?:py|c))`", TEXT)))
NAMES = sorted(set(re.findall(r"`((?:\w+/)*\w+\.py)`\s`(\w[\w.]*)`", TEXT)))
FOLDERS = sorted(set(re.findall(r"`((?:\w+/)+)`", TEXT)))
LIFETIMES = ("thing", "begins", "ends", "holds", "where")
PROMISES = ("#", "promise", "kept by", "test to begin with")
GLOSSARY = ("word", "meaning", "where")


@cache
def defined_in(file: str) -> set[str]:
    """Return the names that a module defines or hands on, and the methods and properties of its classes."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((SOURCE / file).read_text("utf-8"))):
        if isinstance(node, ast.ClassDef):
            names |= {node.name, *(f"{node.name}.{name}" for part in node.body for name in bound_by(part))}
        else:
            names |= bound_by(node)
    return names


def bound_by(node: ast.AST) -> set[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return {node.name}
        case ast.Assign():
            return {target.id for target in node.targets if isinstance(target, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
        case ast.ImportFrom():
            return {alias.asname or alias.name for alias in node.names}
    return set()


def picture(name: str) -> ET.Element:
    return ET.parse(ROOT / "docs" / name).getroot()


def parts_of(name: str) -> list[str]:
    """Return the parts that a picture names, from the top."""
    return [part.text or "" for part in picture(name).iter(f"{SVG}text") if part.get("class") == "name"]


def test_something_is_named() -> None:
    assert len(FILES) > 50
    assert len(NAMES) > 80


def test_a_file_that_is_named_exists() -> None:
    assert [file for file in FILES if not (SOURCE / file).is_file()] == []


def test_a_folder_that_is_named_exists() -> None:
    assert [folder for folder in FOLDERS if not any((root / folder).is_dir() for root in (SOURCE, ROOT))] == []


def test_a_name_beside_a_file_is_defined_there() -> None:
    assert [(file, name) for file, name in NAMES if name not in defined_in(file)] == []


def test_every_promise_has_a_row_with_its_function_and_one_of_its_tests() -> None:
    promised = {number: tests for number, _, tests in table(read("docs/security.md"), "#", "promise", "shown by")}
    rows = table(TEXT, *PROMISES)
    assert [number for number, *_ in rows] == list(promised)
    for number, _, kept_by, test in rows:
        assert re.match(r"[\w/]+\.py \w", kept_by)
        assert f"::{test}," in f"{promised[number]},"


def test_the_picture_of_the_path_and_its_twin_name_the_same_stages() -> None:
    stages = re.findall(r"^\d\. \*\*([a-z -]+)\*\*", section(TEXT, "## The path of a request"), re.MULTILINE)
    assert sorted(parts_of("request-path.svg")) == sorted(stages)


def test_the_picture_of_lifetimes_and_its_twin_name_the_same_things() -> None:
    assert parts_of("lifetimes.svg") == [thing for thing, *_ in table(TEXT, *LIFETIMES)]


@pytest.mark.parametrize("name", ["request-path.svg", "lifetimes.svg"])
def test_a_picture_can_be_read_aloud_and_is_shown_on_the_page(name: str) -> None:
    root = picture(name)
    labels = [root.find(f"{SVG}{tag}") for tag in ("title", "desc")]
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == " ".join(label.get("id", "") for label in labels if label is not None)
    assert all(label is not None and label.text for label in labels)
    assert re.search(rf"!\[[^\]]+\]\({re.escape(name)}\)", TEXT)


def test_every_word_of_the_glossary_says_where_its_thing_lives() -> None:
    rows = table(TEXT, *GLOSSARY)
    words = [word for word, *_ in rows]
    assert words == sorted(words)
    for _, meaning, where in rows:
        assert meaning
        places = re.findall(r"(?:\w+/)+(?:\w+\.py)?|\w+\.py", where)
        assert places
        assert all((SOURCE / Path(place)).exists() for place in places)
