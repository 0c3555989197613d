"""Sign-in and sessions in front of any conversation over TCP."""

__version__ = "0.1.0"
