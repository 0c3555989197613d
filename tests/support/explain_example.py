"""The transcripts in docs/explain.md and docs/explain.ru.md.

Write them with `PYTHONPATH=tests .venv/bin/python -m support.explain_example`.

A real server and a real client in a pipe; `lasting` removes the parts that differ from run to run.
"""

import re
import subprocess
import tempfile
from pathlib import Path

from support.processes import ANTIPHON, PASSWORD, ServerProcess, clean_environment

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENTS = {"en": DOCS / "explain.md", "ru": DOCS / "explain.ru.md"}
"""The document in each language."""
BEGIN = "<!-- transcript: written by tests/support/explain_example.py -->\n"
END = "<!-- end of transcript -->\n"


def visit(folder: Path, language: str) -> str:
    """Return the screen after a new name has registered, sent "hello" and left."""
    with ServerProcess(folder / "data") as server:
        screen = subprocess.run(
            [
                ANTIPHON,
                "connect",
                str(server.address),
                "--explain",
                "--name",
                "ann",
                "--register",
                "--lang",
                language,
            ],
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
    text = re.sub(r"(?<=tls-server-end-point\): )[0-9a-f]{64}", "...", text)
    text = re.sub(r"TLSv1\.3, \w+\.", "TLSv1.3, TLS_AES_256_GCM_SHA384.", text)
    return re.sub(r"antiphon/[\d.]+", "antiphon/0.1.0", text)


def shown(language: str) -> str:
    """Return the transcript in the document of a language."""
    block = DOCUMENTS[language].read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    return block.removeprefix("```text\n").removesuffix("```\n")


def main() -> None:
    """Write new transcripts into the documents."""
    for language, document in DOCUMENTS.items():
        before, _, rest = document.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        with tempfile.TemporaryDirectory() as folder:
            transcript = visit(Path(folder), language)
        document.write_text(f"{before}{BEGIN}```text\n{transcript}```\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
