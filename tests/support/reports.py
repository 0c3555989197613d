"""A report of a process that is well."""

from datetime import UTC, datetime, timedelta

from antiphon.server.control.report import Facts, ProcessReport

NOW = datetime(2026, 11, 30, tzinfo=UTC)
FACTS = Facts(
    addresses=["tls://localhost:7862"],
    access="authenticate",
    registration="open",
    data="/data",
    store="sqlite",
    log="/data/server.log",
    fingerprint="sha256:x",
    valid_from=NOW - timedelta(days=1),
    expires_at=NOW + timedelta(days=365),
    key=1,
)
WELL = ProcessReport(
    pid=1,
    connections=1,
    sessions=2,
    messages=3,
    messages_per_s=0.5,
    lag_s=0.001,
    store_age_s=0.9,
    revocations_age_s=0.2,
    events={"signed-in": 2},
    log_lost=0,
    facts=FACTS,
)
