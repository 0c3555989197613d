"""The units of `packaging/`: their directives."""

from collections import defaultdict

from support.documents import ROOT

SERVICE, SOCKET = "packaging/antiphon.service", "packaging/antiphon.socket"
BACKUP, TIMER = "packaging/antiphon-backup.service", "packaging/antiphon-backup.timer"


def directives(name: str) -> dict[str, list[str]]:
    """Return the directives of a unit, with all their values."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (ROOT / name).read_text("utf-8").replace("\\\n", " ").splitlines():
        if line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found[key].append(value)
    return found
