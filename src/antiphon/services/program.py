"""Any program as a service: one process for each session, spoken with line by line on its standard streams.

A message is written as a line, and what the program says until it is silent for a moment answers it; what it says
unasked is pushed. `launch.py` stands between, and sees to it that nothing of a program outlives its session.
"""

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from antiphon.errors import Problem, ServiceNotLoaded
from antiphon.language import N_
from antiphon.services.contract import Session
from antiphon.settings import ProgramSettings
from antiphon.wire.kinds import KIB

SCHEME = "exec:"
LINE_LIMIT = 256 * KIB
"""Bytes of a line; up to twice as much waits to be read, then the program has to wait."""
SAID_MOST = 100
"""Lines of a program's standard error that go to the log in a minute; the rest is dropped."""
_LAUNCHER = str(Path(__file__).with_name("launch.py"))
_OURS = "ANTIPHON_"
"""What begins so in the environment is the server's own: passwords may be among it."""

_UNREADABLE = Problem(N_("its quotes do not match"))
_NOTHING = Problem(N_("no program is named after exec:"))
_NO_PROGRAM = Problem(N_("there is no program “{program}” that this user may run"))

_ENDED = N_("The program has ended.")
_ENDED_WITH = N_("The program has ended with exit code {code}.")
_TIME_OVER = N_("The program has run out of time.")
_LINE_TOO_LONG = N_("The program has written a line that is too long.")
_NOT_STARTED = N_("The program cannot be started now.")
_TOO_MANY = N_("Too many programs are running now; try again later.")

_log = logging.getLogger("antiphon.program")
"""It goes to the server's log, as what libraries have to say does."""


class Program:
    """A service that runs a program of its own for each session."""

    def __init__(self, command: str, settings: ProgramSettings | None = None, **options: Any) -> None:
        """Prepare to run `command`, which is split as a shell does it and given to none.

        `options` are single `ProgramSettings`.

        Raises:
            ServiceNotLoaded: there is no such program.
            SettingInvalid: an option holds what it cannot hold.
        """
        self._settings = replace(settings or ProgramSettings(), **options)
        self._running = 0
        try:
            self._words = shlex.split(command)
        except ValueError:
            raise ServiceNotLoaded(service=SCHEME + command, problem=_UNREADABLE) from None
        if not self._words or not self._words[0]:
            raise ServiceNotLoaded(service=SCHEME + command, problem=_NOTHING)
        program = self._words[0]
        if shutil.which(program) is None:
            raise ServiceNotLoaded(service=SCHEME + command, problem=_NO_PROGRAM, program=program)

    async def opened(self, session: Session) -> None:
        """Start the program of a session."""
        if self._running >= self._settings.exec_most:
            _log.warning("%s: too many programs are running (--exec-most)", session.name)
            session.close(session.translate(_TOO_MANY))
            return
        self._running += 1
        try:
            process, leash = await _start(self._words, session, self._settings)
        except BaseException as error:
            self._ended()
            if not isinstance(error, OSError):
                raise
            _log.error("%s: the program cannot be started: %s", session.name, error)
            session.close(session.translate(_NOT_STARTED))
        else:
            session.state = _Run(process, leash, session, self._settings, self._ended)

    async def closed(self, session: Session) -> None:
        """End the program of a session."""
        run: _Run | None = session.state
        if run is not None:
            await run.stop()

    def received(self, message: str, session: Session) -> AsyncIterator[str | bytes] | None:
        """Give the program a line, or several; return what it says then."""
        run: _Run | None = session.state
        return run.ask(message) if run is not None else None

    def _ended(self) -> None:
        self._running -= 1


class _Run:
    """The program of one session, from its start to its end.

    One at a time reads what it says: whoever waits for an answer, else a task that pushes what is said unasked.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        leash: int,
        session: Session,
        settings: ProgramSettings,
        ended: Callable[[], None],
    ) -> None:
        """Speak with `process`, which ends when `leash` closes; call `ended` when it is gone."""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._in, self._out, self._errors = process.stdin, process.stdout, process.stderr
        self._leash: int | None = leash
        self._session = session
        self._wait = settings.exec_wait if settings.exec_pause else None
        self._pause = settings.exec_pause
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._quiet_at = 0.0
        """Until when lines belong to the last answer, taken or not; in loop time."""
        self._owed = 0
        """Lines that will answer messages nobody waits for any more, where each is answered by one."""
        self._reason: str | None = None
        """Why we end it."""
        self._going: asyncio.Task[int] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._listening = self._loop.create_task(self._listen())
        self._pushing = self._loop.create_task(self._push())
        self._alarm: asyncio.TimerHandle | None = None
        if settings.exec_seconds is not None:
            self._alarm = self._loop.call_later(settings.exec_seconds, self._time_over)

    # --- messages and lines ---------------------------------------------------------------------------------

    async def ask(self, message: str) -> AsyncIterator[str | bytes]:
        """Write a message; yield the lines that answer it."""
        with contextlib.suppress(ConnectionError):  # it reads no more, and may speak all the same
            await self._in.drain()  # what it is slow to read does not pile up here
        self._pushing.cancel()
        written = answered = False
        try:
            await asyncio.wait({self._pushing})
            await self._settle()
            if not self._in.is_closing():
                self._in.write(message.encode() + b"\n")
            written = True
            wait = self._wait
            while (line := await self._line_within(wait)) is not None:
                if self._owed:
                    self._say(line)
                    continue
                answered = True
                self._quiet_at = self._loop.time() + self._pause
                yield line
                if not self._pause:
                    return
                wait = self._pause
        finally:
            if written and not (self._pause or answered):
                self._owed += 1
            if self._going is None:
                self._pushing = self._loop.create_task(self._push())

    async def _settle(self) -> None:
        """Push what an answer that was not waited for to its end has left behind."""
        while (rest := self._quiet_at - self._loop.time()) > 0:
            line = await self._line_within(rest)
            if line is None:
                return
            self._say(line)

    async def _push(self) -> None:
        """Push what is said unasked."""
        await self._session.ready()
        while (line := await self._line()) is not None:
            self._say(line)
            await self._session.ready()

    def _say(self, line: str | bytes) -> None:
        self._owed = max(0, self._owed - 1)
        try:
            self._session.send(line)
        except ValueError:  # more than `--message-limit`
            self._break_off(_LINE_TOO_LONG)

    async def _line_within(self, seconds: float | None) -> str | bytes | None:
        """Return the next line; None where none comes in time, or ever."""
        try:
            async with asyncio.timeout(seconds):
                return await self._line()
        except TimeoutError:
            return None

    async def _line(self) -> str | bytes | None:
        """Return the next line, None at the end; to be cancelled loses nothing."""
        await asyncio.sleep(0)  # the other sessions have their turn, however much there is to read
        if self._going is not None:
            return None
        try:
            line = await self._out.readuntil()
        except asyncio.IncompleteReadError as error:
            line = error.partial
        except asyncio.LimitOverrunError:
            self._break_off(_LINE_TOO_LONG)
            return None
        if not line:
            self._break_off(None)
            return None
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            return line.decode()
        except UnicodeDecodeError:
            return line

    # --- its standard error ---------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Put what it says on its standard error into the log, within bounds."""
        count, since = 0, 0.0
        while line := await self._complaint():
            if self._loop.time() - since > 60:
                count, since = 0, self._loop.time()
            count += 1
            if count <= SAID_MOST:
                self._log(line.decode("utf-8", "backslashreplace").rstrip())
            elif count == SAID_MOST + 1:
                self._log("(it says more than is kept)")

    async def _complaint(self) -> bytes:
        try:
            return await self._errors.readuntil()
        except asyncio.IncompleteReadError as error:
            return error.partial
        except asyncio.LimitOverrunError:
            return await self._errors.read(LINE_LIMIT)

    def _log(self, text: str) -> None:
        _log.warning("%s %s: %s", self._session.name or "-", self._session.address, text)

    # --- its end --------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """End it, because its session has ended."""
        self._pushing.cancel()
        await asyncio.wait({self._pushing})
        await asyncio.shield(self._go())

    def _time_over(self) -> None:
        """End it; its output ends by that, and whoever reads there sees to the rest."""
        self._reason = _TIME_OVER
        self._let_go()

    def _break_off(self, reason: str | None) -> None:
        """End it and then its session; `reason` is None where it has ended by itself."""
        self._reason = self._reason or reason
        if self._telling is None:
            self._go()
            self._telling = self._loop.create_task(self._end_session())

    async def _end_session(self) -> None:
        code = await asyncio.shield(self._go())
        reason = self._reason or (_ENDED_WITH if code else _ENDED)
        self._session.close(self._session.translate(reason).format(code=code))

    def _go(self) -> "asyncio.Task[int]":
        """Return the task that ends it and gives its exit code; nobody else reads its output from here on."""
        if self._going is None:
            self._going = self._loop.create_task(self._leave())
        return self._going

    async def _leave(self) -> int:
        self._let_go()
        while await self._out.read(LINE_LIMIT):
            pass  # nobody hears it any more; but while it can write it can end
        code = await self._process.wait()
        await asyncio.wait({self._listening})
        if self._alarm is not None:
            self._alarm.cancel()
        self._ended()
        return code if code >= 0 else 128 - code  # below 0 somebody has killed the launcher

    def _let_go(self) -> None:
        self._in.close()
        if self._leash is not None:
            os.close(self._leash)
            self._leash = None


async def _start(
    words: list[str], session: Session, settings: ProgramSettings
) -> tuple[asyncio.subprocess.Process, int]:
    """Start a program behind its launcher; return the launcher and its leash.

    Raises:
        OSError: the system has no room for it.
    """
    theirs, leash = os.pipe()
    memory = settings.exec_memory * KIB * KIB
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", _LAUNCHER, str(theirs), str(memory), *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            env=_environment(session),
            pass_fds=[theirs],
            start_new_session=True,
        )  # fmt: skip
    except BaseException:
        os.close(leash)
        raise
    finally:
        os.close(theirs)
    return process, leash


def _environment(session: Session) -> dict[str, str]:
    """Return our environment without what is the server's own, and with who speaks."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return kept | {
        "ANTIPHON_NAME": session.name,
        "ANTIPHON_ACCOUNT": str(session.account) if session.account > 0 else "",
        "ANTIPHON_ADDRESS": session.address,
    }
