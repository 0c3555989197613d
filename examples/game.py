"""Word game: all players guess one word together, letter by letter; the last letter earns the point.

    antiphon serve examples/game.py:game

Then run `antiphon connect` in one terminal for each player.
"""

import secrets
from collections import Counter
from collections.abc import Callable
from functools import partial

from antiphon import Session, serve

WORDS = ("antiphon", "chorus", "echo", "harmony", "hymn", "melody", "octave", "psalm", "refrain", "verse")


class Game:
    """The game: one word after another, for all sessions."""

    def __init__(self, think: Callable[[], str]) -> None:
        self.think = think
        self.players: list[Session] = []
        self.points: Counter[str] = Counter()
        self.begin()

    def begin(self) -> None:
        """Start a round with a new word."""
        self.word = self.think()
        self.tried: set[str] = set()

    @property
    def shown(self) -> str:
        """The word with a gap for each unknown letter."""
        return " ".join(letter if letter in self.tried else "_" for letter in self.word)

    def opened(self, session: Session) -> None:
        """Add a player."""
        self.tell(f"{session.name} has joined")
        self.players.append(session)
        session.send(f"{self.shown}   Guess a letter, or say “points”.")

    def closed(self, session: Session) -> None:
        """Remove a player."""
        self.players.remove(session)
        self.tell(f"{session.name} has left")

    def received(self, message: str, session: Session) -> str | None:
        """Try a letter and tell all players the result."""
        letter = message.strip().lower()
        if letter == "points":
            return ", ".join(f"{name} {points}" for name, points in self.points.most_common()) or "none yet"
        if len(letter) != 1 or not letter.isalpha():
            return "one letter at a time"
        if letter in self.tried:
            return f"{letter} has been tried"
        self.tried.add(letter)
        self.tell(f"{self.shown}   {session.name} tried {letter}")
        if self.tried.issuperset(self.word):
            self.points[session.name] += 1
            self.begin()
            self.tell(f"{self.shown}   The point is {session.name}'s; here is the next word.")
        return None

    def tell(self, line: str) -> None:
        """Push a line to all players."""
        for player in self.players:
            player.send(line)


game = Game(partial(secrets.choice, WORDS))

if __name__ == "__main__":
    serve(game)
