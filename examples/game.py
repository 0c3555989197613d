"""A word to be guessed letter by letter, by everybody together; who finds the last letter gets the point.

    antiphon serve examples/game.py:game

and `antiphon connect` in as many terminals as there are players.
"""

import secrets
from collections import Counter
from collections.abc import Callable
from functools import partial

from antiphon import Session, serve

WORDS = ("antiphon", "chorus", "echo", "harmony", "hymn", "melody", "octave", "psalm", "refrain", "verse")


class Game:
    """One round after another, for whoever is there."""

    def __init__(self, think: Callable[[], str]) -> None:
        self.think = think
        self.players: list[Session] = []
        self.points: Counter[str] = Counter()
        self.begin()

    def begin(self) -> None:
        """Think of a word."""
        self.word = self.think()
        self.tried: set[str] = set()

    @property
    def shown(self) -> str:
        """The word, as far as it is known."""
        return " ".join(letter if letter in self.tried else "_" for letter in self.word)

    def opened(self, session: Session) -> None:
        """Let somebody play."""
        self.tell(f"{session.name} plays along")
        self.players.append(session)
        session.send(f"{self.shown}   Guess a letter, or say “points”.")

    def closed(self, session: Session) -> None:
        """Let somebody go."""
        self.players.remove(session)
        self.tell(f"{session.name} has gone")

    def received(self, message: str, session: Session) -> str | None:
        """Take a letter, and tell everybody what came of it."""
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
        """Tell all who play."""
        for player in self.players:
            player.send(line)


game = Game(partial(secrets.choice, WORDS))

if __name__ == "__main__":
    serve(game)
