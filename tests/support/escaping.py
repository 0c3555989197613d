"""Program that tries to outlive its session: each process forks, leaves its session and group, and exits.

`python escaping.py MARK SECONDS`: MARK is found in the command line of each of its processes; it ends by itself
after SECONDS.
"""

import os
import sys
import time


def main() -> None:
    """Begin the chain, and stay as an honest program until the input ends."""
    ends = time.monotonic() + float(sys.argv[2])
    if os.fork() == 0:
        for stream in range(3):  # nobody is to wait for the end of our output
            os.close(stream)
        while time.monotonic() < ends:
            if os.fork():
                os._exit(0)
            os.setsid()
        os._exit(0)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
