"""docs/decisions: every decision has its four parts, and the index names every page."""

import re
from pathlib import Path

import pytest

from support.documents import ROOT, read

FOLDER = ROOT / "docs" / "decisions"
DECISIONS = [
    text
    for path in sorted(FOLDER.glob("*.md"))
    if path.name != "index.md"
    for text in re.split("^## ", path.read_text("utf-8"), flags=re.MULTILINE)[1:]
]
SOURCES = (ROOT, ROOT / "src" / "antiphon")
DAY = r"\d{4}-\d\d-\d\d"
PARTS = re.compile(
    r"[^\n]+\n\n\*\*Decision\.\*\* .+\n\n\*\*Reason\.\*\* .+\n\n\*\*Reconsider if\*\* .+\.\n\n"
    rf"\*{DAY}(?:, revised {DAY})?\*\n+",
    re.DOTALL,
)


def test_there_are_decisions() -> None:
    assert len(DECISIONS) > 150


def test_a_decision_has_its_four_parts() -> None:
    assert [text.splitlines()[0] for text in DECISIONS if not PARTS.fullmatch(text)] == []


def test_the_index_names_every_page_beside_its_package() -> None:
    named = re.findall(r"^\| \[[^\]]+\]\(([a-z-]+\.md)\) \|", read("docs/decisions/index.md"), re.MULTILINE)
    pages = {path.name for path in FOLDER.glob("*.md")} - {"index.md"}
    assert set(named) == pages
    assert len(named) == len(pages)


@pytest.mark.parametrize(
    "document", [*sorted(FOLDER.glob("*.md")), ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name
)
def test_every_file_of_the_sources_that_a_document_names_exists(document: Path) -> None:
    named = re.findall(r"`((?:[a-z_]+/)+\w+\.(?:py|c|po))`", document.read_text("utf-8"))
    assert [name for name in named if not any((root / name).is_file() for root in SOURCES)] == []
