"""The tree of errors: its drawing, codes, sentences, and errors from the wire."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import antiphon
from antiphon import errors
from antiphon.errors import (
    COPY_LIMIT,
    AntiphonError,
    BodyInvalid,
    NameInvalid,
    NameTaken,
    Problem,
    ServiceFailed,
    TryLater,
    UsageError,
    every_error,
    from_wire,
)
from support.error_table import table, written
from support.leaks import assert_takes_less
from support.messages import placeholders

ERRORS = list(every_error())
BY_NAME = {error.__name__: error for error in ERRORS}

BRANCHES = {
    errors.UsageError: 2,
    errors.ConnectError: 3,
    errors.SignInError: 4,
    errors.ProtocolError: 5,
    errors.TimedOut: 6,
    errors.ServerError: 1,
    errors.Fault: 1,
    errors.InputFailed: 1,
    errors.OutputFailed: 1,
    errors.OverThreshold: 7,
}
"""Exit codes as documented in docs/errors.md."""


def needed(error: type[AntiphonError]) -> set[str]:
    """Return the names of the fields in the sentence and hint of `error`."""
    return placeholders(error.sentence) | placeholders(error.hint)


# --- the tree -----------------------------------------------------------------------------------------------


def drawn() -> Iterator[tuple[str, str]]:
    """Yield each class in the drawing of the package's docstring, with its parent in the drawing."""
    above = {0: ""}
    depth = 0
    for line in (errors.__doc__ or "").partition("::")[2].partition("The same classes")[0].splitlines():
        words = list(re.finditer(r"\b[A-Z][a-z]+[A-Za-z]+\b", line))
        if words and ("──" in line or depth == 0):
            depth = words[0].start() // 4
        for at, word in enumerate(words):
            below_previous = line[word.end() :].startswith(" below it")
            yield word[0], words[at - 1][0] if below_previous else above[depth - 1]
            if not below_previous:
                above[depth] = word[0]


def test_every_error_is_drawn_where_it_stands_and_nothing_else_is_drawn() -> None:
    stands = {name: error.__bases__[0].__name__ for name, error in BY_NAME.items()}
    assert dict(drawn()) == stands | {"AntiphonError": ""}


def test_no_error_is_drawn_twice() -> None:
    names = [name for name, _ in drawn()]
    assert len(names) == len(set(names))


def test_codes_are_unique_and_written_in_one_way() -> None:
    codes = [error.code for error in ERRORS]
    assert len(codes) == len(set(codes))
    assert [code for code in codes if not re.fullmatch(r"[a-z]+(-[a-z]+)*", code)] == []


def test_every_error_says_who_erred() -> None:
    assert {error.blame for error in ERRORS} == {"user", "operator", "client", "server", "network", "program"}


@pytest.mark.parametrize(("branch", "code"), BRANCHES.items())
def test_every_branch_has_its_exit_code(branch: type[AntiphonError], code: int) -> None:
    assert {error.exit_code for error in every_error(branch)} == {code}


def test_every_error_stands_in_a_branch() -> None:
    assert {error for branch in BRANCHES for error in every_error(branch)} | {AntiphonError} == set(ERRORS)


def test_the_table_in_the_documents_is_the_tree() -> None:
    assert written() == table()


# --- sentences ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS)
def test_every_sentence_is_filled_with_its_fields(error: type[AntiphonError]) -> None:
    fields: dict[str, Any] = dict.fromkeys(needed(error) - {"wait"}, "FILLED")
    text = str(error(**fields))
    assert "{" not in text
    assert text.count("FILLED") == len(re.findall(r"\{(?!wait)", error.sentence + error.hint))


@pytest.mark.parametrize("error", ERRORS)
def test_every_sentence_is_a_sentence(error: type[AntiphonError]) -> None:
    assert error.sentence == "{problem}" or re.search(r"([.!]|: \{problem\}\.?)$", error.sentence)
    assert not error.hint or re.search(r"[.!]$", error.hint)


def told_by(path: Path) -> Iterator[tuple[str, type[AntiphonError], set[str]]]:
    """Yield each place in a file that creates an error, with the fields that it fills."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        place = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BY_NAME:
            if all(keyword.arg for keyword in node.keywords):
                yield place, BY_NAME[node.func.id], {keyword.arg or "" for keyword in node.keywords}
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name) and node.exc.id in BY_NAME:
            yield place, BY_NAME[node.exc.id], set()


def test_whoever_makes_an_error_fills_its_fields() -> None:
    source = Path(antiphon.__file__).parent
    told = [found for path in source.rglob("*.py") for found in told_by(path)]
    assert told
    set_by_itself = {"wait"}
    assert [
        f"{place}: {error.__name__} lacks {lacking}"
        for place, error, filled in told
        if (lacking := needed(error) - filled - set_by_itself)
    ] == []


def test_what_a_peer_sent_is_escaped() -> None:
    assert "“a\\x1b[2J\\u2028b”" in NameTaken(name="a\x1b[2J\u2028b").text()


@pytest.mark.parametrize("value", [Path("/tmp/\x1b[2J"), OSError("\x1b[2J"), b"\x1b[2J", ["\x1b[2J"]])
def test_what_is_not_a_text_is_escaped_all_the_same(value: object) -> None:
    assert "\x1b" not in str(UsageError(problem=value))


def test_what_a_peer_sent_is_cut() -> None:
    assert NameTaken(name="я" * COPY_LIMIT).fields["name"] == "я" * COPY_LIMIT
    assert NameTaken(name="я" * (COPY_LIMIT + 1)).fields["name"] == "я" * COPY_LIMIT + "…"


def test_what_a_peer_sent_is_cut_before_it_is_escaped() -> None:
    name = "\x1b" * 1_000_000
    assert len(str(NameTaken(name=name).fields["name"])) == COPY_LIMIT + 1
    assert_takes_less(lambda: NameTaken(name=name), 64 * 1024)


def test_braces_that_a_peer_sent_fill_nothing() -> None:
    assert "“{wait}{0}”" in NameTaken(name="{wait}{0}").text()


def test_numbers_stay_numbers() -> None:
    assert errors.FrameTooLarge(size=5, kind="BYE", limit=4).fields == {"size": 5, "kind": "BYE", "limit": 4}


def test_a_problem_is_translated_with_its_sentence_and_filled_from_the_same_fields() -> None:
    error = NameInvalid(name="ann", problem=Problem("more than {most}"), most=64)
    russian = {error.sentence: "«{name}» не имя: {problem}.", "more than {most}": "знаков больше {most}"}
    assert error.text(russian.__getitem__) == "«ann» не имя: знаков больше 64."
    assert error.text() == "“ann” cannot be a name: more than 64."


def test_an_error_reads_as_sentence_and_hint() -> None:
    assert str(TryLater()) == "The server cannot do this now. Try again in 3 s."
    assert TryLater(wait=0.5).full() == "The server cannot do this now. Try again in 0.5 s."
    assert str(BodyInvalid(kind="BYE", problem="x")).endswith("See docs/protocol.md.")


# --- from the wire ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS)
def test_a_code_from_the_wire_gives_its_class_in_the_words_of_the_server(error: type[AntiphonError]) -> None:
    back = from_wire(error.code, "Сейчас нельзя.", "Подождите.", 2.5)
    assert type(back) is error
    assert (back.text(), back.advice(), back.wait) == ("Сейчас нельзя.", "Подождите.", 2.5)
    assert back.full(str.upper) == "Сейчас нельзя. Подождите."


def test_a_code_of_a_later_version_still_tells_what_the_server_said() -> None:
    error = from_wire("moon-eclipsed", "The moon is gone.", wait=9)
    assert type(error) is AntiphonError
    assert (str(error), error.wait) == ("The moon is gone.", 9)


def test_what_a_server_says_is_escaped_and_cut() -> None:
    error = from_wire(ServiceFailed.code, "\x1b[2J", "я" * 1000)
    assert error.text() == "\\x1b[2J"
    assert error.advice() == "я" * COPY_LIMIT + "…"


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_has_a_line_for_its_reader(error: type[AntiphonError]) -> None:
    assert error.__doc__ != error.__bases__[0].__doc__
    assert inspect.getdoc(error)
