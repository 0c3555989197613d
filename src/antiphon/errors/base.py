"""The root of the tree of errors, and the mapping from an ERROR frame to an error."""

from collections.abc import Iterator
from typing import ClassVar

from antiphon.language import N_, Translate
from antiphon.printable import printable

COPY_LIMIT = 200
"""Characters of a foreign value that an error repeats: enough to recognise it, too few to flood a terminal."""


class Problem(str):
    """Part of an error's sentence, marked with `N_`: translated and filled with the fields of the same error."""

    __slots__ = ()


class AntiphonError(Exception):
    """The root of all errors.

    `str(error)` is sentence and hint in English; `full(translate)` is both in another language.
    """

    code: ClassVar[str] = "error"
    """Identifier for programs; a published code never changes."""
    blame: ClassVar[str] = "server"
    """Who erred: `user`, `operator`, `client`, `server`, `network` or `program`."""
    exit_code: ClassVar[int] = 1
    """Exit code of the command `antiphon` after this error."""
    sentence: ClassVar[str] = N_("Something went wrong.")
    hint: ClassVar[str] = ""

    def __init__(self, *, wait: float = 0, **fields: object) -> None:
        """Create the error: `fields` fill sentence and hint, `wait` is in how many seconds to try again."""
        self.wait = wait
        self.told: tuple[str, str] | None = None
        self.fields = {name: _kept(value) for name, value in fields.items()}
        super().__init__(type(self).code)

    def text(self, translate: Translate = str) -> str:
        """Return what happened, one sentence; an error from the wire returns the server's words untranslated."""
        if self.told is not None:
            return self.told[0]
        return self._filled(self.sentence, translate)

    def advice(self, translate: Translate = str) -> str:
        """Return what the reader can do about it, or an empty string."""
        if self.told is not None:
            return self.told[1]
        return self._filled(self.hint, translate) if self.hint else ""

    def full(self, translate: Translate = str) -> str:
        """Return sentence and advice."""
        return f"{self.text(translate)} {self.advice(translate)}".rstrip()

    def _filled(self, message: str, translate: Translate) -> str:
        problems = {
            name: translate(value).format(**self.fields)
            for name, value in self.fields.items()
            if isinstance(value, Problem)
        }
        return translate(message).format(**self.fields | problems)

    def __str__(self) -> str:
        """Return sentence and advice in English."""
        return self.full()


def _kept(value: object) -> object:
    return value if isinstance(value, Problem | int | float) else _shown(str(value))


def _shown(value: str) -> str:
    value = printable(value[: COPY_LIMIT + 1])  # cut first: a foreign value may be huge
    return value if len(value) <= COPY_LIMIT else value[:COPY_LIMIT] + "…"


def every_error(root: type[AntiphonError] = AntiphonError) -> Iterator[type[AntiphonError]]:
    """Yield `root` and all its subclasses, depth first."""
    yield root
    for child in root.__subclasses__():
        yield from every_error(child)


def from_wire(code: str, text: str, hint: str = "", wait: float = 0) -> AntiphonError:
    """Return the error of an ERROR frame: an instance of the class with `code`, with the server's own words.

    An unknown code, of a later version, gives an `AntiphonError` that still carries `text`, `hint` and `wait`.
    """
    kind = next((error for error in every_error() if error.code == code), AntiphonError)
    error = kind(wait=wait)
    error.told = (_shown(text), _shown(hint))
    return error
