"""The auction: the order of its topic decides, and at two workers all come to the same end."""

from collections.abc import Callable
from pathlib import Path

from antiphon import ClientSession
from antiphon.testing import ServerProcess, sessions
from auction import HELP, auction
from support.documents import ROOT

BIDS = 30


async def hears(person: ClientSession, *lines: str) -> None:
    """Check that these are the next lines that a person is pushed."""
    for line in lines:
        assert await anext(aiter(person)) == line


async def test_what_counts_is_told_to_all_and_what_does_not_only_to_whoever_said_it() -> None:
    async with sessions(auction, "ann", "bob") as (ann, bob):
        await hears(ann, HELP)
        await hears(bob, HELP)
        assert await ann.ask("list") == "Nothing is for sale."
        assert (
            await ann.ask("offer")
            == await ann.ask("bid lamp much")
            == await ann.ask("bid lamp 1234567890")
            == HELP
        )
        for person, said in (
            (ann, "offer lamp"), (bob, "offer lamp"), (ann, "bid lamp 7"),
            (bob, "bid lamp 5"), (bob, "bid lamp 5"), (bob, "sold lamp"),
        ):  # fmt: skip
            assert await person.ask(said) is None
        assert await ann.ask("list") == "lamp: 5 by bob"
        await ann.send("sold lamp")
        count = "that does not count now"
        await hears(
            ann, "ann offers lamp", f"bid lamp: {count}", "bob bids 5 for lamp", "lamp is sold to bob for 5"
        )
        await hears(bob, "ann offers lamp", f"offer lamp: {count}", "bob bids 5 for lamp", f"bid lamp: {count}",
                    f"sold lamp: {count}", "lamp is sold to bob for 5")  # fmt: skip
        assert await bob.ask("list") == "Nothing is for sale."
        await bob.send("offer lamp")
        await hears(ann, "bob offers lamp")


def test_bidders_at_two_workers_agree_who_was_first(antiphon_server: Callable[..., ServerProcess]) -> None:
    server = antiphon_server(f"{Path(ROOT, 'examples', 'auction.py')}:auction", workers=2)
    ann, bob = server.connect("ann"), server.connect("bob")
    ann.ask("offer lamp")
    lines = {ann: [""], bob: [""]}
    for person in (ann, bob):
        while lines[person][-1] != "ann offers lamp":
            lines[person].append(str(person.receive(timeout=60)))
    for amount in range(1, BIDS + 1):
        for person in (ann, bob):
            person.send(f"bid lamp {amount}")
            person.send(f"offer vase{amount}")
    bob.ask("list")  # all that he has said before is in the topic
    ann.ask("sold lamp")
    for person in (ann, bob):
        while lines[person][-1] != f"lamp is sold to bob for {BIDS}":
            lines[person].append(str(person.receive(timeout=60)))
    told = [[line for line in each[1:] if line != HELP and "not count" not in line] for each in lines.values()]
    assert told[0] == told[1]
    assert sum(" offers vase" in line for line in told[0]) == BIDS
