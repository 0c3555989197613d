"""What the client library brings with it: nothing of the server, of SQL, or of the command line."""

import subprocess
import sys
from pathlib import Path

import antiphon.client.aio.session

UNWANTED = {
    *(
        "antiphon.server",
        "antiphon.data",
        "antiphon.store",
        "antiphon.cli",
        "antiphon.terminal",
        "antiphon.observe",
    ),
    *("sqlalchemy", "aiosqlite", "cyclopts", "prompt_toolkit", "rich", "uvloop", "polib"),
}
NEEDED_LATER = {"cryptography", "scramp", "asn1crypto", "antiphon.identity.legacy", "importlib.resources"}
"""What costs much to import: for certificates, for signing in, for old imports, for another language."""
CLIENT = Path(antiphon.client.__file__ or "").parent


def test_the_client_imports_only_what_it_needs() -> None:
    paths = [path.relative_to(CLIENT.parent).with_suffix("") for path in CLIENT.rglob("[a-z]*.py")]
    modules = [".".join(("antiphon", *path.parts)) for path in paths]
    assert len(modules) >= 20
    assert loaded_by(*modules) & UNWANTED == set()


def test_what_only_some_clients_need_is_imported_by_them() -> None:
    assert loaded_by("antiphon.client", "antiphon.client.aio.connect") & NEEDED_LATER == set()
    assert loaded_by("antiphon.blocking") & NEEDED_LATER == set()


def test_the_blocking_client_brings_no_event_loop_either() -> None:
    assert loaded_by("antiphon.blocking") & (UNWANTED | {"asyncio", "antiphon.client.aio"}) == set()


def loaded_by(*modules: str) -> set[str]:
    """Return everything that is loaded when `modules` are imported."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], encoding="utf-8", timeout=60).split()
    assert set(modules) <= set(loaded)
    return set(loaded)


def test_the_root_hands_the_client_on_and_nothing_else() -> None:
    code = "import sys, antiphon; assert 'antiphon.client' not in sys.modules; "
    code += "from antiphon import connect; print(connect.__module__, *sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], encoding="utf-8", timeout=60).split()
    assert loaded[0].startswith("antiphon.client")
    assert [name for name in loaded if name in UNWANTED] == []


def test_the_root_has_the_names_that_programs_annotate_with() -> None:
    code = "import sys; from antiphon import Session; print(Session.__module__, *sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], encoding="utf-8", timeout=60).split()
    assert loaded[0] == "antiphon.services.contract"
    assert [name for name in loaded if name in UNWANTED or name == "antiphon.client"] == []
    assert antiphon.ClientSession is antiphon.client.aio.session.ClientSession
