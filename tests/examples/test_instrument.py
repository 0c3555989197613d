"""The furnace: one person in control, and streams of readings that stop when they are cancelled."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from antiphon.testing import Service, session
from instrument import Furnace
from instrument_client import heat
from support.processes import PASSWORD
from support.serving import seed, serving


async def test_it_answers_commands_and_says_what_is_wrong_with_others() -> None:
    async with session(Furnace()) as ann:
        assert await ann.ask("*idn?") == "Antiphon,Furnace,0001,1.0"
        assert await ann.ask("READ?") == "20.0"
        assert await ann.ask("TEMP hot") == "ERROR -104, “HOT” is not a number"
        assert await ann.ask("OPEN") == "ERROR -113, there is no command OPEN"


async def test_readings_stop_when_they_are_left() -> None:
    async with session(Furnace(inertia=0.001)) as ann:
        assert await ann.ask("TEMP 90") == "OK"
        async for reading in ann.ask_stream("READ:STREAM 0.001"):
            if reading == "90.0":
                break
        assert await ann.ask("READ?") == "90.0"  # answered after the end of the stream


async def test_one_person_is_in_control_until_they_let_go_or_leave() -> None:
    async with Service(Furnace()) as service:
        ann, bob = await service.enter("ann"), await service.enter("bob")
        assert await ann.ask("TEMP 50") == "OK"
        assert await bob.ask("TEMP 60") == "ERROR -203, ann is in control"
        assert await bob.ask("SYST:LOCAL") == "OK"
        assert await bob.ask("TEMP 60") == "ERROR -203, ann is in control"
        assert await ann.ask("SYST:LOCAL") == "OK"
        assert await bob.ask("TEMP 60") == "OK"
        await bob.leave()
        assert await ann.ask("TEMP 50") == "OK"


def test_the_client_heats_it_step_by_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed(tmp_path / "data")
    with serving(tmp_path / "data", Furnace(inertia=0.01)) as server:
        asyncio.run(heat(str(replace(server.address, name="ann")), PASSWORD, 60, 30))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Antiphon,Furnace,0001,1.0"
    assert [line for line in said if "reached" in line] == ["60 degrees reached", "30 degrees reached"]
