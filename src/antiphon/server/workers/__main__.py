"""Entry point of a worker, which its supervisor starts: `python -m antiphon.server.workers`."""

import sys

if __name__ == "__main__":
    from antiphon.server.workers.worker import main

    sys.exit(main([int(argument) for argument in sys.argv[1:]]))
