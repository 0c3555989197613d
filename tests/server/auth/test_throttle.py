"""Throttle (promises 4 and 5): how many guesses pass, who has to wait, what a guesser can learn."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from antiphon.identity.throttle import MOST_FAILURES
from antiphon.server.auth import proof
from antiphon.server.auth.throttle import Throttle
from antiphon.server.listen.limits import SourceFailures, source_of
from antiphon.wire.bodies import Authenticate, Body, ChallengeAnswer, Error, Welcome
from antiphon.wire.kinds import Kind
from support.auth import ATTACKER, HOME, NONCE, OFFICE, AuthServer, Place, code, wrong_proof
from support.serving import verifier
from support.work import calls_counted


async def guess(server: AuthServer, name: str, host: str = ATTACKER) -> Error:
    return await server.client(host).guess(name)


async def sign_in(server: AuthServer, name: str, host: str = ATTACKER) -> Body:
    client = server.client(host)
    answer = await client.authenticate(name)
    if isinstance(answer, Welcome):
        await client.leave()
    return answer


async def test_from_the_fifth_failure_on_even_the_right_password_has_to_wait(server: AuthServer) -> None:
    await server.seed()
    assert isinstance(await sign_in(server, "ann", OFFICE), Welcome)
    assert [(await guess(server, "ann")).code for _ in range(5)] == ["sign-in-refused"] * 5
    refused = await sign_in(server, "ann")
    assert isinstance(refused, Error)
    assert (refused.code, refused.wait) == ("too-many-failures", 1)
    assert refused.hint == "Try again in 1 s."
    server.clock.advance(refused.wait)
    await server.settled()
    welcome = await sign_in(server, "ann")
    assert isinstance(welcome, Welcome)
    assert welcome.refusals == 6
    assert (await guess(server, "ann")).code == "sign-in-refused"


@pytest.mark.parametrize(("failures", "wait"), [(5, 1), (6, 2), (10, 32), (17, 3600), (99, 3600)])
async def test_the_wait_grows_to_an_hour_and_is_told_in_the_language_of_the_person(
    server: AuthServer, failures: int, wait: int
) -> None:
    await server.seed()
    await server.fail("ann", failures)
    client = server.client()
    await client.begin("ANN", language="ru")
    refused = await client.request(Kind.CHALLENGE, ChallengeAnswer(data=b"anything"))
    assert isinstance(refused, Error)
    assert refused.code == "too-many-failures"
    assert refused.wait == wait
    assert refused.text.startswith("Слишком много")
    assert f"{refused.wait:g}" in refused.hint


async def test_after_a_hundred_failures_a_name_is_locked_but_for_where_its_owner_has_been(
    server: AuthServer,
) -> None:
    await server.seed()
    assert isinstance(await sign_in(server, "ann", HOME), Welcome)
    await server.fail("ann", MOST_FAILURES, ago=10**6)
    assert code(await sign_in(server, "ann")) == "name-locked"
    assert code(await sign_in(server, "ann", OFFICE)) == "name-locked"
    assert isinstance(await sign_in(server, "ann", HOME), Welcome)
    assert isinstance(await sign_in(server, "ann", OFFICE), Welcome)


async def test_guesses_at_an_address_of_the_owner_count_there_alone(server: AuthServer) -> None:
    await server.seed()
    assert isinstance(await sign_in(server, "ann", HOME), Welcome)
    await server.fail("ann", MOST_FAILURES, HOME)
    assert code(await sign_in(server, "ann", HOME)) == "name-locked"
    assert isinstance(await sign_in(server, "ann", OFFICE), Welcome)


@pytest.mark.parametrize("name", ["ann", "nobody"])
async def test_of_fifty_guesses_at_once_on_two_servers_five_are_looked_at(place: Place, name: str) -> None:
    servers = [await place.server() for _ in range(2)]
    await servers[0].seed()
    clients = [server.client(ATTACKER) for server in servers for _ in range(25)]
    proofs = [wrong_proof((await client.begin(name)).data) for client in clients]
    told = await asyncio.gather(
        *(client.request(Kind.CHALLENGE, proof) for client, proof in zip(clients, proofs, strict=True))
    )
    assert sorted(map(code, told)) == ["sign-in-refused"] * 5 + ["too-many-failures"] * 45


async def test_a_sign_in_that_cannot_be_counted_is_not_looked_at(
    server: AuthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the work of a proof is done: there is no guess without a count."""
    await server.seed()
    await server.fail("ann", 20)
    verified: list[object] = []
    monkeypatch.setattr(
        "antiphon.identity.scram_server.ServerExchange.verify", lambda *args: verified.append(args)
    )
    assert (await guess(server, "ann", HOME)).code == "too-many-failures"
    assert verified == []


@pytest.mark.parametrize("name", ["ann", "nobody"])
async def test_an_exchange_that_is_given_up_for_another_is_a_refusal_on_the_connection(
    server: AuthServer, name: str
) -> None:
    await server.seed()
    client = server.client(ATTACKER)
    first = Authenticate(mechanism="SCRAM-SHA-256", data=f"n,,n={name},r={NONCE}".encode())
    codes = [code(await client.request(Kind.AUTHENTICATE, first)) for _ in range(4)]
    assert codes == ["Challenge"] * 3 + ["too-many-refusals"]
    await server.settled()
    assert await server.refusals(name) == 0, "nobody was refused a sign-in"
    assert len(server.log.of("refused")) == 3


async def test_an_exchange_that_is_begun_and_left_counts_nothing(server: AuthServer) -> None:
    await server.seed()
    for _ in range(10):
        await server.client(ATTACKER).begin("ann")
    assert isinstance(await sign_in(server, "ann"), Welcome)


async def test_other_spellings_of_a_name_are_counted_with_it(server: AuthServer) -> None:
    await server.seed()
    spellings = ("ann", "ANN", "Ann", "\uff41nn", "aNN", "annN"[:3])
    codes = [(await guess(server, name)).code for name in spellings]
    assert codes == ["sign-in-refused"] * 5 + ["too-many-failures"]


async def test_a_refusal_for_too_many_failures_is_logged_with_its_code(server: AuthServer) -> None:
    await server.seed()
    await server.fail("ann", 20)
    await guess(server, "ann")
    (record,) = server.log.of("refused")
    assert record.level == "warning"
    assert record.fields == {
        "name": "ann",
        "address": f"{ATTACKER}:1024",
        "code": "too-many-failures",
        "why": None,
    }


async def test_the_store_gets_neither_the_names_that_were_tried_nor_the_addresses(
    server: AuthServer, place: Place
) -> None:
    client = server.client("127.0.0.9")
    await client.register("ann")
    assert isinstance(await client.authenticate("ann"), Welcome)
    await client.leave()
    await guess(server, "a-password-typed-as-a-name")
    await server.store.close()
    kept = b"".join(path.read_bytes() for path in place.path.glob("sessions.db*"))
    assert b"failures" in kept
    assert b"a-password-typed" not in kept
    assert b"127.0.0" not in kept
    assert source_of("127.0.0.9") not in kept  # type: ignore[operator] # bytes, for an address of IPv4


# --- registrations ------------------------------------------------------------------------------------------


async def test_of_too_many_new_names_the_last_are_put_off_by_source_and_in_all(place: Place) -> None:
    server = await place.server(registrations_source=2, registrations_most=3)
    answers = [
        await server.client(host).register(f"new{number}")
        for number, host in enumerate((HOME, HOME, HOME, ATTACKER, OFFICE))
    ]
    assert list(map(code, answers)) == ["Identified", "Identified", "try-later", "Identified", "try-later"]
    assert isinstance(answers[2], Error)
    assert 3500 < answers[2].wait <= 3600
    first, _ = server.log.of("refused")
    assert first.fields == {"name": "new2", "address": f"{HOME}:1024", "code": "try-later", "why": None}


# --- what a guesser learns (promise 5) ----------------------------------------------------------------------


async def disable(server: AuthServer, name: str) -> None:
    account = await server.store.accounts.find(name)
    assert account
    await server.store.accounts.set_disabled(account.id, disabled=True)


def watched(server: AuthServer, calls: list[str]) -> None:
    """Have the stores note each call that is made of them.

    `refused` is among them: it is started beside the answer for every name.
    """

    def watch(part: Any, method: str) -> None:
        real: Callable[..., Any] = getattr(part, method)

        async def noting(*arguments: Any, **options: Any) -> Any:
            calls.append(method)
            return await real(*arguments, **options)

        setattr(part, method, noting)

    for method in ("find", "visited", "register"):
        watch(server.store.accounts, method)
    for method in ("attempt", "succeeded", "forgive", "refused"):
        watch(server.store.failures, method)
    for method in ("open", "find", "end"):
        watch(server.store.sessions, method)


async def test_known_unknown_and_disabled_cause_the_same_calls_and_get_the_same_frames(place: Place) -> None:
    server = await place.server(registration="closed")
    for name in ("known", "disabled"):
        await server.seed(name, verifier=verifier())
    await disable(server, "disabled")
    calls: list[str] = []
    watched(server, calls)
    seen = {name: await story(server, name, calls) for name in ("known", "unknown", "disabled")}
    assert seen["known"] == seen["unknown"] == seen["disabled"]
    assert seen["known"][0][0] == "sign-in-refused"
    assert [step[0] for step in seen["known"]][-1] == "too-many-failures"
    assert seen["known"][0][-1] == ["find", "attempt", "refused"]


@pytest.mark.parametrize("name", ["known", "unknown", "disabled"])
async def test_for_every_name_a_mock_verifier_is_made_and_a_sealed_one_opened(
    server: AuthServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for each in ("known", "disabled"):
        await server.seed(each)
    await disable(server, "disabled")
    work: list[str] = []

    def watch(function: str) -> None:
        real: Callable[..., Any] = getattr(proof, function)

        def noting(*arguments: Any) -> Any:
            work.append(function)
            return real(*arguments)

        monkeypatch.setattr(proof, function, noting)

    watch("mock_verifier")
    watch("unseal")
    await server.client().begin(name)
    assert work == ["mock_verifier", "unseal"]


async def story(server: AuthServer, name: str, calls: list[str]) -> list[tuple[Any, ...]]:
    """Guess at a name until it has to wait: each time what was said, and what the stores were asked."""
    told = []
    for _ in range(6):
        calls.clear()
        client = server.client()
        begun = await client.begin(name)
        nonce, salt, iterations = begun.data.decode().split(",")
        refused = await client.request(Kind.CHALLENGE, wrong_proof(begun.data))
        assert isinstance(refused, Error)
        await server.settled()
        told.append((refused.code, refused, len(nonce), len(salt), iterations, list(calls)))
    return told


@pytest.mark.parametrize("name", ["known", "unknown"])
async def test_no_answer_waits_for_the_count_of_a_refusal(server: AuthServer, name: str) -> None:
    await server.seed("known")
    counted, real = asyncio.Event(), server.store.failures.refused

    async def late(name: bytes, at: datetime) -> None:
        await counted.wait()
        await real(name, at)

    server.store.failures.refused = late  # type: ignore[method-assign]
    assert (await asyncio.wait_for(guess(server, name), 60)).code == "sign-in-refused"
    counted.set()
    await server.settled()
    assert await server.refusals(name) == 1


async def test_the_right_password_of_a_disabled_account_looks_like_a_wrong_one_and_counts_as_one(
    server: AuthServer,
) -> None:
    await server.seed()
    await disable(server, "ann")
    right = [await sign_in(server, "ann") for _ in range(5)]
    assert right == [await guess(server, "another")] * 5
    assert code(await sign_in(server, "ann")) == "too-many-failures"


async def test_unknown_names_are_locked_as_known_ones_are(server: AuthServer) -> None:
    await server.seed("known")
    for failures in (20, MOST_FAILURES - 20):
        for name in ("known", "unknown"):
            await server.fail(name, failures, ago=0 if failures > 20 else 10**7)
    assert await guess(server, "known") == await guess(server, "unknown")
    assert (await guess(server, "unknown")).code == "name-locked"


async def test_known_unknown_and_disabled_names_are_refused_with_the_same_work(server: AuthServer) -> None:
    """`tests/abuse/test_timing_oracle.py` measures the time that a server's answers take."""
    for name in ("learn", "known", "stale"):
        await server.seed(name)
    await disable(server, "stale")
    work = {}
    for name in ("learn", "guess", "known", "ghost", "stale"):  # the first two load what is loaded once
        client = server.client()
        with calls_counted() as begun:
            challenge = await client.begin(name)
        answer = wrong_proof(challenge.data)
        with calls_counted() as ended:
            assert code(await client.request(Kind.CHALLENGE, answer)) == "sign-in-refused"
            await server.settled()
        work[name] = (begun, ended)
    assert work["known"] == work["ghost"] == work["stale"]
    begun, ended = work["known"]
    assert begun["digest calls hmac_digest"] == 3, "what runs is counted"
    assert any("Throttle.attempt" in function for function in ended)


def test_a_prefix_of_an_ipv6_network_is_one_address_to_its_owner() -> None:
    throttle = Throttle(None, bytes(32), None, SourceFailures())  # type: ignore[arg-type] # only its marks are looked at
    one, same, other = (
        throttle.marks("ann", host) for host in ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1")
    )
    assert one == same
    assert one[1] != other[1]
    assert one[0] == other[0]


async def test_a_wait_that_is_over_lets_the_next_guess_be_looked_at(server: AuthServer) -> None:
    await server.fail("nobody", 10)
    assert (await guess(server, "nobody")).wait == 32
    server.clock.now += timedelta(seconds=31.5)
    early = await guess(server, "nobody")
    assert (early.code, early.wait) == ("too-many-failures", 1)
    server.clock.now += timedelta(seconds=0.5)
    assert (await guess(server, "nobody")).code == "sign-in-refused"
