"""Entry point of `antiphon` and `python -m antiphon`; Ctrl-C while modules are imported prints no traceback."""

import sys


def run() -> None:
    """Run the command that the process's arguments name, and exit."""
    try:
        from antiphon.cli.main import run as run_command  # noqa: PLC0415 - slow: Ctrl-C must be caught meanwhile

        run_command()
    except KeyboardInterrupt:
        sys.exit(130)  # 128 + SIGINT, the convention of shells


if __name__ == "__main__":
    run()
