"""English and Russian for everything that a person reads: prompts, greetings, refusals, the console.

English is the text in the source; `ru.po` beside this file holds the Russian. Logs, codes, JSON and
`--help` stay English and do not come through here.
"""

import gettext
import io
from collections.abc import Callable, Mapping
from functools import cache

LANGUAGES = ("en", "ru")

Translate = Callable[[str], str]
"""Takes a message in English and gives it in the chosen language."""


def N_(message: str) -> str:  # noqa: N802 - gettext's own name for "translate this later"
    """Mark `message` for the catalogue and return it as it is; it is translated where it is shown."""
    return message


@cache
def catalogue(language: str) -> gettext.NullTranslations:
    """Return the translations into `language`, one of `LANGUAGES`; any other language gets English."""
    if language not in LANGUAGES or language == "en":
        return gettext.NullTranslations()
    from importlib import resources  # noqa: PLC0415 - only those who need a translation pay for reading one

    import polib  # noqa: PLC0415 - likewise

    text = resources.files("antiphon.language").joinpath(f"{language}.po").read_text("utf-8")
    return gettext.GNUTranslations(io.BytesIO(polib.pofile(text).to_binary()))


def choose(asked: str | None, environment: Mapping[str, str]) -> str:
    """Return the language to speak: the one asked for, else the locale's, else English.

    The locale is read as gettext reads it: LANGUAGE (the first of its list), LC_ALL, LC_MESSAGES, LANG, whichever
    is the first that is not empty.
    """
    names = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
    wanted = asked or next((value for name in names if (value := environment.get(name))), "en").split(":")[0]
    language = wanted.replace("-", "_").split("_")[0].split(".")[0].lower()
    return language if language in LANGUAGES else "en"
