"""A laboratory furnace at a distance: whoever signs in may watch it, one person at a time may set it.

    antiphon serve examples/instrument.py:furnace

Commands are written as instruments have had them since 1990 (SCPI); the hardware is a formula.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator

from antiphon import Session, serve


class Furnace:
    """Nears the temperature that it is set to; it takes `inertia` seconds for two thirds of the way."""

    def __init__(self, inertia: float = 0.5) -> None:
        self.inertia = inertia
        self.goal = self.celsius_then = 20.0
        self.then = time.monotonic()
        self.operator: Session | None = None

    @property
    def celsius(self) -> float:
        """What the thermometer shows now."""
        passed = time.monotonic() - self.then
        return self.goal + (self.celsius_then - self.goal) * math.exp(-passed / self.inertia)

    def received(self, message: str, session: Session) -> str | AsyncIterator[str]:
        """Do what a command says; `READ:STREAM 0.5` is answered twice a second until it is taken back."""
        command, _, argument = message.upper().partition(" ")
        try:
            match command:
                case "*IDN?":
                    return "Antiphon,Furnace,0001,1.0"
                case "READ?":
                    return f"{self.celsius:.1f}"
                case "READ:STREAM":
                    return self.readings(float(argument))
                case "TEMP":
                    return self.heat(float(argument), session)
                case "SYST:LOCAL":
                    return self.let_go(session)
        except ValueError:
            return f"ERROR -104, “{argument}” is not a number"
        return f"ERROR -113, there is no command {command}"

    async def readings(self, seconds: float) -> AsyncIterator[str]:
        """Read again and again."""
        while True:
            yield f"{self.celsius:.1f}"
            await asyncio.sleep(seconds)

    def heat(self, celsius: float, session: Session) -> str:
        """Set the temperature, for the one who has the knobs, or takes them now."""
        if self.operator not in (None, session):
            return f"ERROR -203, {self.operator.name} has the knobs"
        self.operator = session
        self.celsius_then, self.then, self.goal = self.celsius, time.monotonic(), celsius
        return "OK"

    def let_go(self, session: Session) -> str:
        """Leave the knobs to others."""
        if self.operator is session:
            self.operator = None
        return "OK"

    def closed(self, session: Session) -> None:
        """Take the knobs from somebody who has gone."""
        self.let_go(session)


furnace = Furnace()

if __name__ == "__main__":
    serve(furnace)
