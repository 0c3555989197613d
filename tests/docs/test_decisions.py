"""docs/decisions: every decision has its four parts, and the index names every page."""

import re

import pytest

from support.documents import ROOT, read

FOLDER = ROOT / "docs" / "decisions"
DECISIONS = [
    pytest.param(text, id=f"{path.stem}-{text.splitlines()[0]}")
    for path in sorted(FOLDER.glob("*.md"))
    if path.name != "index.md"
    for text in re.split("^## ", path.read_text("utf-8"), flags=re.MULTILINE)[1:]
]
DAY = r"\d{4}-\d\d-\d\d"
PARTS = re.compile(
    r"[^\n]+\n\n\*\*Decision\.\*\* .+\n\n\*\*Reason\.\*\* .+\n\n\*\*Reconsider if\*\* .+\.\n\n"
    rf"\*{DAY}(?:, revised {DAY})?\*\n+",
    re.DOTALL,
)


def test_there_are_decisions() -> None:
    assert len(DECISIONS) > 150


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_decision_has_its_four_parts(decision: str) -> None:
    assert PARTS.fullmatch(decision)


def test_the_index_names_every_page_beside_its_package() -> None:
    named = re.findall(r"^\| \[[^\]]+\]\(([a-z-]+\.md)\) \|", read("docs/decisions/index.md"), re.MULTILINE)
    pages = {path.name for path in FOLDER.glob("*.md")} - {"index.md"}
    assert set(named) == pages
    assert len(named) == len(pages)
