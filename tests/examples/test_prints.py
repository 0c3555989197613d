"""The print queue: commands, answers and events are values, and what does not fit never reaches the queue."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from antiphon.errors import MessageInvalid
from antiphon.services import load
from antiphon.services.schema import schema_of_service
from antiphon.testing import ServerProcess, Service, session
from antiphon.wire.frames import Payload
from prints import Drop, Job, Print, Prints, Refusal, Show
from support.documents import ROOT


async def event(news: AsyncIterator[Payload]) -> Job:
    return msgspec.json.decode(await anext(news), type=Job)


async def test_a_document_is_queued_shown_printed_and_told() -> None:
    async with session(Prints()) as ann:
        job = await ann.ask(Print("thesis.pdf", copies=2), returns=Job)
        assert job == Job(1, "ann", "thesis.pdf", 2)
        assert await ann.ask(Show(), returns=list[Job]) == [job]
        assert await event(aiter(ann)) == job
        assert await ann.ask(Show(), returns=list[Job]) == []


async def test_a_job_is_dropped_by_its_owner_only() -> None:
    async with Service(Prints()) as service:
        ann, bob = await service.enter("ann"), await service.enter("bob")
        first, second = [job async for job in ann.ask_many([Print("a"), Print("b")], returns=Job)]
        assert await bob.ask(Drop(second.number), returns=Refusal) == Refusal("That is no job of yours.")
        assert await ann.ask(Drop(second.number), returns=Job | Refusal) == second
        await ann.ask(Print("c"))
        assert [(await event(aiter(ann))).document for _ in range(2)] == ["a", "c"]
        assert first.number == 1


async def test_what_does_not_fit_never_reaches_the_queue() -> None:
    prints = Prints()
    async with session(prints) as ann:
        for command in (Print("", 1), Print("a", 30), {"type": "Burn"}, "print a.pdf"):
            with pytest.raises(MessageInvalid):
                await ann.ask(command)
        assert prints.jobs == {}


def test_its_schema_names_every_command() -> None:
    schema = schema_of_service(load(f"{ROOT}/examples/prints.py:prints"), "prints")
    assert set(schema["takes"]["$defs"]) == {"Print", "Drop", "Show"}
    assert set(schema["gives"]["$defs"]) == {"Job", "Refusal"}


def test_values_travel_to_and_from_two_workers(antiphon_server: Callable[..., ServerProcess]) -> None:
    server = antiphon_server(f"{Path(ROOT, 'examples', 'prints.py')}:prints", workers=2)
    for name in ("ann", "bob"):
        job = server.connect(name).ask(Print("thesis.pdf"), returns=Job)
        assert (job.owner, job.document, job.copies) == (name, "thesis.pdf", 1)
