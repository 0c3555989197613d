"""Failures from one source: how many a server takes in an hour, and who is tried all the same (promise 4)."""

import asyncio
from datetime import UTC, datetime

import pytest

from antiphon.server.listen.limits import SourceFailures
from antiphon.wire.bodies import Welcome
from server.auth.test_throttle import guess, sign_in
from support.auth import ATTACKER, OFFICE, AuthServer, code


@pytest.fixture
def limited(server: AuthServer) -> AuthServer:
    """A server that takes five failures in an hour from one source."""
    server.limit_sources(5)
    return server


async def test_a_source_with_too_many_failures_is_put_off_for_the_rest_of_the_hour(limited: AuthServer) -> None:
    await limited.seed()
    for number in range(5):
        assert (await guess(limited, f"name{number}")).code == "sign-in-refused"
    limited.clock.advance(60)
    for name in ("ann", "nobody"):
        put_off = await guess(limited, name)
        assert (put_off.code, put_off.wait) == ("try-later", 3540)
    assert code(await sign_in(limited, "ann", OFFICE)) == "Welcome"
    limited.clock.advance(3540)
    assert (await guess(limited, "nobody")).code == "sign-in-refused"
    *_, last = [each for each in limited.log.of("refused") if each.fields["code"] == "try-later"]
    assert last.fields == {"name": "nobody", "address": f"{ATTACKER}:1024", "code": "try-later", "why": None}


async def test_what_is_put_off_is_neither_looked_at_nor_counted_nor_kept(
    limited: AuthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        await guess(limited, f"name{number}")
    await limited.settled()
    before = await limited.store.failures.refusals()
    monkeypatch.setattr(
        "antiphon.identity.scram_server.ServerExchange.verify", lambda *_: pytest.fail("looked at")
    )
    client = limited.client(ATTACKER)
    assert [code(await client.guess(f"more{number}")) for number in range(3)] == [
        "try-later",
        "try-later",
        "too-many-refusals",
    ]
    await limited.settled()
    assert await limited.store.failures.refusals() == before


async def test_names_that_are_known_at_an_address_are_tried_there_whatever_others_do(limited: AuthServer) -> None:
    await limited.seed()
    assert isinstance(await sign_in(limited, "ann"), Welcome)
    for number in range(6):
        last = await guess(limited, f"name{number}")
    assert last.code == "try-later"
    assert (await guess(limited, "ann")).code == "sign-in-refused"
    for _ in range(3):
        assert isinstance(await sign_in(limited, "ann"), Welcome)
    assert (await guess(limited, "another")).code == "try-later", "her sign-ins free no guess for others"


async def test_sign_ins_and_refusals_that_are_no_failures_do_not_count_for_a_source(limited: AuthServer) -> None:
    await limited.seed()
    await limited.seed("bob")
    await limited.fail("bob", 20)
    for _ in range(10):
        assert isinstance(await sign_in(limited, "ann"), Welcome)
        assert (await guess(limited, "bob")).code == "too-many-failures"
    assert (await guess(limited, "nobody")).code == "sign-in-refused"


async def test_of_many_attempts_at_once_from_one_source_no_more_than_the_limit_pass(limited: AuthServer) -> None:
    told = await asyncio.gather(*(guess(limited, f"name{number}") for number in range(20)))
    assert sorted(map(code, told)) == ["sign-in-refused"] * 5 + ["try-later"] * 15


def test_of_ever_more_sources_the_one_that_began_first_is_forgotten() -> None:
    sources = SourceFailures(1, lambda: datetime(2026, 3, 1, 12, tzinfo=UTC), table=2)
    assert [sources.count_now(host) for host in ("::1", "127.0.0.1", "127.0.0.1")] == [0, 0, 3600]
    assert sources.count_now("127.0.0.2") == 0
    assert sources.count_now("127.0.0.1") == 3600
    assert sources.count_now("::1") == 0
