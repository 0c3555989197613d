import asyncio
from collections.abc import Callable
from typing import Any

from antiphon.server.handler.time_limits import TimeLimits
from antiphon.wire.batch import Unanswered
from antiphon.wire.times import Times

class NativeSteps:
    def go_on(self, waits_for: Any) -> None: ...
    def step(self, waited_for: asyncio.Future[Any] | None) -> None: ...

class Waiting:
    answer: Callable[[int, object], bool] | None
    began: float
    cancelled: bool
    count: Callable[[], object] | None
    id: int
    seconds: float
    task: asyncio.Future[Any] | None
    def __init__(
        self, limits: TimeLimits, times: Times, ended: Callable[[int, asyncio.Future[Any]], object]
    ) -> None: ...
    def begin(self, id: int, task: asyncio.Future[Any], began: float, /) -> None: ...
    def wait(self, unanswered: Unanswered, began: float, /) -> None: ...
    def limit(self, id: int, task: Any, began: float, /) -> None: ...
    def __call__(self, task: asyncio.Future[Any], /) -> None: ...
