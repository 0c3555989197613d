"""Formats of files: the text of a file that can be read, or one sentence that says what the file is instead.

Nothing is ever loaded of a format that can run code, such as a pickle: its first bytes say what it is.
"""

import re
from typing import NamedTuple

from antiphon.errors import Problem, UsageError
from antiphon.identity.legacy.rows import EMPTY_MOST, LINES, LONGEST_LINE
from antiphon.language import N_

_PICKLE = Problem(
    N_(
        "{path} is a pickle of Python, which is never loaded here because loading it can run any program: "
        "let the program that wrote it write JSON instead, with json.dump."
    )
)
_OUR_OWN = Problem(
    N_(
        "{path} holds accounts of Antiphon, without passwords that could be imported: restore a backup with "
        "antiphon restore, or invite these people with antiphon invite."
    )
)
_SQLITE = Problem(
    N_(
        "{path} is an SQLite database: export the table with names and passwords as CSV, for example with "
        "sqlite3 -header -csv, and import that."
    )
)
_UTF_16 = Problem(
    N_("{path} is in UTF-16: save it as UTF-8, for example with iconv -f UTF-16 -t UTF-8, and import that.")
)
_YAML = Problem(
    N_("{path} is YAML: load it in Python with yaml.safe_load, write it with json.dump, and import that.")
)
_PYTHON = Problem(
    N_("{path} is Python: read it there with ast.literal_eval, write it with json.dump, and import that.")
)
_ARCHIVE = Problem(
    N_("{path} is an archive or a spreadsheet: unpack it, or save the sheet as CSV in UTF-8, and import that.")
)
_INI = Problem(N_("{path} is a configuration file (INI or TOML): write its names and passwords as CSV or JSON."))
_XML = Problem(N_("{path} is XML or HTML: write its names and passwords as CSV or JSON."))
_BINARY = Problem(
    N_("{path} is no text in UTF-8 or the old Windows code page: write its names and passwords as CSV or JSON.")
)
_PART = Problem(
    N_(
        "{path}, line {line}: this looks like a part of JSON, but the file does not begin as JSON does: "
        "import the whole file."
    )
)

_MAGIC: list[tuple[bytes, Problem]] = [
    (b"SQLite format 3\0", _SQLITE),
    (b"\xff\xfe", _UTF_16),
    (b"\xfe\xff", _UTF_16),
    (b"\0\0\xfe\xff", _UTF_16),
    (b"PK\x03\x04", _ARCHIVE),
    (b"\x1f\x8b", _ARCHIVE),
    *((bytes([0x80, protocol]), _PICKLE) for protocol in range(2, 6)),
]
_PICKLE_1 = re.compile(rb"[\](})]+q\0|c[\w.]+\n[\w.]+\nq\0")
_PICKLE_0 = re.compile(r"\([dl]p?\d*\n|\([SV][^\n]*\np\d+\n|c[\w.]+\n[\w.]+\n(?:p\d+\n|\()")
"""Beginning of a pickle of protocol 0, which is text and ends with a full stop."""
_OUR_ACCOUNTS = re.compile(
    r'"?name"?[,;\t]"?(?:number"?[,;\t]"?)?disabled"?[,;\t]|\[\s*\{\s*"name":\s*"(?:[^"\\\n]|\\.)*",\s*"disabled":'
)
"""Beginning of what `antiphon accounts export` writes, and of `accounts.csv` of a store of files."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_SECTION = re.compile(r"\[[\w .:/-]+\]")
_YAML_LINE = re.compile(r"---(?:\s|$)|%YAML|-\s|-$")
_YAML_MEMBER = re.compile(r"[\w.]+:(?:\s|$)")
_JSON_LINE = re.compile(r'[\[\]{}]+,?$|"[^"]*"\s*:(?:\s|"|$)|[\[{]\s*"')
_PYTHON_BEGIN = re.compile(
    r"\w+\s*(?::\s*(?:dict|list|set|tuple)\b[^=\n]*)?=\s*(?:[\[({]|dict\()|(?:import|from|def|class)\s+\w+|\(\s*[bru]{0,2}['\"(\[{]"
)
"""Beginning of a text in Python that does not begin with a bracket."""
_PYTHON_TEXT = re.compile(
    r"[\[({:,]\s*(?:[bru]{1,2})?'|[\[({:,]\s*[bru]{1,2}\"|[\[{:,]\s*\(|\b(?:None|True|False)\b"
)
"""Signs of Python literals that JSON does not have."""
UTF_16_LEAST = 0.3
"""Share of zero bytes at odd or at even places from which on a text is UTF-16: of Latin letters, all are."""


class Text(NamedTuple):
    """The text of a file."""

    text: str
    is_json: bool
    path: str
    """the name of the file, for errors"""


def decoded(data: bytes, path: str) -> Text:
    """Return the text of a file in UTF-8 or cp1251.

    Raises:
        UsageError: it is of another format.
    """
    _check_bytes(data, path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("cp1251")
        except UnicodeDecodeError:
            raise UsageError(problem=_BINARY, path=path) from None
    if _CONTROL.search(text):
        raise UsageError(problem=_BINARY, path=path)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.count("\n") > EMPTY_MOST:
        raise UsageError(problem=LINES, most=EMPTY_MOST)
    is_json = text.lstrip().startswith(("{", "["))
    problem = _problem(text, is_json=is_json)
    if problem is not None:
        raise UsageError(problem=problem, path=path)
    if not is_json:
        _check_lines(text, path)
    return Text(text, is_json, path)


def python_or(text: str) -> Problem | None:
    """Return the problem of Python literals, for a text that is no JSON; None if it looks like none."""
    return _PYTHON if _PYTHON_TEXT.search(text) else None


def _check_bytes(data: bytes, path: str) -> None:
    for magic, problem in _MAGIC:
        if data.startswith(magic):
            raise UsageError(problem=problem, path=path)
    if _PICKLE_1.match(data):
        raise UsageError(problem=_PICKLE, path=path)
    zeros = [data[start::2].count(0) for start in (0, 1)]
    if max(zeros) > UTF_16_LEAST * len(data) / 2:
        raise UsageError(problem=_UTF_16, path=path)


def _problem(text: str, *, is_json: bool) -> Problem | None:
    """Return the problem of a text that begins as one of another format does."""
    begin = text.lstrip()
    first, _, rest = begin.partition("\n")
    if _PICKLE_0.match(begin) and text.rstrip().endswith("."):
        return _PICKLE
    if _OUR_ACCOUNTS.match(begin):
        return _OUR_OWN
    if begin.startswith("<"):
        return _XML
    if is_json:
        return _INI if _SECTION.fullmatch(first.strip()) and "=" in rest else None
    return _PYTHON if _PYTHON_BEGIN.match(begin) else None


def _check_lines(text: str, path: str) -> None:
    """Refuse a text with lines that only another format has."""
    lines = text.split("\n")
    for number, whole in enumerate(lines, 1):
        line = whole.strip()
        if len(line) > LONGEST_LINE:  # nothing of it is read
            continue
        if _JSON_LINE.match(line):
            raise UsageError(problem=_PART, path=path, line=number)
        indented = whole[:1] in (" ", "\t")
        below = lines[number][:1] if number < len(lines) else ""
        opens = line.endswith(":") and below in (" ", "\t")
        if _YAML_LINE.match(line) or (indented and _YAML_MEMBER.match(line)) or opens:
            raise UsageError(problem=_YAML, path=path)
