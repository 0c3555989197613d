"""The model as a state machine of hypothesis: its rules are what may happen, and a seed replays their order."""

import asyncio
import tempfile
import threading
from collections import Counter
from collections.abc import Coroutine
from itertools import count
from pathlib import Path
from traceback import format_exception
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from hypothesis.strategies import SearchStrategy, booleans, integers, sampled_from

from model.network import Direction
from model.nodes import NodesWorld
from model.workers import WorkersWorld
from model.world import Setting, World

Result = TypeVar("Result")
WHO = integers(0, 7)
WHICH = integers(0, 3)
DIRECTIONS: SearchStrategy[Direction] = sampled_from(("up", "down"))
SIZES = integers(0, 200) | integers(0, 20_000)
"""Bytes until a cut: within the frames of a sign-in, or within a large answer."""
STEP_SECONDS = 120
"""The longest that one step may take."""


class BrokenError(AssertionError):
    """A rule was broken: which, and what had happened."""


class Run:
    """Settings of the runs, and what has come of them."""

    def __init__(
        self, given: list[Setting], freezes: list[float], locks: list[float], pause: float = 0.005
    ) -> None:
        """Choose among these: how runs begin, for how long processes are frozen and the store is locked.

        All of the `given` have workers, or all are nodes, or none is either. After each step comes a `pause` (s).
        """
        self.given = given
        self.pause = pause
        self.freezes = freezes
        self.locks = locks
        self.done: Counter[str] = Counter()
        """What has happened in all runs."""
        self.broken: BrokenError | None = None

    def go(self, number: int, *, steps: int, examples: int) -> None:
        """Run the machine with the seed `number`, each of the `examples` for so many steps.

        Raises:
            BrokenError: a rule was broken. What broke it is not shrunk: real processes never do the same twice.
        """
        run, made = self, count()
        given = self.given[0]
        kind = Supervised if given.workers > 1 else Nodes if given.nodes else Conversations

        class Machine(kind):  # type: ignore[valid-type,misc] # it is one of three
            def __init__(self) -> None:
                # The first example of hypothesis is the simplest one, the same step over and over: it is left out.
                super().__init__(run, idle=next(made) == 0)

        how = settings(
            max_examples=1 + examples,
            stateful_step_count=steps,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        try:
            run_state_machine_as_test(seed(number)(Machine), settings=how, _min_steps=steps)
        except BaseException:
            if self.broken is None:
                raise
            raise BrokenError(
                f"seed {number}: {self.broken}"
            ) from None  # what hypothesis says is the same once more
        finally:
            Machine.TestCase.settings = how


class Conversations(RuleBasedStateMachine):
    """Several sessions, the servers of one folder, and a network and an operator that spare nobody."""

    def __init__(self, run: Run, *, idle: bool) -> None:
        """Run as `run` says; an `idle` one does nothing."""
        super().__init__()
        self._run = run
        self._idle = idle
        self._trace: list[str] = []
        self._world: World | None = None

    _make_world = World

    # --- the event loop -----------------------------------------------------------------------------------------

    def _in_loop(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(STEP_SECONDS)

    def _step(self, name: str, *arguments: Any, **more: Any) -> None:
        """Do one thing, and look whether a rule is broken."""
        if self._idle or self._run.broken is not None:  # hypothesis runs what is broken again to report it
            return
        self._trace.append(f"{name}{arguments or ''}{more or ''}")
        self._check(self._do(name, *arguments, **more))

    async def _do(self, name: str, *arguments: Any, **more: Any) -> list[str]:
        assert self._world is not None
        done = getattr(self._world, name)(*arguments, **more)
        if done is not None:
            await done
        await asyncio.sleep(self._run.pause)
        return self._world.look()

    def _check(self, work: Coroutine[Any, Any, list[str]]) -> None:
        """Do a part, and raise if a rule is broken, or the part cannot be done."""
        try:
            faults = self._in_loop(work)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported with what led to it
            faults = [f"{self._trace[-1]} failed: {error!r}\n{''.join(format_exception(error))}"]
        if faults and self._run.broken is None:
            found, done = "\n  ".join(faults[:60]), "\n  ".join(self._trace)
            left = "\n  ".join(self._world.tail() if self._world else ())
            self._run.broken = BrokenError(f"\n  {found}\nafter:\n  {done}\nleft:\n  {left}")
            raise self._run.broken

    @initialize(which=integers(0, 100))
    def begin(self, which: int) -> None:
        """Start the servers."""
        if self._idle or self._run.broken is not None:
            return
        self._folder = tempfile.TemporaryDirectory(prefix="model-", ignore_cleanup_errors=True)
        given = self._run.given
        self._world = self._make_world(Path(self._folder.name), given[which % len(given)])
        self._trace.append(f"begin {self._world.setting}")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._check(self._begin())

    async def _begin(self) -> list[str]:
        assert self._world is not None
        await self._world.begin()
        return self._world.look()

    async def _end(self) -> list[str]:
        assert self._world is not None
        await self._world.end()
        return self._world.look()

    def teardown(self) -> None:
        """Come to an end, and check what is left behind."""
        world = self._world
        if world is None:
            return
        try:
            if self._run.broken is None:
                self._trace.append("the end")
                self._check(self._end())
        finally:
            self._run.done += world.done + Counter(back=sum(talker.back for talker in world.talkers))
            for talker in world.talkers:
                self._run.done += talker.told
            self._in_loop(world.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
            self._folder.cleanup()

    # --- what may happen ----------------------------------------------------------------------------------------

    @rule(who=WHO, padding=integers(0, 20_000))
    def ask(self, who: int, padding: int) -> None:
        """Ask; the answer comes at once."""
        self._step("ask", who, "ask", 0, padding)

    @rule(who=WHO, times=integers(1, 12))
    def ask_many(self, who: int, times: int) -> None:
        """Ask several messages one behind the other."""
        for _ in range(times):
            self._step("ask", who, "ask", 0)

    @rule(who=WHO, milliseconds=integers(0, 60))
    def ask_slow(self, who: int, milliseconds: int) -> None:
        """Ask what takes a while."""
        self._step("ask", who, "slow", milliseconds)

    @rule(who=WHO, answers=integers(0, 9))
    def stream(self, who: int, answers: int) -> None:
        """Ask what has several answers."""
        self._step("ask", who, "stream", answers)

    @rule(who=WHO, pieces=integers(1, 80))
    def ask_big(self, who: int, pieces: int) -> None:
        """Ask what has a large answer."""
        self._step("ask", who, "big", pieces)

    @rule(who=WHO, pushes=integers(1, 5))
    def push(self, who: int, pushes: int) -> None:
        """Ask for messages beside the answer."""
        self._step("ask", who, "push", pushes)

    @rule(who=WHO, tenths=integers(0, 300))
    def cancel(self, who: int, tenths: int) -> None:
        """Ask, and take it back after so many tenths of a millisecond."""
        self._step("ask", who, "cancel", tenths)

    @rule(who=WHO)
    def cut(self, who: int) -> None:
        """Cut a connection."""
        self._step("cut", who)

    @rule(who=WHO, direction=DIRECTIONS, size=SIZES)
    def cut_after(self, who: int, direction: Direction, size: int) -> None:
        """Cut a connection at a byte to come."""
        self._step("cut_after", who, direction, size)

    @rule(who=WHO, where=WHICH)
    def move(self, who: int, where: int) -> None:
        """Cut a connection, and lead the next one elsewhere."""
        self._step("move", who, where)

    @rule(who=WHO, where=WHICH)
    def move_after(self, who: int, where: int) -> None:
        """Ask, and move amid the answer."""
        self._step("ask", who, "slow", 5)
        self._step("ask", who, "ask", 0)
        self._step("move", who, where)

    @rule(who=WHO, where=WHICH)
    def resume_late(self, who: int, where: int) -> None:
        """Have a connection resume that is older than the one that holds the session."""
        self._step("resume_late", who, where)

    @rule(milliseconds=integers(1, 200))
    def pause(self, milliseconds: int) -> None:
        """Let everything go on for a while."""
        if self._world is not None and self._run.broken is None:
            self._trace.append(f"pause {milliseconds}")
            self._in_loop(asyncio.sleep(milliseconds / 1000))

    @rule(which=WHICH, first=booleans())
    def drain(self, which: int, first: bool) -> None:
        """Stop a server in order, and start another."""
        self._step("drain", which, first=first)

    @rule(which=WHICH)
    def kill(self, which: int) -> None:
        """Kill a server, and start another."""
        self._step("kill", which)

    @rule(which=WHICH, seconds=integers(0, 7))
    def freeze(self, which: int, seconds: int) -> None:
        """Freeze a server for a while."""
        self._step("freeze", which, self._run.freezes[seconds % len(self._run.freezes)])

    @rule(seconds=integers(0, 7))
    def lock_store(self, seconds: int) -> None:
        """Lock the store for a while."""
        self._step("lock_store", self._run.locks[seconds % len(self._run.locks)])

    @rule(who=WHO)
    def change_password(self, who: int) -> None:
        """Change a password."""
        self._step("change_password", who)

    @rule(often=integers(0, 3))
    def restart(self, often: int) -> None:
        """Stop all servers, and start others; seldom."""
        if often == 3:
            self._step("restart")


class Supervised(Conversations):
    """Several sessions, and one server with workers. What happens to a server here happens to a worker."""

    _make_world = WorkersWorld

    @rule()
    def reload(self) -> None:
        """Send the supervisor SIGHUP."""
        self._step("reload")

    @rule(seconds=integers(0, 7))
    def freeze_supervisor(self, seconds: int) -> None:
        """Freeze the supervisor for a while, 5 s at most."""
        self._step("freeze_supervisor", min(5.0, self._run.freezes[seconds % len(self._run.freezes)]))

    @rule(seconds=integers(0, 7), which=WHICH, who=WHO)
    def kill_unseen(self, seconds: int, which: int, who: int) -> None:
        """Kill a worker while the supervisor is frozen, amid a sign-in."""
        self._step("cut", who)
        self._step("freeze_supervisor", min(5.0, self._run.freezes[seconds % len(self._run.freezes)]))
        self._step("kill", which)

    @rule(often=integers(0, 3))
    def kill_supervisor(self, often: int) -> None:
        """Kill the supervisor, and start another server when the workers have ended; seldom."""
        if often == 3:
            self._step("kill_supervisor")


class Nodes(Conversations):
    """Several sessions, and servers with a data folder each on one database."""

    _make_world = NodesWorld

    @rule(which=WHICH, seconds=sampled_from((0.2, 1.0, 8.0)))
    def hide(self, which: int, seconds: float) -> None:
        """Have relays to a node refused for a while."""
        self._step("hide", which, min(seconds, max(self._run.freezes)))
