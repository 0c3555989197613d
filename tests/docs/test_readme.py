"""The README's transcript is what a person sees, and links lead somewhere."""

import re
from pathlib import Path

import pexpect
import pytest

from support.documents import DOCUMENTS, ROOT, blocks, read
from support.processes import ANTIPHON, clean_environment
from support.transcripts import lasting, on_paper

PROMPTS = ("Name [ann]:", "New password:", "Once more:", "Password:", "ann>")
PASSWORD = "correct horse"
"""As many stars as the transcript shows."""


def the_transcript() -> str:
    (block,) = (block for block in blocks(read("README.md")) if block.language == "text")
    return block.text


def test_the_transcript_is_what_a_person_sees(tmp_path: Path) -> None:
    visits = the_transcript().split("$ make run\n")[1:]
    assert len(visits) == 2
    for visit in visits:
        assert lasting(seen(visit, tmp_path)) == lasting(visit)


def seen(visit: str, home: Path) -> str:
    """Run the demo on a terminal, type what the person in `visit` typed, and return what stood there."""
    environment = clean_environment(home, TERM="xterm", PROMPT_TOOLKIT_NO_CPR="1", USER="ann")
    demo = pexpect.spawn(
        str(ANTIPHON), ["demo"], env=environment, encoding="utf-8", dimensions=(50, 120), timeout=20
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
        demo.expect("\r\n")  # the line as it stands once Enter was pressed
        out += demo.before + demo.after
    demo.expect(pexpect.EOF)
    out += demo.before
    demo.close()
    assert demo.exitstatus == 0
    return on_paper(out.replace(str(home), "/home/ann"))


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_every_link_to_a_file_leads_to_one(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text("utf-8"))
    assert all((document.parent / link).is_file() for link in links), links


def test_every_document_is_in_the_readme() -> None:
    named = set(re.findall(r"\]\((docs/[^)#]+)\)", read("README.md")))
    pages = {path for path in DOCUMENTS if path.parent == ROOT / "docs" and path.name != "index.md"}
    assert named == {str(path.relative_to(ROOT)) for path in pages}


def test_every_document_is_in_the_contents_of_the_pages() -> None:
    (contents,) = (block for block in blocks(read("docs/index.md")) if block.language == "{toctree}")
    pages = {path.stem for path in DOCUMENTS if path.parent == ROOT / "docs" and path.name != "index.md"}
    assert set(contents.text.split("\n\n")[1].split()) == pages
