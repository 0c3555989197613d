"""Check of the seconds that a program passes to a client: `timeout` of any call, and `give_up`."""

import math

from antiphon.errors import Problem, SettingInvalid
from antiphon.language import N_

LEAST_TIMEOUT = 0.001
"""Seconds of the shortest `timeout` of `connect`: nothing happens over a network in less."""

_FROM_ZERO = Problem(N_("must be a number of seconds from 0 on, not {value}"))
_OUT_OF_RANGE = Problem(N_("must be a number of seconds from {lowest} to {highest}, not {value}"))


def check_seconds(parameter: str, value: object, *, lowest: float = 0, highest: float = math.inf) -> None:
    """Check that `value` is a number from `lowest` to `highest`, neither NaN nor a bool.

    Raises:
        SettingInvalid: it is not; the error names the `parameter`.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and lowest <= value <= highest:
        return
    problem = _FROM_ZERO if (lowest, highest) == (0, math.inf) else _OUT_OF_RANGE
    raise SettingInvalid(
        source=parameter, problem=problem, lowest=lowest, highest=highest, value=repr(value)
    ) from None
