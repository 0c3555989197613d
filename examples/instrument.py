"""Remote laboratory furnace: everybody who signs in may watch it, one person at a time may set it.

    antiphon serve examples/instrument.py:furnace

Commands follow SCPI, the syntax of laboratory instruments since 1990. A formula simulates the hardware.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator

from antiphon import Session, serve


class Furnace:
    """A furnace that approaches its set temperature: two thirds of the way in `inertia` seconds."""

    def __init__(self, inertia: float = 0.5) -> None:
        self.inertia = inertia
        self.goal = self.celsius_then = 20.0
        self.then = time.monotonic()
        self.operator: Session | None = None

    @property
    def celsius(self) -> float:
        """The current temperature."""
        passed = time.monotonic() - self.then
        return self.goal + (self.celsius_then - self.goal) * math.exp(-passed / self.inertia)

    def received(self, message: str, session: Session) -> str | AsyncIterator[str]:
        """Execute a command; `READ:STREAM 0.5` is answered twice a second until the client cancels it."""
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
        """Yield a reading every `seconds`."""
        while True:
            yield f"{self.celsius:.1f}"
            await asyncio.sleep(seconds)

    def heat(self, celsius: float, session: Session) -> str:
        """Set the temperature if nobody else is in control; the session takes control."""
        if self.operator not in (None, session):
            return f"ERROR -203, {self.operator.name} is in control"
        self.operator = session
        self.celsius_then, self.then, self.goal = self.celsius, time.monotonic(), celsius
        return "OK"

    def let_go(self, session: Session) -> str:
        """Give up control."""
        if self.operator is session:
            self.operator = None
        return "OK"

    def closed(self, session: Session) -> None:
        """Give up control for a session that has ended."""
        self.let_go(session)


furnace = Furnace()

if __name__ == "__main__":
    serve(furnace)
