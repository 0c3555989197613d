#!/usr/bin/env python3
"""Print the lower bounds of the dependencies in pyproject.toml, as constraints for pip."""

import re
import sys
import tomllib
from itertools import chain
from pathlib import Path

REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)(\[[^\]]*\])?>=(?P<version>[0-9.]+)")


def constraints(project: str) -> list[str]:
    """Return `name==version` for each dependency of `project`, the text of a pyproject.toml; optional ones too.

    Raises:
        ValueError: a dependency has no lower bound.
    """
    lines = []
    table = tomllib.loads(project)["project"]
    for requirement in [*table["dependencies"], *chain(*table["optional-dependencies"].values())]:
        found = REQUIREMENT.match(requirement)
        if found is None:
            raise ValueError(f"{requirement} has no lower bound")
        lines.append(f"{found['name']}=={found['version']}")
    return lines


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in constraints(Path("pyproject.toml").read_text("utf-8")))
