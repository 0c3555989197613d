"""A service's own code, called so that whatever it raises is its own fault and an `Exception`.

Ctrl-C alone goes through: it is the operator's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from antiphon.errors import ServiceTooSlow

Result = TypeVar("Result")


def as_fault(error: BaseException) -> Exception:
    """Return what a service has raised, or what stands for that where it would end more than a call."""
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


def called(function: Callable[..., Result], *arguments: object) -> Result:
    """Return what a plain function of the service gives.

    Raises:
        Exception: what it raised; `RuntimeError` in the place of what would have ended more than the call.
    """
    try:
        return function(*arguments)
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise as_fault(error) from error


async def in_time(work: Awaitable[Result], seconds: float) -> Result:
    """Return what the service gives, unless it takes too long.

    Raises:
        ServiceTooSlow: it took more than `seconds`.
        CancelledError: the task was cancelled, from outside.
        Exception: as `called`.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            return await work
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
    except BaseException as error:  # sys.exit() among them, which argparse calls where a message is no good
        raise as_fault(error) from error
