"""Entry point of a worker, which its supervisor starts: `python -m antiphon.server.workers`."""

import sys

if __name__ == "__main__":
    try:
        from antiphon.server.workers.worker import main

        sys.exit(main([int(argument) for argument in sys.argv[1:]]))
    except KeyboardInterrupt:  # while modules are imported; the supervisor has got the signal too
        sys.exit(130)
