"""Groups of options in `--help`: what most need first, the others under headings of their own."""

from dataclasses import field, fields, make_dataclass
from typing import Annotated, Any, get_type_hints

from cyclopts import Group, Parameter

from antiphon.settings import CLUSTER, LIMITS, TIMING

PROGRAM = Group("Options of exec:COMMAND", sort_key=3)
WORKERS = Group("Workers", sort_key=4)
_GROUPS = {
    LIMITS: Group("Limits", sort_key=1),
    TIMING: Group("Timing", sort_key=2),
    CLUSTER: Group("Balancer and nodes", sort_key=5),
}


def grouped(settings: type[Any]) -> type[Any]:
    """Return a subclass of `settings` whose options `--help` shows in the groups that they declare."""
    types = get_type_hints(settings)
    options = []
    for each in fields(settings):
        group = _GROUPS.get(each.metadata.get("group", ""))
        kind = types[each.name] if group is None else Annotated[types[each.name], Parameter(group=group)]
        options.append((each.name, kind, field(default=each.default, metadata=each.metadata)))
    shown = make_dataclass(settings.__name__, options, bases=(settings,), frozen=True, kw_only=True)
    shown.__module__ = settings.__module__  # else it looks like a type of Python's own
    return shown
