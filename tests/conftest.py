"""What holds for every test."""

import hashlib
import os
from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("patient")
settings.register_profile(  # of `make fuzz`; no database: a seed is all that it takes to see a case again
    "fuzz",
    deadline=None,
    max_examples=int(os.environ.get("FUZZ_EXAMPLES") or 100),
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="session", autouse=True)
def remembered_hashes() -> Iterator[None]:
    """Do the 600,000 rounds once for each password and salt: what comes out is the same, and takes 0.2 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "pbkdf2_hmac", cache(hashlib.pbkdf2_hmac))
        yield


@pytest.fixture(scope="session", autouse=True)
def log_at_once() -> Iterator[None]:
    """Have servers in this process write each record at once; those in processes of their own gather them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("antiphon.observe.logfile.GATHER_SECONDS", 0)
        yield
