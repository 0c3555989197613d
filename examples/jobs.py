"""Job queue: submit work, do something else, and receive progress reports.

    antiphon serve examples/jobs.py:jobs

`primes 1000000` submits a job (it counts the primes below a million), `jobs` lists your jobs, `drop 3` drops the
third. The queue runs two jobs at a time, over all accounts.
"""

import asyncio
from dataclasses import dataclass
from math import isqrt

from antiphon import Session, serve

PARTS = 10
"""Parts of a job; each reports its progress."""


@dataclass(eq=False)
class Job:
    """A job of an account: count the primes below a number."""

    number: int
    account: int
    below: int
    state: str = "waits"


class Jobs:
    """All jobs, finished or not. A job goes on after the session that submitted it has ended."""

    def __init__(self, at_once: int = 2) -> None:
        self.jobs: dict[Job, asyncio.Task[None]] = {}
        self.workers = asyncio.Semaphore(at_once)

    def received(self, message: str, session: Session) -> str:
        """Execute a command."""
        match message.split():
            case ["primes", below] if below.isdecimal():
                job = Job(len(self.jobs) + 1, session.account, int(below))
                self.jobs[job] = session.server.start_task(self.work(job, session), name=f"job {job.number}")
                return f"job {job.number}"
            case ["jobs"]:
                return "; ".join(f"{job.number} {job.state}" for job in self.own(session)) or "none"
            case ["drop", number]:
                for job in self.own(session):
                    if str(job.number) == number and self.jobs[job].cancel():
                        job.state = "dropped"
                        return f"job {number} dropped"
                return "no job to drop"
        return "primes NUMBER, jobs, drop JOB"

    def own(self, session: Session) -> list[Job]:
        """Return the jobs of the session's account, from all its sessions."""
        return [job for job in self.jobs if job.account == session.account]

    async def work(self, job: Job, session: Session) -> None:
        """Run a job when a worker is free, and push its progress after each part."""
        async with self.workers:
            found = 0
            for part in range(PARTS):
                begin, end = job.below * part // PARTS, job.below * (part + 1) // PARTS
                found += await asyncio.to_thread(primes, begin, end)
                job.state = f"{100 * (part + 1) // PARTS} %"
                session.send(f"job {job.number} {job.state}")
        job.state = f"done: {found}"
        session.send(f"job {job.number} {job.state}")


def primes(begin: int, end: int) -> int:
    """Count the primes from `begin` up to, not including, `end`."""
    numbers = range(max(begin, 2), end)
    return sum(all(number % other for other in range(2, isqrt(number) + 1)) for number in numbers)


jobs = Jobs()

if __name__ == "__main__":
    serve(jobs)
