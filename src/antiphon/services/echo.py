"""Echo, the default service: proves that the path works and gives everything back as it was."""


def echo(message: str | bytes) -> str | bytes:
    """Return `message` as it is."""
    return message
