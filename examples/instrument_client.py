"""Client of `instrument.py`: heats the furnace to one temperature after another and prints its readings.

ANTIPHON_PASSWORD=... python examples/instrument_client.py 'tls://ann@localhost:7862#sha256:...' 60 90
"""

import asyncio
import os
import sys

from antiphon import connect

NEAR = 1.0
"""Degrees from the goal at which it counts as reached."""


async def heat(address: str, password: str, *goals: float) -> None:
    """Set each temperature and print readings until it is reached."""
    async with connect(address, password=password, register=True) as furnace:
        print(await furnace.ask("*IDN?"))
        for goal in goals:
            answer = await furnace.ask(f"TEMP {goal}")
            if answer != "OK":
                sys.exit(str(answer))
            async for reading in furnace.ask_stream("READ:STREAM 0.1"):
                print(reading)
                if abs(float(reading) - goal) < NEAR:
                    break  # leaving the stream cancels it: the furnace stops sending
            print(f"{goal:g} degrees reached")


if __name__ == "__main__":
    asyncio.run(heat(sys.argv[1], os.environ["ANTIPHON_PASSWORD"], *map(float, sys.argv[2:])))
