"""Any program as a service: one process for each session, which reads and writes lines on its standard streams.

The server writes a message as a line. The lines that the program writes until it pauses are the answer; lines that
it writes at other times are pushed. `launch.py` runs the program and ends all its processes with the session.
"""

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from antiphon.errors import Problem, ServiceFailed, ServiceNotLoaded
from antiphon.language import N_
from antiphon.services.contract import Session
from antiphon.services.launch import ControlGroup
from antiphon.services.places import Place, Places, person_of
from antiphon.settings import ProgramSettings
from antiphon.wire.kinds import KIB

SCHEME = "exec:"
LINE_LIMIT = 256 * KIB
"""Most bytes of a line. Up to twice as many wait to be read; then the program blocks while it writes."""
SAID_MOST = 100
"""Lines of a program's standard error that are logged in a minute; the rest is dropped."""
STREAMS_SECONDS = 1.0
"""Seconds to read on from what holds a program's output when the program has ended."""
STOP_SIGNS_SECONDS = 0.5
"""Seconds to see that the server stops, once a signal has ended a program: both may have got it."""
STOP_LOOKS = 20
"""How often to look for that meanwhile."""
_STOPPED_BY = {128 + number for number in (signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", 1))}
"""Exit codes of programs that a service manager's signal to all processes has ended."""
_LAUNCHER = str(Path(__file__).with_name("launch.py"))
_OURS = "ANTIPHON_"
"""Prefix of the server's own environment variables. A program does not get them: they may hold passwords."""

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
"""Its records reach the server's log, like those of libraries (`observe.log`)."""


class Program:
    """A service that runs one process of a program for each session."""

    def __init__(self, command: str, settings: ProgramSettings | None = None, **options: Any) -> None:
        """Prepare to run `command`, which is split like a shell command, but not run by a shell.

        `options` are fields of `ProgramSettings`, which replace those of `settings`.

        Raises:
            ServiceNotLoaded: the program does not exist.
            SettingInvalid: an option is out of range.
        """
        self._settings = replace(settings or ProgramSettings(), **options)
        self._places = Places(self._settings.exec_most)
        try:
            self._words = shlex.split(command)
        except ValueError:
            raise ServiceNotLoaded(service=SCHEME + command, problem=_UNREADABLE) from None
        self.command = tuple(self._words)
        """Program and arguments."""
        if not self._words or not self._words[0]:
            raise ServiceNotLoaded(service=SCHEME + command, problem=_NOTHING)
        program = self._words[0]
        if shutil.which(program) is None:
            raise ServiceNotLoaded(service=SCHEME + command, problem=_NO_PROGRAM, program=program)

    async def opened(self, session: Session) -> None:
        """Start the program of a session; close the session if too many run or it cannot be started."""
        place = self._places.take(person_of(session))
        if place is None:
            _log.warning("%s: too many programs are running (--exec-most)", session.name)
            session.close(session.translate(_TOO_MANY))
            return
        try:
            process, leash = await _start(self._words, session, self._settings)
        except BaseException as error:
            place.ended()
            if not isinstance(error, OSError):
                raise
            _log.error("%s: the program cannot be started: %s", session.name, error)
            session.close(session.translate(_NOT_STARTED))
        else:
            session.state = _RunningProgram(process, leash, session, self._settings, place)

    async def closed(self, session: Session) -> None:
        """End the program of a session and wait for it."""
        run: _RunningProgram | None = session.state
        if run is not None:
            await run.stop()

    def received(self, message: str, session: Session) -> AsyncIterator[str | bytes] | None:
        """Write a message (one or several lines) to the program; return its answer, line by line."""
        run: _RunningProgram | None = session.state
        return run.ask(message) if run is not None else None


class _RunningProgram:
    """The program of one session, from its start to its end.

    Only one task at a time reads its output: the one that waits for an answer, else `_push_task`, which pushes the
    lines that answer no message.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        leash: int,
        session: Session,
        settings: ProgramSettings,
        place: Place,
    ) -> None:
        """Take over `process`, which ends when `leash` is closed and holds `place` until then."""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._in, self._out, self._errors = process.stdin, process.stdout, process.stderr
        self._group = ControlGroup(process.pid)
        self._leash: int | None = leash
        self._session = session
        self._wait = settings.exec_wait if settings.exec_pause else None
        self._pause = settings.exec_pause
        self._place = place
        self._loop = asyncio.get_running_loop()
        self._answer_until = 0.0
        """Lines until this time (of the event loop) belong to the last answer, even if it was cancelled."""
        self._owed = 0
        """Lines still to come for cancelled messages, where one line answers each message (`--exec-pause 0`)."""
        self._reason: str | None = None
        """Why the server ends the program; None while it runs, or if it has ended by itself."""
        self._stopped_with_server = False
        """Whether a signal for all processes of the server has ended the program: not its own end."""
        self._end_task: asyncio.Task[int] | None = None
        self._close_session_task: asyncio.Task[None] | None = None
        self._stderr_task = self._loop.create_task(self._log_stderr())
        self._push_task = self._loop.create_task(self._push())
        self._exit_task = self._loop.create_task(self._exited())
        self._time_limit: asyncio.TimerHandle | None = None
        if settings.exec_seconds is not None:
            self._time_limit = self._loop.call_later(settings.exec_seconds, self._on_time_limit)

    # --- messages and answers -------------------------------------------------------------------------------

    async def ask(self, message: str) -> AsyncIterator[str | bytes]:
        """Write a message; yield the lines that answer it."""
        with contextlib.suppress(ConnectionError):  # the program has closed its input, and may still write
            await self._in.drain()  # so that messages do not pile up here when it reads slowly
        self._push_task.cancel()
        written = answered = False
        try:
            await asyncio.wait({self._push_task})
            await self._push_rest_of_answer()
            too_late = self._end_task is not None
            if not self._in.is_closing():
                self._in.write(message.encode() + b"\n")
            written = True
            wait = self._wait
            while (line := await self._read_line_within(wait)) is not None:
                if self._owed:
                    self._push_line(line)
                    continue
                answered = True
                self._answer_until = self._loop.time() + self._pause
                yield line
                if not self._pause:
                    return
                wait = self._pause
            if not answered and self._close_session_task is not None:
                await asyncio.wait({self._close_session_task}, timeout=2 * STOP_SIGNS_SECONDS)
                if self._stopped_with_server:  # END would say that there is no answer, and nobody knows
                    raise ServiceFailed
            if not answered and self._end_task is not None:
                code = await asyncio.shield(self._end_task)
                if too_late or code != 0:
                    raise RuntimeError(f"the program ended with exit code {code} and did not answer this message")
        finally:
            if written and not (self._pause or answered):
                self._owed += 1
            if self._end_task is None:
                self._push_task = self._loop.create_task(self._push())

    async def _push_rest_of_answer(self) -> None:
        """Push the lines of an earlier answer that was cancelled before its end."""
        while (rest := self._answer_until - self._loop.time()) > 0:
            line = await self._read_line_within(rest)
            if line is None:
                return
            self._push_line(line)

    async def _push(self) -> None:
        """Push lines that answer no message, until cancelled or until the program ends."""
        await self._session.ready()
        while (line := await self._read_line()) is not None:
            self._push_line(line)
            await self._session.ready()

    def _push_line(self, line: str | bytes) -> None:
        self._owed = max(0, self._owed - 1)
        try:
            self._session.send(line)
        except ValueError:  # more than `--message-limit`
            self._end_with_session(_LINE_TOO_LONG)

    async def _read_line_within(self, seconds: float | None) -> str | bytes | None:
        """Return the next line; None if none comes within `seconds`, or at the end of the output."""
        try:
            async with asyncio.timeout(seconds):
                return await self._read_line()
        except TimeoutError:
            return None

    async def _read_line(self) -> str | bytes | None:
        """Return the next line, None at the end of the output; cancelling the call loses no data."""
        await asyncio.sleep(0)  # let other sessions run, however much there is to read
        if self._end_task is not None:
            return None
        try:
            line = await self._out.readuntil()
        except asyncio.IncompleteReadError as error:
            line = error.partial
        except asyncio.LimitOverrunError:
            self._end_with_session(_LINE_TOO_LONG)
            return None
        if not line:
            self._end_with_session(None)
            return None
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            return line.decode()
        except UnicodeDecodeError:
            return line

    # --- standard error -------------------------------------------------------------------------------------

    async def _log_stderr(self) -> None:
        """Log the program's standard error, at most `SAID_MOST` lines a minute."""
        count, since = 0, 0.0
        while line := await self._read_stderr():
            if self._loop.time() - since > 60:
                count, since = 0, self._loop.time()
            count += 1
            if count <= SAID_MOST:
                self._log(line.decode("utf-8", "backslashreplace").rstrip())
            elif count == SAID_MOST + 1:
                self._log("(it says more than is kept)")

    async def _read_stderr(self) -> bytes:
        """Return the next line, or `LINE_LIMIT` bytes of a longer one; empty at the end."""
        try:
            return await self._errors.readuntil()
        except asyncio.IncompleteReadError as error:
            return error.partial
        except asyncio.LimitOverrunError:
            return await self._errors.read(LINE_LIMIT)

    def _log(self, text: str) -> None:
        _log.warning("%s %s: %s", self._session.name or "-", self._session.address, text)

    # --- end ------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """End the program, because its session has ended; return when it has ended."""
        self._push_task.cancel()
        await asyncio.wait({self._push_task})
        await asyncio.shield(self._end())

    def _on_time_limit(self) -> None:
        """Let the program end; the task that reads its output then sees the end and closes the session."""
        self._reason = _TIME_OVER
        self._close_input()

    def _end_with_session(self, reason: str | None) -> None:
        """End the program, then close its session; `reason` is None if the program has ended by itself."""
        self._reason = self._reason or reason
        if self._close_session_task is None:
            self._end()
            self._close_session_task = self._loop.create_task(self._close_session())

    async def _close_session(self) -> None:
        code = await asyncio.shield(self._end())
        if self._reason is None and code in _STOPPED_BY and await self._server_stops():
            return  # the session goes on, with another program, where its client finds the next server
        reason = self._reason or (_ENDED_WITH if code else _ENDED)
        self._session.close(self._session.translate(reason).format(code=code))

    async def _server_stops(self) -> bool:
        """Return whether the server is stopping, or begins to in a moment."""
        for _ in range(STOP_LOOKS):
            if getattr(self._session, "server_stops", False):
                self._stopped_with_server = True
                break
            await asyncio.sleep(STOP_SIGNS_SECONDS / STOP_LOOKS)
        return self._stopped_with_server

    def _end(self) -> "asyncio.Task[int]":
        """Return the task that ends the program and gives its exit code; only it reads the output from now on."""
        if self._end_task is None:
            self._end_task = self._loop.create_task(self._end_process())
        return self._end_task

    async def _end_process(self) -> int:
        self._place.give_back()
        self._close_input()
        discarding = self._loop.create_task(self._discard())
        code = await self._exit_task
        streams = {discarding, self._stderr_task}
        await asyncio.wait(streams, timeout=STREAMS_SECONDS)
        for stream in streams:  # a process that could not be ended holds them
            stream.cancel()
        if self._time_limit is not None:
            self._time_limit.cancel()
        self._group.remove()
        self._place.ended()
        return code if code >= 0 else 128 - code  # below 0, a signal has killed the launcher

    async def _exited(self) -> int:
        """Wait for the launcher; kill what is left if both its processes were killed. Return its exit code."""
        code = await self._process.wait()
        self._group.kill()
        return code

    async def _discard(self) -> None:
        """Read what nobody wants: a program that blocks while writing would not end by itself."""
        while await self._out.read(LINE_LIMIT):
            pass

    def _close_input(self) -> None:
        """Close the program's input and the leash: the launcher then ends it."""
        self._in.close()
        if self._leash is not None:
            os.close(self._leash)
            self._leash = None


async def _start(
    words: list[str], session: Session, settings: ProgramSettings
) -> tuple[asyncio.subprocess.Process, int]:
    """Start the launcher of a program; return its process and the leash, the writing end of its pipe.

    Raises:
        OSError: the system cannot start a process.
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
    """Return our environment without the server's own variables, and with those that describe the session.

    The name is in UTF-8 whatever the locale, whose encoding may not have its letters.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return kept | {
        "ANTIPHON_NAME": os.fsdecode(session.name.encode()),
        "ANTIPHON_ACCOUNT": str(session.account) if session.account > 0 else "",
        "ANTIPHON_ADDRESS": session.address,
    }
