"""The catalogue: every message for a person has a Russian translation with the same placeholders and options."""

import re
from functools import cache
from importlib import resources
from pathlib import Path

import polib
import pytest

import antiphon
from antiphon.errors import NameTaken
from antiphon.language import LANGUAGES, catalogue, choose
from support.messages import Message, marked_messages, messages_of, placeholders

RUSSIAN = polib.pofile(resources.files("antiphon.language").joinpath("ru.po").read_text("utf-8"))
ENTRIES = {entry.msgid: entry for entry in RUSSIAN}


@cache
def messages() -> dict[str, Message]:
    """Return the messages of the sources by their text."""
    return {message.text: message for message in marked_messages(Path(antiphon.__file__).parent)}


def translations(entry: polib.POEntry) -> list[str]:
    return list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]


def test_marks_are_found_wherever_they_stand() -> None:
    source = 'N_("a")\nself._("b")\nf"{_(\'c\')}"\ncatalogue.ngettext("d", "e", n)\n_("f" "g")\nother("h")\n_(i)\n'
    found = sorted((message.text, message.plural, message.place) for message in messages_of(source, "x.py"))
    assert found == [
        ("a", "", "x.py:1"),
        ("b", "", "x.py:2"),
        ("c", "", "x.py:3"),
        ("d", "e", "x.py:4"),
        ("fg", "", "x.py:5"),
    ]


def test_every_message_has_a_translation() -> None:
    missing = [f"{message.place}: {text}" for text, message in messages().items() if text not in ENTRIES]
    assert missing == []


def test_no_translation_is_left_over() -> None:
    assert [text for text in ENTRIES if text not in messages()] == []


def test_no_translation_is_empty_fuzzy_or_put_aside() -> None:
    assert [
        entry.msgid for entry in RUSSIAN if entry.fuzzy or entry.obsolete or not all(translations(entry))
    ] == []


def test_no_message_is_translated_twice() -> None:
    assert len(ENTRIES) == len(RUSSIAN)


def test_a_translation_holds_the_same_placeholders() -> None:
    wanted = {entry.msgid: placeholders(entry.msgid_plural or entry.msgid) for entry in RUSSIAN}
    assert [
        text for entry in RUSSIAN for text in translations(entry) if placeholders(text) != wanted[entry.msgid]
    ] == []


def test_a_translation_names_the_same_options() -> None:
    options = re.compile(r"--[a-z-]+|ANTIPHON_[A-Z]+")
    wanted = {entry.msgid: set(options.findall(entry.msgid)) for entry in RUSSIAN}
    assert [
        text
        for entry in RUSSIAN
        for text in translations(entry)
        if set(options.findall(text)) != wanted[entry.msgid]
    ] == []


def test_russian_is_set_in_russian_quotation_marks() -> None:
    assert [text for entry in RUSSIAN for text in translations(entry) if set("“”\"'") & set(text)] == []


def test_a_plural_is_one_in_source_and_translation() -> None:
    plural = {text: message.plural for text, message in messages().items() if message.plural}
    assert plural
    assert plural == {entry.msgid: entry.msgid_plural for entry in RUSSIAN if entry.msgid_plural}


@pytest.mark.parametrize(
    ("count", "words"), [(1, "1 попытка"), (3, "3 попытки"), (11, "11 попыток"), (21, "21 попытка")]
)
def test_russian_counts_as_russian_does(count: int, words: str) -> None:
    one = "One sign-in under your name has been refused since."
    many = "{count} sign-ins under your name have been refused since."
    assert words in catalogue("ru").ngettext(one, many, count).format(count=count)


def test_an_error_speaks_russian() -> None:
    error = NameTaken(name="Вадим")
    assert error.text(catalogue("ru").gettext) == "Имя «Вадим» занято."
    assert error.text(catalogue("en").gettext) == "The name “Вадим” is taken."


@pytest.mark.parametrize("language", ["de", "", "../en", "x" * 35])
def test_another_language_gets_english(language: str) -> None:
    assert catalogue(language).gettext("The server failed.") == "The server failed."


def test_every_language_has_its_catalogue() -> None:
    changed = [language for language in LANGUAGES if catalogue(language).gettext("Password") != "Password"]
    assert changed == [language for language in LANGUAGES if language != "en"]


@pytest.mark.parametrize(
    ("asked", "environment", "language"),
    [
        (None, {}, "en"),
        (None, {"LANG": "ru_RU.UTF-8"}, "ru"),
        (None, {"LANG": "ru"}, "ru"),
        (None, {"LANG": "C.UTF-8"}, "en"),
        (None, {"LANG": "de_DE.UTF-8"}, "en"),
        (None, {"LANG": "en_US.UTF-8", "LC_MESSAGES": "ru_RU.UTF-8"}, "ru"),
        (None, {"LANG": "ru_RU.UTF-8", "LC_MESSAGES": ""}, "ru"),
        (None, {"LC_ALL": "C", "LC_MESSAGES": "ru_RU.UTF-8", "LANG": "ru_RU.UTF-8"}, "en"),
        ("ru", {"LC_ALL": "en_US.UTF-8"}, "ru"),
        ("RU-ru", {}, "ru"),
        ("en", {"LC_ALL": "ru_RU.UTF-8"}, "en"),
        ("tlh", {"LC_ALL": "ru_RU.UTF-8"}, "en"),
    ],
)
def test_what_is_asked_comes_before_the_locale(
    asked: str | None, environment: dict[str, str], language: str
) -> None:
    assert choose(asked, environment) == language
