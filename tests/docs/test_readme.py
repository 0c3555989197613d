"""Tests of the READMEs: the transcript is real, links lead somewhere, and both languages say the same."""

import re
from pathlib import Path

import pexpect
import pytest

from support.documents import DOCUMENTS, PAGES, README_RU, READMES, ROOT, blocks, commands, read
from support.processes import ANTIPHON, clean_environment
from support.transcripts import lasting, on_paper

PROMPTS = (
    *("Name [ann]:", "New password:", "Once more:", "Password:", "ann>"),
    *("Имя [ann]:", "Новый пароль:", "Ещё раз:", "Пароль:"),
)
INDEXES = [path for path in PAGES if path.name == "index.md"]
PASSWORD = "correct horse"
"""As many stars as the transcript shows."""
SCREEN = 24
"""Lines that a terminal shows at once."""


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_the_transcript_is_what_a_person_sees(readme: Path, tmp_path: Path) -> None:
    (transcript,) = (block.text for block in blocks(readme.read_text("utf-8")) if block.language == "text")
    visits = transcript.split("$ make run\n")[1:]
    assert len(visits) == 2
    for visit in visits:
        assert lasting(seen(visit, tmp_path, "ru" if readme == README_RU else "en")) == lasting(visit)


def seen(visit: str, home: Path, language: str) -> str:
    """Run the demo on a terminal, type what the person in `visit` typed, and return the screen."""
    environment = clean_environment(
        home, TERM="xterm", PROMPT_TOOLKIT_NO_CPR="1", USER="ann", LANGUAGE=language, LANG="C.UTF-8"
    )
    demo = pexpect.spawn(
        str(ANTIPHON), ["demo"], env=environment, encoding="utf-8", dimensions=(50, 250), timeout=150
    )
    out = ""
    for line in visit.splitlines():
        prompt = next((prompt for prompt in PROMPTS if line.startswith(prompt)), None)
        if prompt is None:
            continue
        demo.expect_exact(prompt)
        typed = line.removeprefix(prompt).strip()
        demo.send((PASSWORD if set(typed) == {"*"} else typed) + "\r")
        out += demo.before + demo.after
        demo.expect("\r\n")  # the line after Enter was pressed
        out += demo.before + demo.after
    demo.expect(pexpect.EOF)
    out += demo.before
    demo.close()
    assert demo.exitstatus == 0
    return on_paper(out.replace(str(home), "/home/ann"))


@pytest.mark.parametrize(
    "document",
    [*DOCUMENTS, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md"],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_every_link_to_a_file_leads_to_one(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text("utf-8"))
    assert all((document.parent / link).is_file() for link in links), links


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_to_a_section_leads_to_one(document: Path) -> None:
    """Sphinx takes other spellings too, which lead nowhere where the sources are read."""
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", document.read_text("utf-8"))
    assert [
        (to, part) for to, part in links if part not in sections(document.parent / to if to else document)
    ] == []


def sections(document: Path) -> set[str]:
    """Return the headings of a document as links name them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_document_is_in_the_readme() -> None:
    named = set(re.findall(r"\]\((docs/[^)#]+\.md)\)", read("README.md")))
    pages = {path for path in PAGES if path.parent == ROOT / "docs" and path.name != "index.md"}
    folders = {path for path in PAGES if path.parent != ROOT / "docs" and path.name == "index.md"}
    assert named == {path.relative_to(ROOT).as_posix() for path in pages | folders}


@pytest.mark.parametrize("index", INDEXES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_document_is_in_the_contents_of_the_pages(index: Path) -> None:
    (contents,) = (block for block in blocks(index.read_text("utf-8")) if block.language == "{toctree}")
    pages = {path for path in PAGES if path.parent == index.parent}
    folders = {path for path in INDEXES if path.parent.parent == index.parent}
    below = {path.relative_to(index.parent).with_suffix("").as_posix() for path in (pages | folders) - {index}}
    assert set(contents.text.split("\n\n")[1].split()) == below


def test_both_readmes_have_the_same_sections_with_the_same_commands_and_links() -> None:
    english, russian = (shape(readme.read_text("utf-8")) for readme in READMES)
    assert len(english) > 5
    assert russian == english


def shape(readme: str) -> list[tuple[list[str], set[str]]]:
    """Return what each section has in common in all languages: its commands or program, and its links."""
    sections = re.split("^## .*\n", readme, flags=re.MULTILINE)
    return [
        (
            [line for block in blocks(section) for line in commands(block)],
            set(re.findall(r"\]\(([^)]+)\)", section)) - {readme.name for readme in READMES},
        )
        for section in sections
    ]


def test_each_readme_links_to_the_other_at_the_top() -> None:
    first = [re.search(r"\]\((.*?)\)", readme.read_text("utf-8")) for readme in READMES]
    assert [link and link[1] for link in first] == ["README.ru.md", "README.md"]


def test_the_services_of_the_readme_are_served_elsewhere() -> None:
    first, script = (block for block in blocks(read("README.md")) if block.language == "python")
    (served,) = (block.text for block in blocks(read("docs/services.md")) if block.about == first.about)
    assert script.text == served
    assert first.text in served


def test_the_first_screen_of_the_readme_shows_a_service_and_its_two_commands() -> None:
    program, shown = blocks("\n".join(read("README.md").splitlines()[:SCREEN]))
    assert program.language == "python"
    assert commands(shown) == [f"antiphon serve {program.about}:answer", "antiphon connect ann@localhost"]
