"""Check of the arguments of a service: a sentence where the mistake is, in place of an error from inside."""


def check_argument(what: str, value: object, kind: type) -> None:
    """Check the type of an argument; a `bool` is no `int`.

    Raises:
        TypeError: it has another.
    """
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{what} must be of type {kind.__name__}, not {type(value).__name__}")
