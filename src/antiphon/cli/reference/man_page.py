"""Manual pages in the language of `man` (roff), as groff and mandoc read it: man(7), groff_man_style(7)."""

import re
import textwrap
from collections.abc import Iterator

from antiphon.cli.option_sources import PREFIX, SECRETS
from antiphon.cli.reference.declaration import MAIN_GROUP, Command, Option
from antiphon.version import __version__

SECTION = 1
EXIT_CODES = {
    0: "The command did what it says.",
    1: "It failed.",
    2: "An option, an argument or a file cannot be used; nothing was done.",
    3: "The server cannot be reached, or none runs.",
    4: "The sign-in was refused.",
    5: "The server broke the protocol, or TLS failed.",
    6: "The server did not answer in time.",
    7: "A limit of ping was exceeded.",
    130: "Ctrl-C ended it.",
}
"""Meaning of each exit code, where a command's own text does not say it."""

_SPECIAL = str.maketrans(
    {"\\": r"\e", "'": r"\(aq", '"': r"\(dq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", "…": "..."}
)
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")
_CODE = re.compile(r"[^A-Za-z(,;.:]*--?[a-z]|.*[/_=@<|.:]\S")
"""A word that is typed: its hyphens are minus signs, so that it can be copied from the page."""
_EXAMPLES = "For example:\n"
_CODES = re.compile(r"Exit codes: |The exit code is ")


def page_name(command: Command) -> str:
    """Return the name of the page of a command."""
    return "-".join(["antiphon", *command.name])


def pages(whole: Command) -> Iterator[tuple[str, str]]:
    """Yield the file name and the text of the page of each command of `whole`."""
    for command in whole.every():
        parent = next((each for each in whole.every() if command in each.commands), None)
        yield f"{page_name(command)}.{SECTION}", page(command, parent)


def page(command: Command, parent: Command | None) -> str:
    """Return the page of a command; `parent` is the group that it belongs to."""
    title = _code(page_name(command))
    about = _About(command)
    lines = [
        '.\\" Made by: antiphon man',
        f'.TH {title.upper()} {SECTION} "" {_quoted(f"antiphon {__version__}")} "Antiphon"',
        ".nh\n.ad l",  # what is typed is not broken into two lines with a hyphen
        ".SH NAME",
        f"{title} \\- {_code(command.summary[0].lower() + command.summary[1:])}",
        ".SH SYNOPSIS",
        _synopsis(command),
        ".SH DESCRIPTION",
        *about.description(),
        *_commands(command),
        *_options(command),
        *(
            ()
            if command.commands and command.name
            else (*about.exit_status(), *_environment(command), *_files(command))
        ),
        *about.examples(),
        ".SH SEE ALSO",
        ",\n".join(_reference(each) for each in _see_also(command, parent)),
    ]
    return "\n".join(lines) + "\n"


def text(words: str) -> str:
    """Return prose as lines of roff: escaped, wrapped, and with none that would be taken for a request."""
    escaped = " ".join(_escaped(word) for word in words.split())
    return "\n".join(
        _no_request(line) for line in textwrap.wrap(escaped, 100, break_long_words=False, break_on_hyphens=False)
    )


class _About:
    """The text of a command in its parts: description, exit codes, examples."""

    def __init__(self, command: Command) -> None:
        self._command = command
        paragraphs = command.about.split("\n\n")
        self._examples = "".join(each.removeprefix(_EXAMPLES) for each in paragraphs if each.startswith(_EXAMPLES))
        self._codes = [each for each in paragraphs if _CODES.match(each)]
        listing = tuple(
            f"{each.name[-1]} " for each in command.commands
        )  # the page has a section of its own for it
        self._prose = [
            each
            for each in paragraphs
            if not each.startswith(_EXAMPLES)
            and each not in self._codes
            and not (listing and each.startswith(listing))
        ]

    def description(self) -> Iterator[str]:
        for number, paragraph in enumerate(self._prose):
            if number:
                yield ".PP"
            yield text(paragraph)

    def exit_status(self) -> Iterator[str]:
        yield ".SH EXIT STATUS"
        for paragraph in self._codes:
            yield text(paragraph.removeprefix("Exit codes: "))
        if not self._codes:
            for code, meaning in EXIT_CODES.items():
                yield f".TP 5\n\\fB{code}\\fP\n{text(meaning)}"

    def examples(self) -> Iterator[str]:
        if self._examples:
            yield ".SH EXAMPLES\n.RS 4\n.nf"
            for line in textwrap.dedent(self._examples).rstrip().split("\n"):
                yield _no_request(_code(line))
            yield ".fi\n.RE"


def _synopsis(command: Command) -> str:
    words = [f"\\fB{_code(' '.join(['antiphon', *command.name]))}\\fP"]
    if command.commands:
        return f"{words[0]} \\fICOMMAND\\fP"
    words.append("[\\fIOPTIONS\\fP]")
    for each in command.arguments:
        word = f"\\fI{_code(each.word)}\\fP" + ("..." if each.repeated else "")
        words.append(word if each.required else f"[{word}]")
    return " ".join(words)


def _commands(command: Command) -> Iterator[str]:
    if command.commands:
        yield ".SH COMMANDS"
    for each in command.commands:
        yield f".TP\n{_reference(each)}\n{text(each.summary + '.')}"


def _options(command: Command) -> Iterator[str]:
    yield ".SH OPTIONS"
    groups = sorted({option.group: None for option in command.options}, key=lambda group: group != MAIN_GROUP)
    for group in groups:
        if group != MAIN_GROUP:
            yield f".SS {_quoted(group)}"
        for option in command.options:
            if option.group == group:
                yield f".TP\n{_heading(option)}\n{text(_help(option))}"


def _heading(option: Option) -> str:
    value = f"\\fI{_code(option.word)}\\fP"
    values = " ".join([value] * option.count)
    if option.attached:
        values = f"[={value}]"
    named = [f"\\fB{_code(name)}\\fP" for name in (*option.names, *option.opposites)]
    if option.positional:
        return ", ".join([value + ("..." if option.repeated else ""), *named])
    return ", ".join(named) + (values if option.attached else f" {values}" if values else "")


def _help(option: Option) -> str:
    parts = [option.help]
    if option.words and not option.positional:
        parts.append(f"[choices: {', '.join(option.words)}]")
    if option.default:
        parts.append(f"[default: {option.default}]")
    return " ".join(parts)


def _environment(command: Command) -> Iterator[str]:
    flags = [option.names[0] for option in command.options if option.names and option not in command.options[-1:]]
    named = {flag: flag.removesuffix("-file").lstrip("-").upper().replace("-", "_") for flag in flags}
    yield ".SH ENVIRONMENT"
    first = next((flag for flag in flags if flag not in ("--help", "--version")), "--port")
    variable = PREFIX + first.lstrip("-").upper().replace("-", "_")
    yield text(f"Each option can be set by a variable too: {variable} for {first}. An empty one is not set.")
    for flag, name in named.items():
        if flag.endswith("-file") and name in SECRETS:
            yield _entry(f"{PREFIX}{name}", f"The secret itself, in place of {flag}.")
    if command.name == ("serve",):
        yield _entry(
            "CREDENTIALS_DIRECTORY", "Folder with key ring and certificate, as LoadCredential= of systemd sets it."
        )
    yield _entry("LC_ALL, LC_MESSAGES, LANG", "The language of messages, unless --lang names it.")


def _files(command: Command) -> Iterator[str]:
    flags = {name for option in command.options for name in option.names}
    table = ".".join(command.name) or "serve"
    yield ".SH FILES"
    yield _entry(
        "~/.config/antiphon/antiphon.toml", f"Options, in the table [{table}]; --config names another file."
    )
    if "--data" in flags:
        yield _entry("~/.local/share/antiphon", "The data folder, unless --data names another.")
    if "--known-servers" in flags:
        yield _entry("~/.local/share/antiphon/known_servers", "The keys of servers that you trust.")


def _entry(heading: str, words: str) -> str:
    return f".TP\n\\fB{_code(heading)}\\fP\n{text(words)}"


def _see_also(command: Command, parent: Command | None) -> list[Command]:
    siblings = [each for each in parent.commands if each is not command] if parent and parent.name else []
    return [*([parent] if parent else []), *command.commands, *siblings]


def _reference(command: Command) -> str:
    return f"\\fB{_code(page_name(command))}\\fP({SECTION})"


def _escaped(word: str) -> str:
    """Return a word of prose: its hyphens are minus signs if it is typed."""
    if _CODE.match(word):
        return _code(word)
    kept = _HYPHEN.sub("\0", word)
    return _code(kept).replace("\0", "-")


def _code(words: str) -> str:
    """Return what is typed, or a heading, with each sign as it is."""
    shown = words.translate(_SPECIAL).replace("-", r"\-")
    return _BEYOND_ASCII.sub(lambda sign: f"\\[u{ord(sign[0]):04X}]", shown)


def _quoted(words: str) -> str:
    return f'"{_code(words)}"'


def _no_request(line: str) -> str:
    """Return a line that roff does not take for a request."""
    return f"\\&{line}" if line.startswith((".", "'")) else line
