"""Formatting of times, shares and percentiles: three significant digits and a unit."""


def shown_time(nanoseconds: float) -> str:
    """Return a time in s, ms or µs."""
    for factor, unit in ((10**9, "s"), (10**6, "ms")):
        if nanoseconds >= 0.9995 * factor:
            return f"{_digits(nanoseconds / factor)} {unit}"
    return f"{_digits(nanoseconds / 1000)} µs"


def shown_share(share: float) -> str:
    """Return a share from 0 to 1 as a percentage."""
    return f"{_digits(100 * share)}%" if share else "0%"


def shown_percentile(percent: float) -> str:
    """Return the name of a percentile, such as `p99.9`."""
    return f"p{percent:g}"


def _digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
