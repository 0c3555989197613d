"""Transcripts of documents and terminals, without the parts that differ from run to run."""

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
    """Return the output of a terminal as the lines that finally remain on the screen.

    Before a line is redrawn, and before an answer is printed above the prompt, the rest of the screen is erased
    (CSI J), and with it the earlier content of the line.
    """
    out = re.sub(r"\x1b\[\d+D\x1b\[\d+C", " ", out)  # moves back and forth over a space
    lines = (line.rpartition("\x1b[J")[2] for line in out.split("\r\n"))
    return "\n".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r", "", line) for line in lines)


def lasting(transcript: str) -> list[str]:
    """Return the lines of a transcript without the parts that differ from run to run."""
    return [line.rstrip() for line in _VARYING.sub("…", transcript).splitlines() if line.strip()]


def pattern(line: str) -> str:
    """Return a pattern that matches a line of a transcript in every run."""
    return r"[^\r\n]*?".join(re.escape(part) for part in _VARYING.split(line))
