"""`antiphon ping`: measure round trips over a signed-in connection, and compare each answer with the message."""

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from antiphon import streams
from antiphon.cli.common_options import CommonOptions
from antiphon.cli.connect import destination_from, password_from
from antiphon.cli.event_loop import run_loop
from antiphon.client.addresses import Addresses
from antiphon.client.aio.batch_session import BatchSession
from antiphon.client.aio.session import ClientSession
from antiphon.client.dialling import bare
from antiphon.errors import AnswersFaulty, AntiphonError, FileUnusable, PasswordDue, Problem
from antiphon.files import check_replaceable, write_atomically
from antiphon.identity.invitations import Code
from antiphon.identity.passwords import Password
from antiphon.language import N_
from antiphon.ping.chart import chart
from antiphon.ping.live import PAUSE, LiveLine
from antiphon.ping.load import Load
from antiphon.ping.plan import Plan
from antiphon.ping.plot import check_drawable, draw
from antiphon.ping.report import comparison, drawing, live, summary
from antiphon.ping.result import Result, Target, read, result_of, written
from antiphon.ping.sign_in import SignInPlan, open_sessions
from antiphon.ping.tally import Outage, Trip
from antiphon.ping.threshold import Threshold, check, read_percentiles
from antiphon.ping.units import shown_time
from antiphon.printable import printable
from antiphon.settings import PING_DEPTH_MOST, ClientSettings, PingSettings
from antiphon.terminal.console import Console
from antiphon.terminal.password_change import InteractivePasswordChange
from antiphon.terminal.sign_in import InteractiveSignIn

_NO_FOLDER = Problem(N_("it cannot be written there"))


def ping(
    address: Annotated[
        str | None,
        Parameter(
            help="Such as tls://ann@host:7862, host:7862 or host, or an invitation; several nodes of one server "
            "with commas between them [default: asked]."
        ),
    ] = None,
    *,
    wanted: Annotated[PingSettings, Parameter(name="*", allow_leading_hyphen=True)] = PingSettings(),
    settings: Annotated[ClientSettings, Parameter(name="*", allow_leading_hyphen=True)] = ClientSettings(),
    compare: Annotated[
        tuple[Path, Path] | None,
        Parameter(help="Only print the figures of two runs side by side, from files that --json wrote."),
    ] = None,
    common: CommonOptions = CommonOptions(),
) -> int:
    """Measure round trips over a signed-in connection; check each answer.

    By default: one message a second and a line for each answer, until Ctrl-C.
    With --connections, --depth or --duration: as fast as answers come (closed
    loop). With --rate: that many messages a second, however long the answers
    take (open loop); times then count from the moment a message was due.

    The service must return each message unchanged, as echo does. Figures go to
    standard output, progress and events to standard error.

    Exit codes: 0 every message came back, also after Ctrl-C or SIGTERM; 1 some did not,
    or another failure; 2 usage, 3 cannot connect, 4 sign-in refused,
    5 protocol or TLS, 6 timed out, 7 over a limit of --fail-over, 130 Ctrl-C
    before the first message.

    For example:
        antiphon ping
        antiphon ping ann@localhost --count 5
        antiphon ping ann@localhost --duration 10 --connections 4 --depth 16
        antiphon ping ann@localhost --rate 1000 --duration 60 --json today.json
        antiphon ping ann@localhost --count 20 --interval 0.1 --fail-over p99=5ms
        antiphon ping --compare yesterday.json today.json
    """
    console = common.console()
    if compare is not None:
        first, second = map(read, compare)
        streams.stdout.line("\n".join(comparison(first, second, console.translations.gettext)))
        return 0
    run = _Run(console, wanted)
    destination = destination_from(address, settings.invitation_file)
    password = password_from(settings.password_file)
    new = password_from(settings.new_password_file, "new-password")
    return run_loop(run.run(settings, destination, password, new), fast=True, leaves=True)


def plan_of(wanted: PingSettings, patience: float) -> Plan:
    """Return the plan of the load, with the defaults that depend on other options."""
    one_at_a_time = wanted.connections == 1 and wanted.depth is wanted.rate is wanted.duration is None
    interval = wanted.interval if wanted.interval is not None else 1.0 if one_at_a_time else 0.0
    return Plan(
        size=wanted.size,
        depth=wanted.depth or (1 if wanted.rate is None else PING_DEPTH_MOST),
        interval=interval,
        rate=wanted.rate,
        count=wanted.count,
        duration=wanted.duration,
        patience=patience,
        seed=time.time_ns(),
    )


class _Run:
    """One run of `antiphon ping`: sign in, measure, report, check the limits."""

    def __init__(self, console: Console, wanted: PingSettings) -> None:
        """Check all options before the person is asked anything.

        Raises:
            UsageError: an option is not valid, or a file cannot be written.
        """
        self._console = console
        self._wanted = wanted
        self._percentiles = read_percentiles(wanted.percentiles)
        self._thresholds = [Threshold.read(text) for text in wanted.fail_over]
        for path in (wanted.plot, Path(wanted.json) if wanted.json not in (None, "-") else None):
            if path is not None:
                if path.is_dir() or not path.parent.is_dir():
                    raise FileUnusable(path=str(path), problem=_NO_FOLDER)
                check_replaceable(path, FileUnusable)
        if wanted.plot is not None:
            check_drawable(wanted.plot)
        self._out = streams.stderr if wanted.json == "-" else streams.stdout
        self._line = LiveLine(streams.stderr, wanted=not wanted.quiet)

    async def run(
        self,
        settings: ClientSettings,
        destination: Addresses | Code | None,
        password: Password | None,
        new: Password | None,
    ) -> int:
        """Sign in, measure and report; return the exit code.

        Raises:
            AntiphonError: nothing could be measured, the run ended early, or the figures break a limit.
        """
        async with AsyncExitStack() as stack:
            sessions, target = await self._sign_in_all(stack, settings, destination, password, new)
            self._say(*self._describe_target(target))
            load = Load(plan_of(self._wanted, settings.timeout), sessions)
            began_at = datetime.now(UTC)
            in_haste = True
            try:
                failure = await self._measure(load, target)
                in_haste = load.tally.lost > 0
            finally:
                await self._leave(sessions, in_haste=in_haste)
        ended_by = None if failure is None else failure.code
        result = result_of(load, target, self._percentiles, began_at=began_at, ended_by=ended_by)
        self._report(result, load)
        if failure is not None:
            raise failure
        self._check_limits(load)
        return 0

    # --- before the load ------------------------------------------------------------------------------------

    async def _sign_in_all(
        self,
        stack: AsyncExitStack,
        settings: ClientSettings,
        destination: Addresses | Code | None,
        password: Password | None,
        new: Password | None,
    ) -> tuple[list[BatchSession], Target]:
        """Sign in the first connection interactively, and the others at the same time with what it has learnt."""
        console, more = self._console, self._wanted.connections - 1
        began = time.perf_counter() - console.seconds_asking
        signed_in = await InteractiveSignIn(console, settings, destination, password).run()
        seconds = time.perf_counter() - console.seconds_asking - began
        dialled, welcome = signed_in.dialled, signed_in.welcome
        if welcome.must_change and more and new is None:
            dialled.connection.abort()
            raise PasswordDue
        plan = SignInPlan(
            addresses=signed_in.addresses.starting_with(
                replace(signed_in.addresses.first, fingerprint=dialled.fingerprint)
            ),
            known=signed_in.known,
            name=welcome.name,
            password=(welcome.must_change and new) or signed_in.password,
            access=dialled.hello.access,
            replace=settings.replace,
            timeout=settings.timeout,
            give_up=settings.give_up,
            language=console.language,
        )
        first = await stack.enter_async_context(plan.session(dialled, welcome))
        plan.check(more + 1)
        if welcome.must_change and signed_in.password is not None:
            await InteractivePasswordChange(
                console, first, settings.timeout, old=signed_in.password, new=new
            ).required()
        others, times = await open_sessions(plan, more, stack)
        target = Target(
            address=bare(dialled.address),
            name=welcome.name,
            key=dialled.fingerprint,
            sign_ins_s=[round(each, 6) for each in (seconds, *times)],
        )
        return [first, *others], target

    def _describe_target(self, target: Target) -> list[str]:
        _ = self._console.translations.gettext
        key = target.key or _("none, plain TCP")
        lines = [_("{address}, key {key}").format(address=target.address, key=key)]
        times = sorted(target.sign_ins_s)
        if len(times) == 1:
            text = (
                _("Signed in as {name} in {seconds} s.")
                if target.name
                else _("Signed in, without a name, in {seconds} s.")
            )
            return [*lines, text.format(name=target.name, seconds=f"{times[0]:.2f}")]
        text = _("Connections signed in: {count}, each in {least} to {most} s.")
        return [*lines, text.format(count=len(times), least=f"{times[0]:.2f}", most=f"{times[-1]:.2f}")]

    # --- during the load ------------------------------------------------------------------------------------

    async def _measure(self, load: Load, target: Target) -> AntiphonError | None:
        """Run the load and show its progress; return the error that ended it early, if any."""
        one_at_a_time = load.plan.interval > 0 and load.width == load.plan.depth == 1 and not self._wanted.quiet
        if one_at_a_time:
            load.on_settled = partial(self._tell_trip, target)
        load.on_outage = self._tell_outage
        _at_interrupt(load.stop)
        ticking = None if one_at_a_time or not self._line.works else asyncio.create_task(self._tick(load))
        try:
            await load.run()
        except AntiphonError as error:
            return error
        finally:
            if ticking is not None:
                ticking.cancel()
            self._line.clear()
        return None

    async def _leave(self, sessions: list[BatchSession], *, in_haste: bool) -> None:
        """End the sessions; `in_haste` does not wait for answers, nor does Ctrl-C. The summary follows anyway."""
        leave = ClientSession.hang_up if in_haste else ClientSession.leave
        leaving = [asyncio.create_task(leave(session)) for session in sessions]

        def hurry() -> None:
            for task in leaving:
                task.cancel()

        _at_interrupt(hurry)
        await asyncio.gather(*leaving, return_exceptions=True)
        await asyncio.gather(*map(ClientSession.hang_up, sessions))

    async def _tick(self, load: Load) -> None:
        while True:
            with streams.ends_command():
                self._line.show(live(load.tally, load.seconds, self._console.translations.gettext))
            await asyncio.sleep(PAUSE)

    def _describe_trip(self, trip: Trip, target: Target) -> str:
        _ = self._console.translations.gettext
        time = shown_time(trip.answered_at - trip.sending.sent_at)
        if trip.right:
            text = _("{size} bytes from {address}: number {number}, {time}")
            return text.format(size=len(trip.message), address=target.address, number=trip.count, time=time)
        if trip.lost:
            return _("Number {number} is lost.").format(number=trip.count)
        text = _("Number {number} was answered wrongly, {time}")
        why = "" if trip.error is None else f": {trip.error.text(_)}"
        return text.format(number=trip.count, time=time) + why

    def _tell_trip(self, target: Target, trip: Trip) -> None:
        with streams.ends_command():  # a callback of the connection
            self._say(self._describe_trip(trip, target))

    def _tell_outage(self, outage: Outage) -> None:
        """Tell that a connection is lost, or back."""
        with streams.ends_command():  # a callback of the connection
            self._line.clear()
            self._console.tell(self._describe_outage(outage))

    def _describe_outage(self, outage: Outage) -> str:
        _ = self._console.translations.gettext
        if outage.away is None:
            text = _("Connection {number} is lost; trying again: {reason}")
            return text.format(number=outage.connection, reason=outage.reason.text(_))
        text = _("Connection {number} is back after {seconds} s.")
        return text.format(number=outage.connection, seconds=f"{outage.away:.2f}")

    # --- after the load -------------------------------------------------------------------------------------

    def _report(self, result: Result, load: Load) -> None:
        """Print the figures, and write the files of --json and --plot."""
        _ = self._console.translations.gettext
        times = load.tally.times
        columns = shutil.get_terminal_size().columns if self._out.isatty() else 0
        self._say(*summary(result, _), *(chart(times, columns) or drawing(times)))
        if load.tally.first_error is not None:
            self._say(load.tally.first_error.text(_))
        if self._wanted.json == "-":
            streams.stdout.write(written(result))
        elif self._wanted.json is not None:
            write_atomically(Path(self._wanted.json), written(result).encode(), FileUnusable)
        if self._wanted.plot is not None:
            draw(self._wanted.plot, result, self._percentiles)

    def _check_limits(self, load: Load) -> None:
        """Check the limits; without a limit for them, no answer may be lost or wrong.

        Raises:
            AnswersFaulty: some answers are lost or wrong.
            OverThreshold: a limit of --fail-over is exceeded.
        """
        tally = load.tally
        limited = {threshold.what for threshold in self._thresholds}
        lost = 0 if "lost" in limited else tally.lost + tally.unsent
        wrong = 0 if "wrong" in limited else tally.wrong
        if lost or wrong:
            raise AnswersFaulty(sent=tally.sent + tally.unsent, wrong=tally.wrong, lost=tally.lost + tally.unsent)
        check(self._thresholds, tally)

    def _say(self, *lines: str) -> None:
        self._line.clear()
        for line in lines:
            self._out.line(self._out.fitted(printable(line)))


def _at_interrupt(do: Callable[[], None]) -> None:
    """Make Ctrl-C and SIGTERM call `do` until the event loop ends."""
    with contextlib.suppress(NotImplementedError):  # on Windows Ctrl-C ends the program without a summary
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, do)
