"""Model of topics over two workers: sessions that publish and listen, and faults that a seed chooses.

Every session hears the messages of a topic in one order, and none twice. It hears them all, but where its service
was told of a gap, or its client that the counts were lost.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import Any

from antiphon import ClientSession, connect
from antiphon.client.aio.answers import Answers
from antiphon.errors import OutcomeUnknown
from model.network import Network
from model.room import TOPICS
from support.workers import WorkersProcess, until

ROOM = Path(__file__).with_name("room.py")
GAP = "!"
BURST = 100
"""Messages of the topic `large`: twice what is kept, because a home may notice late that a session is away."""
WAITING_MOST = 30
"""Messages of one session that wait for their answer."""


@dataclass(eq=False)
class Listener:
    """One session."""

    name: str
    network: Network
    session: ClientSession
    heard: dict[str, list[str]] = field(default_factory=lambda: {topic: [] for topic in TOPICS})
    """What it has heard of each topic; `GAP` where it was told that something may be missing."""
    opened: int = 0
    """How often the service has opened it, as far as it was heard."""
    published: int = 0
    taken: dict[str, list[str]] = field(default_factory=lambda: {topic: [] for topic in TOPICS})
    """What the broker has taken of it."""
    waiting: set["asyncio.Task[None]"] = field(default_factory=set)

    def listen(self) -> None:
        """Note from now on what is pushed, and when the counts are lost."""
        replay, pushes = self.session._replay, aiter(self.session)
        assert isinstance(pushes, Answers)
        resume = replay.resume

        def noted(received: int | None, **counts: Any) -> Any:
            if received is None:
                for heard in self.heard.values():
                    heard.append(GAP)
            return resume(received, **counts)

        replay.resume = noted  # type: ignore[method-assign] # of this session
        pushes.on_news = partial(self._push, pushes)
        self._push(pushes)

    def _push(self, pushes: Answers) -> None:
        while pushes.ready:
            push = pushes.take()
            if push is None:
                return
            topic, text = str(push).split(" ")
            if topic == "opened":
                self.opened += 1
            else:
                self.heard[topic].append(text)

    def publish(self, topic: str) -> None:
        """Publish the next message."""
        if len(self.waiting) >= WAITING_MOST:
            return
        self.published += 1
        task = asyncio.ensure_future(self._publish(topic, f"{self.name}:{self.published}"))
        self.waiting.add(task)
        task.add_done_callback(self.waiting.discard)

    async def is_answered(self) -> bool:
        """Publish a message; return whether it was taken: then the service has opened the session where it is now.

        A session that comes to a new home after the last message is told of a gap, and never hears it.
        """
        self.published += 1
        text = f"{self.name}:{self.published}"
        await self._publish(TOPICS[0], text)
        return text in self.taken[TOPICS[0]]

    async def _publish(self, topic: str, text: str) -> None:
        try:
            assert await self.session.ask(f"{topic} {text}") == "taken"
        except OutcomeUnknown:
            return
        self.taken[topic].append(text)


class TopicsWorld:
    """A server with two workers, and its sessions."""

    def __init__(self, folder: Path, seed: int, *options: str) -> None:
        """Choose by `seed`. The workers have one hub; with the `options` of a node they meet in its database."""
        self._options = options
        self._random = random.Random(seed)
        self._folder = folder
        self.listeners: list[Listener] = []
        self._away: set[str] = set()
        """Names of sessions whose network leads nowhere."""
        self._leaving: set[int] = set()
        """Processes that were told to stop, or killed."""
        self._reloads_failed = 0
        self.done: Counter[str] = Counter()

    async def run(self, steps: int, sessions: int = 4) -> list[str]:
        """Do so many things; return the rules that were broken."""
        server = await asyncio.to_thread(
            WorkersProcess, self._folder / "data", *self._options, file=ROOM, service="ROOM"
        )
        with server:
            async with AsyncExitStack() as stack:
                for number in range(sessions):
                    await self._enter(stack, server, f"s{number}")
                await until(lambda: all(listener.opened for listener in self.listeners))
                for step in range(steps):
                    await self._step(server)
                    if step in (steps // 3, 2 * steps // 3):
                        await until(lambda: len(self._serving(server)) == 2)
                        await self._to_worker(server, "drain" if step == steps // 3 else "kill")
                self._away.clear()
                await self._overrun()
                await self._settle()
        faults = [line for line in server.log.splitlines() if " fault " in line or "service-failed" in line]
        return [*faults, *self.faults()]

    async def _enter(self, stack: AsyncExitStack, server: WorkersProcess, name: str) -> None:
        network = Network(lambda: None if name in self._away else server.address.port)
        stack.push_async_callback(network.close)
        address = replace(server.address, host="127.0.0.1", port=await network.open())
        session = await stack.enter_async_context(connect(address, name=name, give_up=60))
        listener = Listener(name, network, session)
        self.listeners.append(listener)
        listener.listen()

    # --- what happens -----------------------------------------------------------------------------------------

    async def _step(self, server: WorkersProcess) -> None:
        what = self._random.choices(
            ["publish", "cut", "away", "drain", "kill", "freeze", "reload", "pause"], [60, 12, 4, 2, 1, 2, 1, 18]
        )[0]
        listener = self._random.choice(self.listeners)
        if what in ("drain", "kill", "freeze"):
            await self._to_worker(server, what)
            return
        self.done[what] += 1
        if what == "publish":
            for _ in range(self._random.randint(1, 8)):
                listener.publish(self._random.choice(TOPICS))
        elif what == "cut":
            listener.network.cut()
        elif what == "away":
            self._away ^= {listener.name}
            listener.network.cut()
        elif what == "reload":
            self._leaving |= set(server.workers)
            os.kill(server.pid, signal.SIGHUP)
        else:
            await asyncio.sleep(self._random.random() / 20)

    def _serving(self, server: WorkersProcess) -> list[int]:
        """Return the workers that serve and were not told to stop; after a failed reload the old ones go on."""
        failed = server.log.count(" reload-failed ")
        if failed > self._reloads_failed:
            self._reloads_failed = failed
            self._leaving.clear()
        return sorted(set(server.workers) & set(server.started()) - self._leaving)

    async def _to_worker(self, server: WorkersProcess, what: str) -> None:
        """Drain, kill or freeze a worker that serves, if there are two."""
        serving = self._serving(server)
        if len(serving) < 2:
            return
        self.done[what] += 1
        pid = self._random.choice(serving)
        if what == "freeze":
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(self._random.random() / 2)
            os.kill(pid, signal.SIGCONT)
            return
        self._leaving.add(pid)
        os.kill(pid, signal.SIGTERM if what == "drain" else signal.SIGKILL)

    async def _overrun(self) -> None:
        """Publish more than is kept while one session is away."""
        away, other = self.listeners[0], self.listeners[-1]
        self._away.add(away.name)
        away.network.cut()
        enough = len(other.taken["large"]) + BURST  # what waits as its home dies is not taken
        while len(other.taken["large"]) < enough:
            other.publish("large")
            if len(other.waiting) >= WAITING_MOST:
                await asyncio.wait(other.waiting, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)
        self._away.clear()

    async def _settle(self) -> None:
        """Wait for all answers and sessions; then publish a last message to each topic, which all hear."""
        for listener in self.listeners:
            while listener.waiting:
                await asyncio.wait(listener.waiting)
                for task in listener.waiting:
                    task.result()
        for listener in self.listeners:
            while not await listener.is_answered():
                pass
        last = self.listeners[0]
        for topic in TOPICS:
            assert await last.session.ask(f"{topic} the:end") == "taken"
        await until(
            lambda: all("the:end" in listener.heard[topic] for listener in self.listeners for topic in TOPICS)
        )

    # --- the rules --------------------------------------------------------------------------------------------

    def faults(self) -> list[str]:
        """Return the rules that were broken."""
        faults: list[str] = []
        for topic in TOPICS:
            heard = {listener.name: listener.heard[topic] for listener in self.listeners}
            faults += [f"{topic}: {fault}" for fault in broken(heard)]
            taken = {text for listener in self.listeners for text in listener.taken[topic]}
            for name, texts in heard.items():
                if GAP not in texts and (lost := taken - set(texts)):
                    faults.append(f"{topic}: {name} was told of no gap, and has not heard {sorted(lost)}")
        if GAP not in self.listeners[0].heard["large"]:
            faults.append("nobody was told that more was published than is kept")
        return faults


def broken(heard: dict[str, list[str]]) -> list[str]:
    """Return what is wrong with what the sessions have heard of one topic."""
    faults = []
    order: TopologicalSorter[str] = TopologicalSorter()
    for name, texts in heard.items():
        told = [text for text in texts if text != GAP]
        faults += [f"{name} has heard {text} {times} times" for text, times in Counter(told).items() if times > 1]
        for before, after in pairwise(told):
            order.add(after, before)
    try:
        order.prepare()
    except CycleError as error:
        faults.append(f"not all have heard the same order: {error.args[1]}")
    for name, texts in heard.items():
        for other, theirs in heard.items():
            places = {text: place for place, text in enumerate(theirs)}
            for before, after in pairwise(texts):
                if GAP in {before, after}:
                    continue
                lost = theirs[places.get(before, 0) + 1 : places.get(after, 0)]
                if before in places and [text for text in lost if text != GAP]:
                    faults.append(f"{name} has not heard {lost} of {other} between {before} and {after}")
    return faults
