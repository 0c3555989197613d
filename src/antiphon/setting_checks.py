"""Checks of settings: types and ranges of their fields."""

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from antiphon.errors import Problem, SettingInvalid
from antiphon.language import N_

SECONDS_MOST = 10**9
"""Longest duration, 31 years: a WELCOME cannot carry more, and timers cannot wait for infinity."""

_NOT_POSITIVE = Problem(N_("must be more than 0 and at most {highest}"))
_OUT_OF_RANGE = Problem(N_("must be from {lowest} to {highest}, not {value}"))
_UNIONS = (UnionType, Union)  # `Literal[...] | None` is the older form
_WRONG_TYPE = Problem(N_("must be {wanted}, not {value}"))
_WRONG_CHOICE = Problem(N_("must be one of {wanted}, not {value}"))


def check_types(settings: Any) -> None:
    """Check the types of all fields: a program may pass what the command line would have converted.

    Raises:
        SettingInvalid: a field has a value of another type.
    """
    for name, wanted in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if not _fits(value, wanted):
            kinds = get_args(wanted) if get_origin(wanted) in _UNIONS else (wanted,)
            choices = [repr(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
            raise SettingInvalid(
                source=flag_of(name),
                problem=_WRONG_CHOICE if choices else _WRONG_TYPE,
                wanted=", ".join(choices) or " | ".join(_shown_type(kind) for kind in kinds),
                value=repr(value),
            )


def _fits(value: object, wanted: Any) -> bool:
    origin = get_origin(wanted)
    if origin in _UNIONS:
        return any(_fits(value, kind) for kind in get_args(wanted))
    if origin is Literal:
        return value in get_args(wanted)
    if origin is tuple:
        return isinstance(value, tuple) and all(isinstance(each, get_args(wanted)[0]) for each in value)
    if wanted is bool or isinstance(value, bool):
        return wanted is bool and isinstance(value, bool)
    return isinstance(value, int | float if wanted is float else wanted)


def _shown_type(kind: Any) -> str:
    return "None" if kind is NoneType else "float" if kind is float else getattr(kind, "__name__", str(kind))


def flag_of(name: str) -> str:
    """Return the flag of a field."""
    return "--" + name.replace("_", "-")


def check_positive(flag: str, value: float) -> None:
    """Check that a number of seconds is more than 0 and at most `SECONDS_MOST`.

    Raises:
        SettingInvalid: it is not; `flag` names the source.
    """
    if not 0 < value <= SECONDS_MOST:  # the "not" refuses NaN too, which TOML can express
        raise SettingInvalid(source=flag, problem=_NOT_POSITIVE, highest=SECONDS_MOST)


def check_range(name: str, value: float | None, lowest: float, highest: float) -> None:
    """Check that the field `name`, if it has a value, is from `lowest` to `highest`.

    Raises:
        SettingInvalid: it is not.
    """
    if value is not None and not lowest <= value <= highest:
        raise SettingInvalid(
            source=flag_of(name), problem=_OUT_OF_RANGE, lowest=lowest, highest=highest, value=value
        )
