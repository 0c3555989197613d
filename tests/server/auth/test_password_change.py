"""Change of the password: what proves the old one, what is refused, and whose sessions end."""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import msgspec
import pytest

from antiphon.data.credentials import seal, unseal
from antiphon.errors import TryLater
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS, SALT_SIZE, make_verifier
from antiphon.server.auth import password_change
from antiphon.wire.bodies import SCRAM_SHA_256, ChangePassword, Credential, Error, PasswordAnswer, Welcome
from antiphon.wire.frames import encode
from antiphon.wire.kinds import Kind
from support.auth import ATTACKER, BINDING, CHEAP, AuthClient, AuthServer, Place, code
from support.processes import PASSWORD
from support.serving import credential

NEW = "a staple of that battery"
NONCE = b64encode(b"n" * 24).decode()


@cache
def new_credential() -> Credential:
    """Return what is kept of `NEW`: hashed once."""
    made = make_verifier(Password(NEW), b"s" * SALT_SIZE, ITERATIONS)
    return Credential(
        salt=made.salt, iterations=made.iterations, stored_key=made.stored_key, server_key=made.server_key
    )


async def prove(client: AuthClient, password: str = PASSWORD, name: str = "ann") -> bytes:
    proof = await client.prove(password, name)
    assert isinstance(proof, bytes), proof
    return proof


async def change(client: AuthClient) -> None:
    await prove(client)
    assert await client.change(credential=new_credential()) == PasswordAnswer(data=None)


async def begin(client: AuthClient, name: str = "ann") -> str:
    """Begin a proof over plain TCP; return the whole nonce."""
    challenge = await client.change(mechanism="SCRAM-SHA-256", data=f"n,,n={name},r={NONCE}".encode())
    assert isinstance(challenge, PasswordAnswer), challenge
    assert challenge.data
    return challenge.data.decode().split(",")[0].removeprefix("r=")


async def guess(client: AuthClient) -> str:
    """Prove nothing, at none of the cost of a real proof; return the code."""
    return code(await client.change(data=f"c=biws,r={await begin(client)},p={'A' * 43}=".encode()))


async def kept(server: AuthServer) -> bytes:
    """Return the stored key of ann's password."""
    account = await server.store.accounts.find("ann")
    assert account
    return unseal(server.ring, account).stored_key


# --- the change ---------------------------------------------------------------------------------------------


async def test_a_change_ends_all_other_sessions_of_the_account_and_no_others(
    server: AuthServer, inside: AuthClient
) -> None:
    await server.seed("bob")
    other, unheld, bob = [await server.session(name) for name in ("ann", "ann", "bob")]
    await unheld.break_off()
    await server.sessions.begin()
    await change(inside)
    await server.follow()
    assert (inside.lost, other.lost, bob.lost) == ([], ["revoked"], [])
    assert code(await server.client().resume(unheld.token)) == "session-ended"
    assert isinstance(await server.client().resume(inside.token), Welcome)  # in the new epoch
    assert code(await server.client().authenticate("ann")) == "sign-in-refused"
    assert isinstance(await server.client().authenticate("ann", NEW), Welcome)
    (record,) = server.log.of("password-changed")
    assert record.fields == {"name": "ann", "address": inside.peer.address, "sessions": 2}


async def test_a_password_can_be_changed_again(server: AuthServer, inside: AuthClient) -> None:
    await change(inside)
    await prove(inside, NEW)
    assert await inside.change(credential=credential()) == PasswordAnswer(data=None)
    assert isinstance(await server.client().authenticate("ann"), Welcome)


async def test_a_change_that_was_due_is_due_no_more(server: AuthServer) -> None:
    await server.seed("ann", must_change=True)
    client = await server.session()
    assert client.session
    assert client.welcome
    assert client.welcome.must_change
    await change(client)
    assert not client.session.must_change
    back = await server.client().resume(client.token)
    assert isinstance(back, Welcome)
    assert not back.must_change


# --- what is refused ----------------------------------------------------------------------------------------


async def test_wrong_old_passwords_are_counted_and_slowed_down_and_the_session_goes_on(
    server: AuthServer, inside: AuthClient
) -> None:
    assert [await guess(inside) for _ in range(5)] == ["sign-in-refused"] * 5
    assert await guess(inside) == "too-many-failures"
    assert not inside.closed
    assert code(await server.client().authenticate("ann")) == "too-many-failures", "one count for both ways"
    await server.settled()
    assert await server.refusals("ann") == 7
    refused = server.log.of("refused")
    assert [record.fields["name"] for record in refused] == ["ann"] * 7
    assert {record.fields["address"] for record in refused} == {inside.peer.address}


async def test_a_right_proof_forgives_the_failures(server: AuthServer, inside: AuthClient) -> None:
    assert [await guess(inside) for _ in range(4)] == ["sign-in-refused"] * 4
    await prove(inside)
    assert [await guess(inside) for _ in range(4)] == ["sign-in-refused"] * 4
    assert isinstance(await server.client().authenticate("ann"), Welcome)  # not the ninth in a row


async def test_an_old_password_that_cannot_be_counted_is_not_looked_at(
    server: AuthServer, inside: AuthClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.fail("ann", 20, ATTACKER)
    verified: list[object] = []
    monkeypatch.setattr(
        "antiphon.identity.scram_server.ServerExchange.verify", lambda *given: verified.append(given)
    )
    elsewhere = server.client(ATTACKER)
    await inside.break_off()
    await elsewhere.resume(inside.token)
    assert await guess(elsewhere) == "too-many-failures"
    assert verified == []


async def test_a_proof_counts_once(inside: AuthClient) -> None:
    proof = await prove(inside)
    await begin(inside)  # the same first message, to which the server gives a nonce of its own
    assert code(await inside.change(data=proof)) == "sign-in-refused"
    assert code(await inside.change(credential=new_credential())) == "frame-unexpected"


@pytest.mark.parametrize("name", ["bob", "nobody", "ann=2Cbob", "no name", ""])
async def test_nobody_but_the_session_s_own_account_can_be_proved(
    server: AuthServer, inside: AuthClient, name: str
) -> None:
    await server.seed("bob")
    first = f"n,,n={name},r={NONCE}".encode()
    assert code(await inside.change(mechanism="SCRAM-SHA-256", data=first)) == "sign-in-refused"
    assert not inside.closed
    await server.settled()
    assert [await server.refusals(each) for each in ("ann", "bob")] == [1, 0]
    assert len(await server.store.failures.refusals()) == 1
    (record,) = server.log.of("refused")
    assert record.fields["name"] == "ann"


async def test_a_first_message_that_is_broken_counts_for_the_session_s_own_account(
    server: AuthServer, inside: AuthClient
) -> None:
    assert code(await inside.change(mechanism="SCRAM-SHA-256", data=b"rubbish")) == "sign-in-refused"
    await server.settled()
    assert await server.refusals("ann") == 1


async def test_however_often_a_proof_is_refused_the_connection_goes_on(
    server: AuthServer, inside: AuthClient
) -> None:
    for _ in range(10):
        await guess(inside)
        server.clock.advance(3600)
    assert not inside.closed


async def test_the_own_name_may_be_written_in_another_case(inside: AuthClient) -> None:
    await prove(inside, name="ANN")


async def a_proof(client: AuthClient) -> None:
    await ask_last(client, data=b"c=biws")


async def a_credential(client: AuthClient) -> None:
    await ask_last(client, credential=new_credential())


async def a_credential_in_the_middle(client: AuthClient) -> None:
    await begin(client)
    await a_credential(client)


async def a_second_proof(client: AuthClient) -> None:
    proof = await prove(client)
    await ask_last(client, data=proof)


async def a_second_credential(client: AuthClient) -> None:
    await change(client)
    await ask_last(client, credential=credential())


async def a_credential_after_a_refusal(client: AuthClient) -> None:
    assert await guess(client) == "sign-in-refused"
    await a_credential(client)


async def a_credential_after_a_new_beginning(client: AuthClient) -> None:
    await prove(client)
    await a_credential_in_the_middle(client)


async def a_good_credential_after_a_bad_one(client: AuthClient) -> None:
    await prove(client)
    weak = msgspec.structs.replace(new_credential(), iterations=4096)
    assert code(await client.change(credential=weak)) == "credential-refused"
    await a_credential(client)


async def ask_last(client: AuthClient, **fields: Any) -> None:
    assert code(await client.change(**fields)) == "frame-unexpected"
    assert client.closed


@pytest.mark.parametrize(
    "steps",
    [
        a_proof, a_credential, a_credential_in_the_middle, a_second_proof, a_second_credential,
        a_credential_after_a_refusal, a_credential_after_a_new_beginning, a_good_credential_after_a_bad_one,
    ],
)  # fmt: skip
async def test_a_step_out_of_order_ends_the_connection_and_changes_nothing(
    server: AuthServer, inside: AuthClient, steps: Callable[[AuthClient], Awaitable[None]]
) -> None:
    await steps(inside)
    wanted = new_credential().stored_key if steps is a_second_credential else CHEAP.stored_key
    assert await kept(server) == wanted


@pytest.mark.parametrize(
    "fields",
    [{"iterations": 4096}, {"salt": b"short"}, {"stored_key": bytes(31)}, {"server_key": b""}, {"type": "md5"}],
)
async def test_a_credential_with_other_parameters_is_refused(
    inside: AuthClient, fields: dict[str, object]
) -> None:
    await prove(inside)
    weak = msgspec.structs.replace(new_credential(), **fields)
    assert code(await inside.change(credential=weak)) == "credential-refused"
    assert not inside.closed


async def test_a_wrong_token_changes_nothing(server: AuthServer, inside: AuthClient) -> None:
    await prove(inside)
    body = msgspec.json.encode(ChangePassword(credential=new_credential()))
    for token in (bytes(16), b""):
        data = encode(Kind.PASSWORD, inside.conversation.next_id(), body, token=token)
        assert code(await inside.send(data)) == "token-refused"
    assert await kept(server) == CHEAP.stored_key


async def test_there_is_no_change_before_the_sign_in(server: AuthServer) -> None:
    await server.seed("ann")
    client = server.client()
    refused = await client.change(mechanism="SCRAM-SHA-256", data=b"n,,n=ann,r=x")
    assert code(refused) == "frame-unexpected"
    assert client.closed


async def test_over_tls_a_proof_that_is_not_bound_is_refused(server: AuthServer) -> None:
    await server.seed("ann")
    client = server.client(binding=BINDING)
    assert isinstance(await client.authenticate("ann"), Welcome)
    assert isinstance(await client.prove(), bytes)
    for flag in ("n", "y"):
        first = f"{flag},,n=ann,r={NONCE}".encode()
        refused = await client.change(mechanism="SCRAM-SHA-256-PLUS", data=first)
        assert code(refused) == "sign-in-refused"
    assert code(await client.prove(binding=bytes(32))) == "sign-in-refused"  # a relay with another certificate
    refused = await client.change(mechanism="SCRAM-SHA-256", data=b"n,,n=ann,r=x")
    assert code(refused) == "mechanism-unsupported"
    assert client.closed


# --- what comes between -------------------------------------------------------------------------------------


async def reset(server: AuthServer) -> None:
    account = await server.store.accounts.find("ann")
    assert account is not None
    verifier = unseal(server.ring, account)
    await server.store.accounts.replace_credential(
        account.id,
        SCRAM_SHA_256,
        lambda number, key: seal(server.ring, verifier, number, key, bytes),
        must_change=True,
    )


async def disable(server: AuthServer) -> None:
    account = await server.store.accounts.find("ann")
    assert account is not None
    await server.store.accounts.set_disabled(account.id, disabled=True)


async def remove(server: AuthServer) -> None:
    account = await server.store.accounts.find("ann")
    assert account is not None
    await server.store.accounts.remove(account.id)


@pytest.mark.parametrize("act", [reset, disable, remove])
async def test_what_an_operator_does_after_the_proof_is_not_overwritten(
    server: AuthServer, inside: AuthClient, place: Place, act: Callable[[AuthServer], Awaitable[None]]
) -> None:
    await prove(inside)
    await act(await place.server())  # as another process
    assert code(await inside.change(credential=new_credential())) == "session-ended"
    account = await server.store.accounts.find("ann")
    if account is not None:
        assert await kept(server) == CHEAP.stored_key
        assert account.must_change == (act is reset)
    assert server.log.of("password-changed") == []


async def test_whose_account_is_removed_meanwhile_cannot_begin(server: AuthServer, inside: AuthClient) -> None:
    await remove(server)
    refused = await inside.change(mechanism="SCRAM-SHA-256", data=f"n,,n=ann,r={NONCE}".encode())
    assert code(refused) == "session-ended"


async def test_a_name_that_has_become_another_account_s_cannot_be_proved(
    server: AuthServer, inside: AuthClient
) -> None:
    await remove(server)
    await server.seed("ann")
    refused = await inside.change(mechanism="SCRAM-SHA-256", data=f"n,,n=ann,r={NONCE}".encode())
    assert code(refused) == "session-ended"


@pytest.fixture
def flaky(server: AuthServer, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let the store fail twice to end other sessions; give what it was asked."""
    monkeypatch.setattr(password_change, "AGAIN_SECONDS", 0)
    real, tries = server.store.sessions.revoke_others, []

    async def fails_twice(*arguments: Any) -> int:
        tries.append(arguments)
        if len(tries) < 3:
            raise TryLater
        return await real(*arguments)

    server.store.sessions.revoke_others = fails_twice  # type: ignore[method-assign,assignment]
    return tries


async def test_the_end_of_the_other_sessions_is_tried_again_until_the_store_takes_it(
    server: AuthServer, inside: AuthClient, flaky: list[Any]
) -> None:
    other = await server.session()
    await server.sessions.begin()
    await change(inside)
    await server.settled()
    await server.follow()
    assert (inside.lost, other.lost) == ([], ["revoked"])
    assert len(flaky) == 3
    (record,) = server.log.of("password-changed")
    assert record.fields["sessions"] is None
    assert len(server.log.of("store-failed")) == 1


async def test_a_server_that_stops_does_not_try_again(
    server: AuthServer, inside: AuthClient, flaky: list[Any]
) -> None:
    await server.session()
    server.tasks.stopping = True
    await change(inside)
    await asyncio.wait_for(server.settled(), 60)
    assert len(flaky) == 1


async def test_the_session_is_resumed_in_the_midst_of_its_own_change(
    server: AuthServer, inside: AuthClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, reached, let_on = server.store.sessions.revoke_others, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> int:
        reached.set()
        await let_on.wait()
        return await real(*arguments)

    monkeypatch.setattr(server.store.sessions, "revoke_others", slow)
    await prove(inside)
    changing = asyncio.create_task(inside.change(credential=new_credential()))
    await reached.wait()  # the account has begun an epoch, and the session's record has not
    resuming = asyncio.create_task(server.client().resume(inside.token))
    await asyncio.sleep(0.05)
    let_on.set()
    assert isinstance(await resuming, Welcome)
    assert await changing == PasswordAnswer(data=None)


async def test_the_session_is_resumed_although_the_store_cannot_end_the_others_yet(
    server: AuthServer, inside: AuthClient, flaky: list[Any]
) -> None:
    other = await server.session()
    server.tasks.stopping = True  # nobody tries again
    await change(inside)
    assert len(flaky) == 1
    assert isinstance(await server.client().resume(inside.token), Welcome)
    assert code(await server.client().resume(other.token)) == "session-ended"
    await server.settled()


async def test_a_session_of_an_earlier_epoch_is_not_resumed(server: AuthServer, inside: AuthClient) -> None:
    await inside.break_off()
    await reset(server)  # cut short before it ended the sessions
    assert code(await server.client().resume(inside.token)) == "session-ended"


async def test_an_error_is_in_the_language_of_the_sign_in(server: AuthServer) -> None:
    await server.seed("ann")
    client = server.client()
    assert isinstance(await client.authenticate("ann", language="ru"), Welcome)
    refused = await client.change(mechanism="SCRAM-SHA-256", data=b"rubbish")
    assert isinstance(refused, Error)
    assert any("а" <= letter <= "я" for letter in refused.text)
