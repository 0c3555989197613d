"""Assembly of a server: makes its parts, and hands each one what it uses."""

import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from antiphon.data.keyring import LiveKeyRing
from antiphon.identity.tokens import Token
from antiphon.observe.log import ServerLog
from antiphon.server.auth.authenticator import Authenticator
from antiphon.server.auth.invitations import InvitationCheck
from antiphon.server.auth.proof import Passwords
from antiphon.server.auth.registration import Registration
from antiphon.server.auth.throttle import Throttle
from antiphon.server.connection.host import ConnectionHost
from antiphon.server.forking import give_up_socket
from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.hello import HelloFrame, hello_of
from antiphon.server.home.fence import fence
from antiphon.server.home.process import HomeProcess
from antiphon.server.listen.entrance import Entrance
from antiphon.server.nodes.dialer import NodeDialer
from antiphon.server.nodes.node import Node
from antiphon.server.relay.dialer import RelayDialer
from antiphon.server.relay.link import RelayLink
from antiphon.server.relay.opening import Opening
from antiphon.server.session.holder import Holder
from antiphon.server.session.manager import SessionManager
from antiphon.server.session.registry import ChannelRegistry
from antiphon.server.tasks import BackgroundTasks
from antiphon.server.topics.contract import Broker
from antiphon.server.topics.outbox import OutboxBroker
from antiphon.server.topics.topics import Topics
from antiphon.services import Service, ServiceServer
from antiphon.settings import ServerSettings
from antiphon.store.contracts import ProcessRecord, Store
from antiphon.wire.bodies import Lifetimes


class Parts(NamedTuple):
    """The parts of a server that its owner starts and stops."""

    host: ConnectionHost
    sessions: SessionManager
    home: HomeProcess


def assemble(
    settings: ServerSettings,
    service: Service,
    store: Store,
    ring: LiveKeyRing,
    log: ServerLog,
    *,
    server: ServiceServer,
    entrance: Entrance,
    mechanism: str,
    registration: bool,
    language: str,
    clock: Callable[[], datetime],
    broker: Broker,
    place: str = "",
    node: Node | None = None,
) -> Parts:
    """Return the parts of a server; nothing is started yet.

    Args:
        settings: the server's.
        service: what answers.
        store: what is remembered.
        ring: the keys of the data folder.
        log: the server's log.
        server: the server, as the service uses it.
        entrance: where its connections come from.
        mechanism: the SASL mechanism that is offered.
        registration: whether new names are taken.
        language: of clients that name none.
        clock: wall time in UTC, for expiry and records.
        broker: this process's end of what is published; a node has one in its database instead.
        place: whose Unix sockets it reaches (`home.place.place_here`).
        node: what it needs to relay to other nodes, if it is one.
    """
    tasks = BackgroundTasks()
    hello = hello_of(settings, mechanism, registration=registration)
    home = HomeProcess(
        store.processes,
        fence,
        log,
        tasks,
        service=service.name,
        limits=json.dumps([settings.access, msgspec.structs.asdict(hello.limits)]),
        place=place,
        keys=ring.marks,
        random=os.urandom,
        clock=clock,
    )
    if node is not None and store.outbox is not None:
        broker = OutboxBroker(store.outbox, home.id, home.sees, clock)
    topics = Topics(broker, tasks, settings.message_limit, clock)
    handlers = HandlerEnvironment(
        service=service,
        seconds=settings.service_seconds,
        message_limit=settings.message_limit,
        log=log,
        tasks=tasks,
        topics=topics,
        server=server,
    )
    sessions = SessionManager(
        store.sessions,
        store.revocations,
        store.accounts,
        ring.token_key,
        home,
        unheld=timedelta(seconds=settings.session_unheld),
        total=timedelta(seconds=settings.session_total),
        clock=clock,
        random=os.urandom,
        access=settings.access,
    )
    channels = ChannelRegistry(sessions, handlers)
    nodes = None if node is None else NodeDialer(home.id, node.keys, fence, node.repeats)
    dialer = RelayDialer(home, fence, log, give_up_socket, nodes)

    async def relay(process: ProcessRecord, opening: Opening, token: Token, client: Holder) -> RelayLink | None:
        named = msgspec.structs.replace(opening, process=home.id)
        return await dialer.relay(process, named, sessions.mark_of(token), client)

    throttle = Throttle(store.failures, ring.mock_key, clock, entrance.hourly.failures)
    passwords = Passwords(ring, throttle, os.urandom)
    auth = Authenticator(
        access=settings.access,
        accounts=store.accounts,
        clients=store.clients,
        sessions=sessions,
        resume=channels.resume,
        relay=relay,
        throttle=throttle,
        passwords=passwords,
        registration=Registration(
            store.accounts,
            passwords,
            InvitationCheck(store.invitations, ring.token_key, clock, entrance.hourly.invitations),
            entrance.hourly.registrations,
            clock,
            is_open=registration,
        ),
        lifetimes=Lifetimes(unheld=settings.session_unheld, total=settings.session_total),
        language=language,
        clock=clock,
        tasks=tasks,
        log=log,
    )
    host = ConnectionHost(
        settings=settings,
        log=log,
        tasks=tasks,
        limits=entrance.limits,
        hello=HelloFrame(hello, store.accounts, clock, log),
        auth=auth,
        channels=channels,
        handlers=handlers,
    )
    return Parts(host, sessions, home)
