"""The catalogue of messages for people, in English and Russian: prompts, greetings, errors, the console.

The English message in the source is the key; `ru.po` in this folder holds the Russian. Logs, codes, JSON and
`--help` are always English and not translated.
"""

import gettext
import io
from collections.abc import Callable, Mapping
from functools import cache

LANGUAGES = ("en", "ru")

Translate = Callable[[str], str]
"""A function from an English message to the message in the chosen language."""


def N_(message: str) -> str:  # noqa: N802 - gettext's own name for "translate this later"
    """Return `message` unchanged; this marks it for the catalogue, and the code that shows it translates it."""
    return message


@cache
def catalogue(language: str) -> gettext.NullTranslations:
    """Return the translations into `language`; English for a language that is not in `LANGUAGES`."""
    if language not in LANGUAGES or language == "en":
        return gettext.NullTranslations()
    from importlib import resources  # noqa: PLC0415 - slow, and English does not need it

    import polib  # noqa: PLC0415 - likewise

    text = resources.files("antiphon.language").joinpath(f"{language}.po").read_text("utf-8")
    return gettext.GNUTranslations(io.BytesIO(polib.pofile(text).to_binary()))


def choose(asked: str | None, environment: Mapping[str, str]) -> str:
    """Choose the language of messages: `asked`, else the locale's, else English.

    The locale comes from `environment`, as gettext reads it: the first that is not empty of LANGUAGE (the first of
    its list), LC_ALL, LC_MESSAGES and LANG.
    """
    names = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
    wanted = asked or next((value for name in names if (value := environment.get(name))), "en").split(":")[0]
    language = wanted.replace("-", "_").split("_")[0].split(".")[0].lower()
    return language if language in LANGUAGES else "en"
