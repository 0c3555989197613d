"""Tests of the hint below a new password: missing characters, faults, strength, and nothing of the password."""

from pathlib import Path

import pytest

from antiphon.blocklist import common_passwords
from antiphon.identity.passwords import Password, check
from antiphon.terminal.password_prompt import strength_hint
from support.processes import ServerProcess
from support.terminal import Terminal

CURSOR = "\x1b[20;1R"
"""A terminal's report of the cursor position; without one, prompt-toolkit shows no line below the prompt."""


def checked(text: str) -> Password:
    return check(text, 15, name="konstantin", common=common_passwords())


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("", "Enter makes a passphrase for you."),
        ("a", "Characters still missing: 14."),
        ("correct horse", "Characters still missing: 2."),
        (
            "passwordpassword",
            "This password cannot be used: it is among the passwords that are guessed first.",
        ),
        ("konstantin 12345", "This password cannot be used: without the account's name in it too little is left."),
        ("horse\ud800horse horse", "This password cannot be used: it contains an emoji or another character"),
        ("abcabcabcabcabcabcabcabcabcabc", "Long enough, but weak: it repeats itself."),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "Long enough, but weak: it repeats itself."),
        ("correct horse b", "Long enough. One more word makes it much stronger."),
        ("correct horse battery", "Good, if nobody could guess the words."),
        ("correct horse battery staple", "Strong, if nobody could guess the words."),
        ("п" * 14, "Characters still missing: 1."),
    ],
)
def test_the_hint_tells_what_can_be_known(typed: str, told: str) -> None:
    assert strength_hint(typed, 15, checked, str).startswith(told)
    if len(typed) > 1:
        assert typed not in strength_hint(typed, 15, checked, str)


def test_the_hint_stands_below_what_is_typed_and_shows_nothing_of_it(
    server: ServerProcess, tmp_path: Path
) -> None:
    with Terminal(
        "connect", str(server.address), home=tmp_path, ANTIPHON_NAME="hinted", PROMPT_TOOLKIT_NO_CPR="0"
    ) as terminal:
        terminal.asks("New password:")
        terminal.press(CURSOR)
        terminal.shows("Enter makes a passphrase for you.")
        terminal.press("zebra")
        terminal.shows("Characters still missing: 10.")
        terminal.press(" crossing roads")
        terminal.shows("Good, if nobody could guess the words.")
        assert "zebra" not in terminal.raw
        assert "crossing" not in terminal.raw
