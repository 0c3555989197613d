"""Heats the furnace of `instrument.py` to one temperature after another, and tells when it is there.

ANTIPHON_PASSWORD=... python examples/instrument_client.py 'tls://ann@localhost:7862#sha256:...' 60 90
"""

import asyncio
import os
import sys

from antiphon import connect

NEAR = 1.0
"""Degrees that make no difference."""


async def heat(address: str, password: str, *goals: float) -> None:
    """Set each temperature, and watch until it is reached."""
    async with connect(address, password=password, register=True) as furnace:
        print(await furnace.ask("*IDN?"))
        for goal in goals:
            answer = await furnace.ask(f"TEMP {goal}")
            if answer != "OK":
                sys.exit(str(answer))
            async for reading in furnace.ask_stream("READ:STREAM 0.1"):
                print(reading)
                if abs(float(reading) - goal) < NEAR:
                    break  # to leave the stream has the furnace stop sending
            print(f"{goal:g} degrees reached")


if __name__ == "__main__":
    asyncio.run(heat(sys.argv[1], os.environ["ANTIPHON_PASSWORD"], *map(float, sys.argv[2:])))
