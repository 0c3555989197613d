"""Worker: one process of a server with several. It is a whole server, but for its port."""

import asyncio
import faulthandler
import signal
import socket
import sys

import uvloop

from antiphon import streams
from antiphon.errors import AntiphonError, Fault
from antiphon.files import keep_trace
from antiphon.language import catalogue
from antiphon.observe import records
from antiphon.observe.faults import FaultPrinter
from antiphon.observe.log import ServerLog
from antiphon.server.behind import server_behind
from antiphon.server.run import until_stopped, where_it_listens
from antiphon.server.server import Server
from antiphon.server.signals import StopSignals
from antiphon.server.workers.channel import receive_now, send_now
from antiphon.server.workers.hub_broker import HubBroker
from antiphon.server.workers.link import SupervisorLink
from antiphon.server.workers.messages import Failed, Start
from antiphon.services import load
from antiphon.user_code import ImportedSources


def main(descriptors: list[int]) -> int:
    """Serve what the supervisor says until it says stop; return the exit code.

    `descriptors` are the sockets to the supervisor: for messages, for stacks, and for topics.
    """
    signal.signal(signal.SIGINT, lambda _number, _frame: None)  # until it serves, the supervisor says when to end
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    streams.take_over()
    records.keep_off_console()
    end, stacks, topics = (socket.socket(fileno=number) for number in descriptors)
    with end, stacks, topics:
        start = receive_now(end)
        if not isinstance(start, Start):  # the supervisor is gone
            return 1
        sources = None
        if start.reloads:
            sources = ImportedSources()
            ServerLog.show_fault = FaultPrinter(start.language)
            sys.dont_write_bytecode = True  # it records the second of a source: a later edit in it would be missed
        try:
            return _work(end, stacks, topics, start, sources)
        except AntiphonError as error:
            return _fail(end, error, start.language, sources.take(error) if sources else ())
        except Exception:  # noqa: BLE001 - a bug: the person gets a sentence, the traceback goes to a file
            return _fail(end, Fault(path=keep_trace()), start.language)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _work(
    end: socket.socket, stacks: socket.socket, topics: socket.socket, start: Start, sources: ImportedSources | None
) -> int:
    link, broker = SupervisorLink(end, stacks, start, sources), HubBroker(topics)
    with records.taken(start.settings.log_level):
        handler = load(start.service, start.program)
    server = server_behind(link, broker, handler, start.settings, start.language)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(server, link, broker, start))


async def _serve(server: Server, link: SupervisorLink, broker: HubBroker, start: Start) -> int:
    def begun(signals: StopSignals) -> None:
        link.open(signals)
        broker.open()

    def opened() -> None:
        text = where_it_listens(server, start.pid, as_json=start.as_json, workers=start.workers)
        link.ready(text, server.measured, server.look, server.last_closed)

    try:
        return await until_stopped(server, opened, lambda: None, begun)
    finally:
        link.close()
        broker.close()


def _fail(end: socket.socket, error: AntiphonError, language: str, sources: tuple[str, ...] = ()) -> int:
    translate = catalogue(language).gettext
    end.setblocking(True)  # noqa: FBT003 - the socket module's signature
    send_now(end, Failed(error.code, error.text(translate), error.advice(translate), sources))
    return error.exit_code
