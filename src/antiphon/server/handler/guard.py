"""Calls into user code: whatever it raises becomes an `Exception` that is the service's own fault.

Only `KeyboardInterrupt` passes through: Ctrl-C belongs to the operator.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from antiphon.errors import ServiceTooSlow
from antiphon.server.home.fence import guarded

Result = TypeVar("Result")


def as_fault(error: BaseException) -> Exception:
    """Return `error` if it is an `Exception`, else a `RuntimeError` with `error` as its cause.

    Raises:
        KeyboardInterrupt: `error` is one.
    """
    if isinstance(error, KeyboardInterrupt):
        raise error
    if isinstance(error, Exception):
        return error
    if isinstance(error, asyncio.CancelledError):
        fault = RuntimeError("the service was cancelled by itself")
    else:
        fault = RuntimeError(f"the service raised {type(error).__name__}")
    fault.__cause__ = error
    return fault


def call(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a plain function of the service and return its result.

    Raises:
        Exception: what the function raised; a `RuntimeError` instead of `SystemExit` and the like.
    """
    try:
        return function(*arguments)
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise as_fault(error) from error


async def in_time(work: Awaitable[Result], seconds: float) -> Result:
    """Await `work` of the service for at most `seconds` and return its result.

    Raises:
        ServiceTooSlow: it took longer.
        CancelledError: the current task was cancelled from outside.
        Exception: as `call`.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            return cast("Result", await guarded(work))
    except TimeoutError:
        if limit.expired():
            raise ServiceTooSlow from None
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise as_fault(error) from error
    except (Exception, GeneratorExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit among them: argparse raises it for a message it cannot parse
        raise as_fault(error) from error
