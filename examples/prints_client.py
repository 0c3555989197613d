"""Client of `prints.py`: prints documents and waits until all are done. It knows the types of the service.

ANTIPHON_PASSWORD=... python examples/prints_client.py 'tls://ann@localhost:7862#sha256:...' thesis.pdf poster.svg
"""

import os
import sys

import msgspec

from antiphon.blocking import connect
from prints import Job, Print


def hand_in(address: str, password: str, *documents: str) -> None:
    """Print two copies of each document."""
    with connect(address, password=password, register=True) as queue:
        jobs = list(queue.ask_many([Print(document, copies=2) for document in documents], returns=Job))
        print(", ".join(f"{job.document} is job {job.number}" for job in jobs))
        for _ in jobs:
            event = msgspec.json.decode(queue.receive() or b"", type=Job)
            print(f"{event.document} is printed")


if __name__ == "__main__":
    hand_in(sys.argv[1], os.environ["ANTIPHON_PASSWORD"], *sys.argv[2:])
