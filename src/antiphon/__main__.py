"""`antiphon`, and `python -m antiphon`: loaded first, so that Ctrl-C is no traceback while the rest is loaded."""

import sys


def run() -> None:
    """Run the command of the process's arguments and exit."""
    try:
        from antiphon.cli.main import run as run_command  # noqa: PLC0415 - it takes a while

        run_command()
    except KeyboardInterrupt:
        sys.exit(130)  # 128 and SIGINT's number, as shells have it


if __name__ == "__main__":
    run()
