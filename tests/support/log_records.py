"""The server's log: parses its records, each of which must be one line of the right form."""

import configparser
import re
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from typing import NamedTuple

from support.documents import ROOT

QUOTED = r'"(?:[^"\\]|\\.)*"'
VALUE = rf'(?:{QUOTED}|\[{QUOTED}(?:,{QUOTED})*\]|[^ "]+)'
ADDRESS = r"(?P<host>(?:\d{1,3}\.){3}\d{1,3}|[0-9a-fA-F:]+)"
RECORD = re.compile(rf"(\S+) (debug|info|warning|error) ([a-z-]+)((?: [a-z_]+={VALUE})*)")


class Record(NamedTuple):
    at: str
    level: str
    event: str
    fields: str


def records(path: Path) -> list[Record]:
    """Return the records of a log."""
    text = path.read_text("utf-8")
    assert text.endswith("\n")
    found = []
    for line in text[:-1].split("\n"):
        matched = RECORD.fullmatch(line)
        assert matched, line
        assert line.isprintable(), ascii(line)
        found.append(Record(*matched.groups()))
    return found


def spellings(secret: bytes) -> set[str]:
    """Return the spellings of a secret in a text: as it is, escaped, in hexadecimal and in base64."""
    encoded = {
        secret.hex(),
        b64encode(secret).decode().rstrip("="),
        urlsafe_b64encode(secret).decode().rstrip("="),
    }
    return {secret.decode("latin-1"), repr(secret)[2:-1], *encoded, *(text.upper() for text in encoded)}


def banned(text: str, mode: str = "aggressive") -> dict[str, str]:
    """Return the lines of a log that the filter of `packaging/fail2ban/` matches, with the address in each.

    As in fail2ban, the time is removed from the line, and `<ADDR>` matches an address;
    `tests/deploy/test_fail2ban.py` compares this with fail2ban itself.
    """
    expressions = [re.compile(each.replace("<ADDR>", ADDRESS)) for each in filter_lines(mode)]
    found = {}
    for line in text.splitlines():
        rest = re.sub(r"^\S+Z", "", line)
        if match := next(filter(None, (each.search(rest) for each in expressions)), None):
            found[line] = match["host"]
    return found


def filter_lines(mode: str) -> list[str]:
    """Return the expressions of the filter in a mode."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "packaging/fail2ban/filter.d/antiphon.conf", "utf-8")
    definition = parser["Definition"]
    name = definition["failregex"].replace("<mode>", mode).strip("<>")
    return definition[name].splitlines()
