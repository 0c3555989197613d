"""Tests of docs/explain.md: the transcript of a session, and the use of /spoil on a terminal."""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.terminal import explain
from antiphon.terminal.console import Console
from antiphon.terminal.explain import Explainer
from antiphon.wire.frames import encode
from antiphon.wire.kinds import Kind
from support.documents import blocks, commands, section
from support.explain_example import DOCUMENTS, lasting, shown, visit
from support.processes import PASSWORD, ServerProcess
from support.serving import seed
from support.terminal import Terminal

TEXTS = {language: document.read_text("utf-8") for language, document in DOCUMENTS.items()}
SPOILED = {"en": "## A spoiled token", "ru": "## Испорченный токен"}
ANN: dict[str, Any] = {"ANTIPHON_NAME": "ann", "ANTIPHON_PASSWORD": PASSWORD}


@pytest.mark.parametrize("language", DOCUMENTS)
def test_the_transcript_is_what_a_visit_shows(tmp_path: Path, language: str) -> None:
    assert lasting(visit(tmp_path, language)) == lasting(shown(language))


def test_as_many_bytes_are_shown_as_is_said() -> None:
    assert f"longer than {explain.DUMPED} bytes" in TEXTS["en"].replace("\n  ", " ")
    assert f"длиннее {explain.DUMPED} байтов" in TEXTS["ru"].replace("\n  ", " ")


@pytest.mark.parametrize("language", DOCUMENTS)
def test_the_short_form_is_as_shown(language: str) -> None:
    (block,) = (
        block for block in blocks(TEXTS[language]) if block.text.startswith("[   0.0") and len(block.text) < 400
    )
    listener = Explainer(Console(language, may_ask=False), short=True).watch("tls://localhost:7862")
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        listener.received(encode(Kind.HELLO, 0, b"{}"))
        listener.sent(encode(Kind.IDENTIFY, 1, b"{}"))
        listener.received(encode(Kind.IDENTIFY, 1, b"{}"))
    assert lasting(told.getvalue()) == lasting(block.text)


def test_both_languages_have_the_same_sections_commands_and_links() -> None:
    shapes = [
        [
            (
                [commands(block) for block in blocks(part) if block.language == "sh"],
                [link.replace(".ru.md", ".md") for link in re.findall(r"\]\(([^)]+)\)", part)],
            )
            for part in re.split("^## .*\n", text, flags=re.MULTILINE)
        ]
        for text in TEXTS.values()
    ]
    assert shapes[0] == shapes[1]


@pytest.fixture(params=DOCUMENTS)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ann(tmp_path: Path, language: str) -> Iterator[Terminal]:
    seed(tmp_path / "data")
    with (
        ServerProcess(tmp_path / "data") as server,
        Terminal("connect", str(server.address), "--lang", language, home=tmp_path, **ANN) as terminal,
    ):
        yield terminal


def test_a_spoiled_token_is_refused_as_shown(ann: Terminal, language: str) -> None:
    typed = [
        line
        for block in blocks(section(TEXTS[language], SPOILED[language]))
        if block.language == "text"
        for line in block.text.splitlines()
    ]
    assert sum(line.startswith("ann> /spoil ") for line in typed) == 3
    for line in typed:
        if line.startswith("ann> "):
            ann.answer("ann>", line.removeprefix("ann> "))
            ann.shows("\n")
        else:
            ann.shows(line.removesuffix("0 s.").removesuffix("0 с."))  # a number of seconds
    ann.answer("ann>", "exit")
    ann.shows({"en": "You have left.", "ru": "Вы вышли."}[language])
    assert ann.ends() == 0, "a refusal that was asked for is no failure"
