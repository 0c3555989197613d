"""Build hook: what it adds to the wheel if each C part can be compiled, and if not."""

import importlib.util
import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
COMPILER = shlex.split(os.environ.get("CC") or str(sysconfig.get_config_var("CC") or "cc"))
PARTS = [
    "src/antiphon/wire/_batch",
    "src/antiphon/transport/_endpoint",
    "src/antiphon/server/_signals",
    "src/antiphon/server/handler/_handler",
]


class Hook:
    """Stands for the base class of hatchling, which is installed only while a wheel is built."""

    def __init__(self, root: Path, target_name: str, warnings: list[str]) -> None:
        self.root = str(root)
        self.target_name = target_name
        self.app = SimpleNamespace(display_warning=warnings.append)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the module of the hook."""
    interface = ModuleType("hatchling.builders.hooks.plugin.interface")
    interface.BuildHookInterface = Hook  # type: ignore[attr-defined]
    for name in ("hatchling", "hatchling.builders", "hatchling.builders.hooks", "hatchling.builders.hooks.plugin"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    found = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def compiler(folder: Path, fails_for: str) -> Path:
    """Return a compiler that writes its output, and then fails for some sources."""
    script = folder / "cc"
    script.write_text(
        f'#!/bin/sh\nfor made; do :; done\necho half > "$made"\ncase "$*" in *{fails_for}*) exit 1;; esac\n'
    )
    script.chmod(0o700)
    return script


@pytest.mark.parametrize(
    ("fails_for", "built"),
    [("nothing.c", PARTS), ("_endpoint.c", [PARTS[0], *PARTS[2:]]), ("_batch.c", PARTS[1:]), (".c", [])],
    ids=["all", "one", "the other", "none"],
)
def test_compiled_parts_are_added_and_no_partial_file_stays(
    hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_for: str, built: list[str]
) -> None:
    monkeypatch.setenv("CC", f"'{compiler(tmp_path, fails_for)}' -g")
    for part in PARTS:
        (tmp_path / part).parent.mkdir(parents=True)
    warnings: list[str] = []
    data: dict[str, Any] = {"pure_python": True, "infer_tag": False, "artifacts": ["another"]}
    hook.NativeParts(tmp_path, "wheel", warnings).initialize("standard", data)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    expected = [part + suffix for part in built]
    assert data == {"pure_python": not built, "infer_tag": bool(built), "artifacts": ["another", *expected]}
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("_*")} == set(expected)
    assert len(warnings) == (built != PARTS)


@pytest.mark.skipif(shutil.which(COMPILER[0]) is None, reason="no compiler was found")
def test_the_parts_compile_without_a_warning_and_are_installed(
    hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.so"))
    monkeypatch.setenv("CC", f"{COMPILER[0]} -Wall -Wextra -Werror")
    warnings: list[str] = []
    data: dict[str, Any] = {"artifacts": []}
    hook.NativeParts(tmp_path, "wheel", warnings).initialize("standard", data)
    assert (len(data["artifacts"]), warnings) == (len(PARTS), [])
    for part in PARTS:  # tests that are skipped without them are not skipped here
        assert (ROOT / part).with_suffix(str(sysconfig.get_config_var("EXT_SUFFIX"))).is_file()


@pytest.mark.parametrize("command", ["no-such-compiler", "false"])
def test_without_a_compiler_the_wheel_is_pure_python(
    hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("CC", command)
    warnings: list[str] = []
    data: dict[str, Any] = {"artifacts": []}
    hook.NativeParts(tmp_path, "wheel", warnings).initialize("standard", data)
    assert (data, len(warnings)) == ({"artifacts": []}, 1)


def test_nothing_is_compiled_for_an_sdist(hook: Any, tmp_path: Path) -> None:
    data: dict[str, Any] = {"artifacts": []}
    hook.NativeParts(tmp_path, "sdist", []).initialize("standard", data)
    assert data == {"artifacts": []}
