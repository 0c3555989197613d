"""Build hook: compiles the C parts if there is a C compiler; without one, their Python twins are used."""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PARTS = [
    Path("src/antiphon/wire/_batch"),
    Path("src/antiphon/transport/_endpoint"),
    Path("src/antiphon/server/_signals"),
    Path("src/antiphon/server/handler/_handler"),
]
"""Each is compiled from all C files of its folder."""


class NativeParts(BuildHookInterface):
    """Compiles each part into the folder of its sources."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Compile before the wheel is packed; if that fails, the server is slower and nothing else."""
        if self.target_name != "wheel" or sys.platform == "win32":
            return
        libraries = [self._compiled(Path(self.root, part)) for part in PARTS]
        if None in libraries:
            self.app.display_warning("antiphon: no C compiler or Python headers; the server will be slower.")
        built = [str(library.relative_to(self.root)) for library in libraries if library is not None]
        if built:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["artifacts"] += built

    def _compiled(self, part: Path) -> Path | None:
        """Compile one part; return its library, or None if that fails."""
        sources = map(str, sorted(part.parent.glob("*.c")))
        library = part.with_suffix(str(sysconfig.get_config_var("EXT_SUFFIX")))
        compiler = shlex.split(os.environ.get("CC") or str(sysconfig.get_config_var("CC") or "cc"))
        shared = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
        include = sysconfig.get_path("include")
        options = ["-O3", "-fPIC", "-fvisibility=hidden", *shared, "-I", include]
        command = [*compiler, *options, *sources, "-o", str(library)]
        try:
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - the compiler that made this Python
        except (OSError, subprocess.CalledProcessError):
            library.unlink(missing_ok=True)
            return None
        return library
