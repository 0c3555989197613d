"""The transcript in docs/explain.md; write it with `PYTHONPATH=tests .venv/bin/python -m support.explain_example`.

A real server and a real client in a pipe; `lasting` removes the parts that differ from run to run.
"""

import re
import subprocess
import tempfile
from pathlib import Path

from support.processes import ANTIPHON, PASSWORD, ServerProcess, clean_environment

DOCUMENT = Path(__file__).parents[2] / "docs" / "explain.md"
BEGIN = "<!-- transcript: written by tests/support/explain_example.py -->\n"
END = "<!-- end of transcript -->\n"


def visit(folder: Path) -> str:
    """Return the screen after a new name has registered, sent "hello" and left."""
    with ServerProcess(folder / "data") as server:
        screen = subprocess.run(
            [ANTIPHON, "connect", str(server.address), "--explain", "--name", "ann", "--register"],
            env=clean_environment(folder, ANTIPHON_PASSWORD=PASSWORD),
            input="hello\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=60,
            check=True,
        ).stdout
        return screen.replace(f"localhost:{server.address.port}", "localhost:7862")


def lasting(transcript: str) -> str:
    """Return a transcript without the parts that differ from run to run: times, keys and the version."""
    text = re.sub(r"\[ +[\d.]+ s\]", "[   0.000 s]", transcript)
    text = re.sub(r"sha256:[\w-]{43}", "sha256:...", text)
    text = re.sub(r"binding(.*): [0-9a-f]{64}", r"binding\1: ...", text)
    text = re.sub(r"TLSv1\.3, \w+\.", "TLSv1.3, TLS_AES_256_GCM_SHA384.", text)
    return re.sub(r"antiphon/[\d.]+", "antiphon/0.1.0", text)


def shown() -> str:
    """Return the transcript in the document."""
    block = DOCUMENT.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    return block.removeprefix("```text\n").removesuffix("```\n")


def main() -> None:
    """Write a new transcript into the document."""
    before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    with tempfile.TemporaryDirectory() as folder:
        transcript = visit(Path(folder))
    DOCUMENT.write_text(f"{before}{BEGIN}```text\n{transcript}```\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
