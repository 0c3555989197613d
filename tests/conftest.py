"""Settings and fixtures of all tests."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from support.forkserver import keep_no_disk_waiting
from support.left_out import pytest_sessionfinish

if TYPE_CHECKING:
    from support.postgres import Postgres

__all__ = ["pytest_sessionfinish"]  # a hook of pytest

settings.register_profile("patient", deadline=None)  # how long an example takes depends on the machine
settings.load_profile("patient")
settings.register_profile(  # for `make fuzz`; no database, because the seed is enough to reproduce a case
    "fuzz",
    deadline=None,
    max_examples=int(os.environ.get("FUZZ_EXAMPLES") or 100),
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="session", autouse=True)
def remembered_hashes() -> Iterator[None]:
    """Cache PBKDF2 for each password and salt: its 600,000 iterations take 0.2 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "pbkdf2_hmac", cache(hashlib.pbkdf2_hmac))
        yield


@pytest.fixture(scope="session", autouse=True)
def disk_at_once() -> Iterator[None]:
    """Have nothing wait for the disk, which many tests share; `antiphon` commands and servers do not either."""
    with pytest.MonkeyPatch.context() as patch:
        keep_no_disk_waiting(patch.setattr)
        yield


@pytest.fixture(scope="session", autouse=True)
def log_at_once() -> Iterator[None]:
    """Make servers in this process write each log record at once; server processes still write in groups."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("antiphon.observe.logfile.GATHER_SECONDS", 0)
        yield


@pytest.fixture(scope="session")
def postgres() -> "Iterator[Postgres]":
    """A real PostgreSQL server, which the tests of this worker share."""
    from support.postgres import Postgres

    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # short enough for its socket
    folder.chmod(0o755)
    server = Postgres(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def _kept_database(postgres: "Postgres") -> str:
    return postgres.database("kept")


@pytest.fixture
def database(_kept_database: str) -> str:
    """The address of a PostgreSQL database whose tables are made and empty; the next test gets the same."""
    from antiphon.store.sql.postgres import prepare
    from support.postgres import clear

    prepare(_kept_database)
    clear(_kept_database)
    return _kept_database
