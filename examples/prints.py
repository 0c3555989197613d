"""Print queue of typed messages: commands, answers and events are types.

    antiphon serve examples/prints.py:prints

In `antiphon connect` a command is JSON: `{"type":"Print","document":"a.pdf","copies":2}`, or `{"type":"Show"}`.
"""

import asyncio
from itertools import count
from typing import Annotated

from msgspec import Meta, Struct

from antiphon import Session, serve


class Print(Struct, tag=True):
    """Put a document into the queue."""

    document: Annotated[str, Meta(min_length=1, max_length=80)]
    copies: Annotated[int, Meta(ge=1, le=20)] = 1


class Drop(Struct, tag=True):
    """Take a job of one's own out of the queue."""

    job: int


class Show(Struct, tag=True):
    """Show the whole queue."""


class Job(Struct, tag=True):
    """A job in the queue; it is pushed to its owner when it is done."""

    number: int
    owner: str
    document: str
    copies: int


class Refusal(Struct, tag=True):
    reason: str


class Prints:
    """The queue of one printer, which takes the jobs in order."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.numbers = count(1)
        self.printer = asyncio.Lock()
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def received(self, command: Print | Drop | Show, session: Session) -> Job | Refusal | list[Job]:
        match command:
            case Print(document, copies):
                job = Job(next(self.numbers), session.name, document, copies)
                self.jobs[job.number] = job
                self.tasks[job.number] = asyncio.create_task(self.print(job, session))
                return job
            case Drop(number):
                if number in self.jobs and self.jobs[number].owner == session.name:
                    return self.jobs.pop(number)
                return Refusal("That is no job of yours.")
        return list(self.jobs.values())

    async def print(self, job: Job, session: Session) -> None:
        async with self.printer:
            await asyncio.sleep(0.05 * job.copies if job.number in self.jobs else 0)
            if self.jobs.pop(job.number, None) is not None:
                session.send(job)
        del self.tasks[job.number]


prints = Prints()
if __name__ == "__main__":
    serve(prints)
