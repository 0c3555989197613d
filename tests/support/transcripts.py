"""Transcripts as documents show them, and what a terminal has shown: both without what differs from run to run."""

import re

_VARYING = re.compile(
    r"sha256:[\w-]{43}"
    r"|/home/ann"
    r"|(?<=localhost:)\d+|(?<=[Pp]ort )\d+|(?<=порту )\d+|(?<=Port \[)\d+\]:.*"
    r"|\d{4}-\d\d-\d\d \d\d:\d\d"
    r"|(?<=Back after )\d+"
    r"|\d+\.\d\ds"
)


def on_paper(out: str) -> str:
    """Return what a terminal has been sent as it stands there in the end.

    Before a line is drawn again, and before an answer is put above one that is being typed, the rest of the screen
    is erased (CSI J): what stood before that in the line is gone.
    """
    out = re.sub(r"\x1b\[\d+D\x1b\[\d+C", " ", out)  # back, and forth again to behind the space
    lines = (line.rpartition("\x1b[J")[2] for line in out.split("\r\n"))
    return "\n".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r", "", line) for line in lines)


def lasting(transcript: str) -> list[str]:
    """Return the lines of a transcript without what differs from run to run."""
    return [line.rstrip() for line in _VARYING.sub("…", transcript).splitlines() if line.strip()]


def pattern(line: str) -> str:
    """Return what matches a line of a transcript in every run."""
    return r"[^\r\n]*?".join(re.escape(part) for part in _VARYING.split(line))
