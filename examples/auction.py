"""Auction: people offer things and bid for them, at whichever worker they are.

    antiphon serve examples/auction.py:auction --workers 2

Nobody keeps a list of bids. All that is said goes through one topic, which has one order for everybody: each
session applies it in that order, so all come to the same end without asking anybody.
"""

import json
from dataclasses import dataclass

from antiphon import Session, serve

HALL = "hall"
HELP = "Say: offer THING, bid THING AMOUNT, sold THING, or list."
MOST = 1000
"""Notes that a topic keeps: older things are forgotten."""


@dataclass
class Lot:
    """A thing for sale."""

    seller: str
    best: int = 0
    by: str = "nobody"
    sold: bool = False


class Auction:
    """The auction; a session's state is the lots, as it knows them."""

    async def opened(self, session: Session) -> None:
        """Tell a session what has happened so far, and from now on what happens."""
        session.state = {}
        session.unsubscribe(HALL)  # one from before a pause would not begin with the first lot
        await session.subscribe(HALL, history=MOST)
        session.send(HELP)

    async def received(self, message: str, session: Session) -> str | None:
        """Publish what a person says; whether it counts, its place in the topic decides."""
        match message.split():
            case ["list"]:
                lots = [f"{thing}: {lot.best} by {lot.by}" for thing, lot in session.state.items() if not lot.sold]
                return "; ".join(lots) or "Nothing is for sale."
            case [("offer" | "sold") as word, thing]:
                note = [session.name, word, thing, 0]
            case ["bid", thing, amount] if amount.isdecimal() and len(amount) < 10:
                note = [session.name, "bid", thing, int(amount)]
            case _:
                return HELP
        await session.publish(HALL, json.dumps(note))
        return None

    def published(self, _topic: str, message: str, session: Session) -> str | None:
        """Apply a note to the lots that a session knows, and say what it has changed."""
        who, word, thing, amount = json.loads(message)
        lot: Lot | None = session.state.get(thing)
        if lot is None or lot.sold:
            if word == "offer":
                session.state[thing] = Lot(who)
                return f"{who} offers {thing}"
        elif word == "bid" and amount > lot.best and who != lot.seller:
            lot.best, lot.by = amount, who
            return f"{who} bids {amount} for {thing}"
        elif word == "sold" and who == lot.seller:
            lot.sold = True
            return f"{thing} is sold to {lot.by} for {lot.best}"
        return f"{word} {thing}: that does not count now" if who == session.name else None


auction = Auction()

if __name__ == "__main__":
    serve(auction)
