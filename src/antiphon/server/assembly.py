"""Assembly of a server: makes its parts, and hands each one what it uses."""

import os
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from antiphon.data.keyring import LiveKeyRing
from antiphon.observe.log import ServerLog
from antiphon.server.auth.authenticator import Authenticator
from antiphon.server.auth.invitations import InvitationCheck
from antiphon.server.auth.proof import Passwords
from antiphon.server.auth.registration import Registration
from antiphon.server.auth.throttle import Throttle
from antiphon.server.connection.host import ConnectionHost
from antiphon.server.handler.environment import HandlerEnvironment
from antiphon.server.hello import HelloFrame, hello_of
from antiphon.server.listen.limits import AdmissionLimits, RegistrationLimits
from antiphon.server.session.manager import SessionManager
from antiphon.server.session.registry import ChannelRegistry
from antiphon.server.tasks import BackgroundTasks
from antiphon.services import Service
from antiphon.settings import ServerSettings
from antiphon.store.contracts import Store
from antiphon.wire.bodies import Lifetimes


def assemble(
    settings: ServerSettings,
    service: Service,
    store: Store,
    ring: LiveKeyRing,
    log: ServerLog,
    *,
    mechanism: str,
    registration: bool,
    language: str,
    clock: Callable[[], datetime],
) -> tuple[ConnectionHost, SessionManager]:
    """Return what the connections of a server run on, and its sessions; nothing is started yet.

    Args:
        settings: the server's.
        service: what answers.
        store: what is remembered.
        ring: the keys of the data folder.
        log: the server's log.
        mechanism: the SASL mechanism that is offered.
        registration: whether new names are taken.
        language: of clients that name none.
        clock: wall time in UTC, for expiry and records.
    """
    tasks = BackgroundTasks()
    handlers = HandlerEnvironment(
        service=service,
        seconds=settings.service_seconds,
        message_limit=settings.message_limit,
        log=log,
        tasks=tasks,
    )
    sessions = SessionManager(
        store.sessions,
        store.revocations,
        store.accounts,
        ring.token_key,
        unheld=timedelta(seconds=settings.session_unheld),
        total=timedelta(seconds=settings.session_total),
        clock=clock,
        random=os.urandom,
        access=settings.access,
    )
    channels = ChannelRegistry(sessions, handlers)
    throttle = Throttle(store.failures, ring.mock_key, clock)
    passwords = Passwords(ring, throttle, os.urandom)
    auth = Authenticator(
        access=settings.access,
        accounts=store.accounts,
        clients=store.clients,
        sessions=sessions,
        resume=channels.resume,
        throttle=throttle,
        passwords=passwords,
        registration=Registration(
            store.accounts,
            passwords,
            InvitationCheck(store.invitations, ring.token_key, clock),
            RegistrationLimits(settings.registrations_source, settings.registrations_most),
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
        limits=AdmissionLimits(
            settings.entry_begin,
            settings.entry_rate,
            settings.entry_most,
            settings.entry_source,
            random.random,
        ),
        hello=HelloFrame(hello_of(settings, mechanism, registration=registration), store.accounts, clock, log),
        auth=auth,
        channels=channels,
        handlers=handlers,
    )
    return host, sessions
