"""The game: all players see each guess, and the last letter earns the point."""

from antiphon import ClientSession
from antiphon.testing import Service
from game import Game


async def hears(player: ClientSession, *lines: str) -> None:
    """Check that these are the next lines that a player receives."""
    for line in lines:
        assert await anext(aiter(player)) == line


async def test_a_word_is_guessed_together_and_the_next_one_begins() -> None:
    async with Service(Game(iter(["echo", "song"]).__next__)) as service:
        ann, bob = await service.enter("ann"), await service.enter("bob")
        begin = "_ _ _ _   Guess a letter, or say “points”."
        await hears(ann, begin, "bob has joined")
        await hears(bob, begin)
        assert await ann.ask("points") == "none yet"
        assert await ann.ask("O") is None
        assert await bob.ask("o") == "o has been tried"
        assert await bob.ask("ec") == "one letter at a time"
        assert await bob.ask("7") == "one letter at a time"
        for player, letter in ((bob, "x"), (ann, "c"), (bob, "e"), (bob, "h")):
            assert await player.ask(letter) is None
        await hears(
            ann,
            "_ _ _ o   ann tried o",
            "_ _ _ o   bob tried x",
            "_ c _ o   ann tried c",
            "e c _ o   bob tried e",
            "e c h o   bob tried h",
            "_ _ _ _   The point is bob's; here is the next word.",
        )
        assert await ann.ask("points") == "bob 1"
        await bob.leave()
        await hears(ann, "bob has left")
