"""Who has an account is not told by how long an answer takes (issue 14, point 3; promise 5)."""

import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from antiphon.wire.bodies import Error
from antiphon.wire.kinds import Kind
from support.attack import LONG, tell
from support.guessing import beginning, seed_names, timed_refusal, told_apart
from support.processes import ServerProcess
from support.raw import RawClient
from support.serving import ATTACKER, seed

SAMPLES = 900 if LONG else 300
"""Of each kind of name."""
TOLD_MOST = 0.6
"""Area under the ROC curve, 0.5 for chance: with 300 samples of each kind its standard deviation is 0.024."""
TRIES = 3
EACH = 3
"""Guesses under one name: fewer than make anybody wait."""
AUTHENTICATE_MOST = 20
"""Exchanges on one connection that are begun and not ended."""


def sources() -> str:
    """Return one of many addresses, so that no limit of a source is met."""
    return f"127.0.{random.randrange(1, 250)}.{random.randrange(1, 250)}"


def assert_not_told_apart(measure: Callable[[Path], dict[str, float]], folder: Path) -> None:
    """Measure again what is told apart: an oracle shows each time, chance and a busy machine do not.

    `measure` gets a new folder each time, and returns how well each pair of kinds is told apart.
    """
    suspected: set[str] | None = None
    tries: list[dict[str, float]] = []
    while suspected is None or (suspected and len(tries) < TRIES):
        tries.append(measure(folder / str(len(tries))))
        seen = {name for name, area in tries[-1].items() if area >= TOLD_MOST}
        suspected = seen if suspected is None else suspected & seen
    tell("auc", **{name: round(area, 3) for name, area in tries[-1].items()})
    assert not suspected, tries


@pytest.mark.parametrize("store", ["sqlite", "files"])
def test_known_unknown_and_disabled_names_take_the_same_time(tmp_path: Path, store: str) -> None:
    assert_not_told_apart(partial(areas_of_refusals, store), tmp_path)


def areas_of_refusals(store: str, folder: Path) -> dict[str, float]:
    """Return how well the steps of a refusal tell known and disabled names from unknown ones."""
    kept_in = store if store == "sqlite" else f"files:{folder}/store"
    count = SAMPLES // EACH
    kinds = ("known", "unknown", "disabled")
    pool = [f"name{number}" for number in range(1000, 1000 + len(kinds) * count)]  # all of one length
    random.shuffle(pool)
    names = {kind: pool[at :: len(kinds)] for at, kind in enumerate(kinds)}
    seed_names(folder / "data", [*names["known"], *names["disabled"]], kept_in, names["disabled"])
    samples: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in names}
    with ServerProcess(folder / "data", "--plain", "--registration", "closed", "--store", kept_in) as server:
        for number in range(count * EACH):
            for kind in random.sample(list(names), len(names)):
                timed = timed_refusal(server.address, names[kind][number % count], sources())
                assert timed.code == "sign-in-refused"
                samples[kind].append(timed[:3])
    return {
        f"{kind}-{step}": told_apart([one[at] for one in samples[kind]], [one[at] for one in samples["unknown"]])
        for kind in ("known", "disabled")
        for at, step in enumerate(("challenge", "refusal", "next"))
    }


def test_a_name_that_was_tried_lately_takes_as_long_as_one_that_was_not(tmp_path: Path) -> None:
    assert_not_told_apart(areas_of_challenges, tmp_path)


def areas_of_challenges(folder: Path) -> dict[str, float]:
    """Return how well a challenge tells a name that was tried before from one that was not."""
    seed(folder / "data")
    fresh: list[float] = []
    tried: list[float] = []
    with ServerProcess(folder / "data", "--plain") as server:
        for number in range(SAMPLES):
            order = [(fresh, f"fresh{number}"), (tried, f"tried{number}")]
            challenge_time(server, f"tried{number}")
            for times, name in random.sample(order, 2):
                times.append(challenge_time(server, name))
    return {"tried-lately": told_apart(fresh, tried)}


def challenge_time(server: ServerProcess, name: str) -> float:
    """Return the seconds in which a challenge comes, on a connection of its own."""
    with RawClient(server.address, source=sources()) as client:
        client.hello()
        began = time.perf_counter()
        client.request(Kind.AUTHENTICATE, beginning(name))
        return time.perf_counter() - began


@pytest.mark.parametrize("name", ["ann", "nobody"])
def test_exchanges_that_are_begun_again_and_again_end_the_connection(tmp_path: Path, name: str) -> None:
    seed(tmp_path / "data")
    with (
        ServerProcess(tmp_path / "data", "--plain") as server,
        RawClient(server.address, source=ATTACKER) as client,
    ):
        client.hello()
        codes = []
        for _ in range(AUTHENTICATE_MOST):
            body = client.request(Kind.AUTHENTICATE, beginning(name))
            if isinstance(body, Error):
                codes.append(body.code)
                break
        assert codes == ["too-many-refusals"]
        client.closed()
