"""Echo, the default service: it returns every message unchanged, which shows that the whole path works."""


def echo(message: str | bytes) -> str | bytes:
    """Return `message` unchanged."""
    return message
