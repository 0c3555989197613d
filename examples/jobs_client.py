"""Client of `jobs.py`: submits jobs, prints their progress, and ends when all are done.

ANTIPHON_PASSWORD=... python examples/jobs_client.py 'tls://ann@localhost:7862#sha256:...' 100000 200000
"""

import asyncio
import os
import sys

from antiphon import connect


async def hand_in(address: str, password: str, *numbers: str) -> None:
    """Submit a job for each number, all at once, and print what the server pushes until all are done."""
    async with connect(address, password=password, register=True) as queue:
        waiting = {answer async for answer in queue.ask_many(f"primes {number}" for number in numbers)}
        async for news in queue:
            print(news)
            job, done, _ = str(news).partition(" done")
            if done:
                waiting.discard(job)
            if not waiting:
                break


if __name__ == "__main__":
    asyncio.run(hand_in(sys.argv[1], os.environ["ANTIPHON_PASSWORD"], *sys.argv[2:]))
