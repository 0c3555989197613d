"""Tests of docs/testing.md: its programs run, and its tables list the existing names."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from antiphon.testing import LinkFault, RunningServer, ServerProcess
from support.documents import blocks, read, table

TEXT = read("docs/testing.md")
SHOWN: dict[str, Any] = {"__name__": "shown"}
for block in blocks(TEXT):
    if block.language == "python":
        exec(block.text, SHOWN)
TESTS = [pytest.param(shown, id=name) for name, shown in SHOWN.items() if name.startswith("test_")]


def test_there_are_tests_in_the_document() -> None:
    assert len(TESTS) == 8


@pytest.mark.parametrize("shown", TESTS)
async def test_a_test_of_the_document_passes(
    shown: Callable[..., Any], antiphon_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    fixtures = {"antiphon_server": antiphon_server, "tmp_path": tmp_path}
    given = {name: fixtures[name] for name in inspect.signature(shown).parameters}
    if inspect.iscoroutinefunction(shown):
        await shown(**given)
    else:
        await asyncio.to_thread(shown, **given)


def test_the_table_names_every_fault() -> None:
    rows = table(TEXT, "field", "what happens to the bytes of one connection, in one direction")
    assert [name for name, _ in rows] == [field.name for field in fields(LinkFault)]


def test_the_table_names_all_of_a_running_server() -> None:
    rows = table(TEXT, "name", "what it is")
    for server in (RunningServer, ServerProcess):
        public = {name for name in dir(server) if not name.startswith("_")}
        assert {name.partition("(")[0] for name, _ in rows} == public
