"""Source files: which belong to a service, and what counts as a change of them."""

import asyncio
import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from antiphon.server.workers.sources import SourceWatcher, folder_of
from antiphon.user_code import ImportedSources


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def written(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    return path


async def next_change(watcher: SourceWatcher, act: Callable[[], object]) -> Path:
    act()
    async with asyncio.timeout(60):
        return await watcher.change()


@pytest.mark.parametrize(
    ("service", "found"), [("echo", None), ("exec:a:b.py:c", None), ("a.b:c", "."), ("d/e.py:f", "d")]
)
def test_the_folder_of_a_service_is_where_its_modules_stand(here: Path, service: str, found: str | None) -> None:
    assert folder_of(service) == (None if found is None else (here / found).absolute())


async def test_files_are_watched_that_were_imported(here: Path) -> None:
    ours, other = written(here / "ours.py"), written(here / "other.py")
    watcher = SourceWatcher(here)
    watcher.add([str(ours)], time.time_ns())
    unchanged = asyncio.create_task(watcher.change())
    for act in (
        lambda: ours.write_text("longer"),
        lambda: os.utime(ours, (1, 1)),
        lambda: other.rename(ours),
        ours.unlink,
    ):
        written(here / "other.py")
        act()
        assert await asyncio.wait_for(unchanged, 60) == ours
        unchanged = asyncio.create_task(watcher.change())
    await asyncio.sleep(3 * watcher.pause)
    assert not unchanged.done()
    unchanged.cancel()


async def test_what_was_changed_while_it_was_loaded_counts_as_changed(here: Path) -> None:
    module = written(here / "module.py")
    watcher = SourceWatcher(here)
    began = module.stat().st_mtime_ns
    watcher.add([str(module)], began - 1)
    assert await next_change(watcher, lambda: None) == module


async def test_while_the_service_is_broken_any_file_beside_it_may_mend_it(here: Path) -> None:
    ours, package = written(here / "ours.py"), here / "package" / "__init__.py"
    (here / "package").mkdir()
    watcher = SourceWatcher(here / "package")
    watcher.add([str(ours)], time.time_ns())
    watcher.not_loaded()
    for new in (here / "new.py", package):
        assert await next_change(watcher, lambda new=new: written(new)) == new  # type: ignore[misc]
    watcher.loaded([str(ours)])
    written(here / "new.py", "longer")
    assert await next_change(watcher, lambda: written(ours, "longer")) == ours


def test_the_sources_of_a_service_are_the_modules_of_the_user_that_it_imports(here: Path) -> None:
    for name, text in {
        "first": "import second, colorsys, pytest, antiphon.testing\nimport package.inner",
        "second": "",
        "package/__init__": "",
        "package/inner": "",
        "later": "",
        "broken": "import late_broken",
        "late_broken": "def f(",
    }.items():
        written(here / f"{name}.py", text)
    sys.modules["odd"] = None  # type: ignore[assignment] # as Python leaves what must not be imported
    before = set(sys.modules)
    try:
        sources = ImportedSources()
        importlib.import_module("first")
        files = ("first.py", "package/__init__.py", "package/inner.py", "second.py")
        assert sources.take() == tuple(str(here / file) for file in files)
        importlib.import_module("later")
        assert sources.take() == (str(here / "later.py"),)
        assert sources.take() == ()
        with pytest.raises(SyntaxError) as raised:
            importlib.import_module("broken")
        shown = {str(here / "broken.py"), str(here / "late_broken.py")}
        assert set(sources.take(raised.value)) - {__file__} == shown
    finally:
        for name in set(sys.modules) - before | {"odd"}:
            del sys.modules[name]
