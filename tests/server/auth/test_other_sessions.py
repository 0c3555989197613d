"""End of all other sessions of an account, asked for inside one of them."""

import asyncio

from antiphon.wire.bodies import EndOthers, OthersEnded, Welcome
from antiphon.wire.kinds import Kind
from support.auth import AuthClient, AuthServer, Place, code


async def end_others(client: AuthClient) -> object:
    return await client.request(Kind.END_OTHERS, EndOthers())


async def test_all_others_end_on_every_server_and_no_session_of_anybody_else(
    server: AuthServer, inside: AuthClient, place: Place
) -> None:
    second = await place.server()
    await server.seed("bob")
    here, unheld, bob = [await server.session(name) for name in ("ann", "ann", "bob")]
    there = await second.session("ann")
    await unheld.break_off()
    assert await end_others(inside) == OthersEnded(sessions=3)
    await server.follow()
    await second.follow()
    assert (inside.lost, here.lost, bob.lost, there.lost) == ([], ["revoked"], [], ["revoked"])
    assert {here.causes[0], there.causes[0]} == {"elsewhere"}
    assert code(await server.client().resume(unheld.token)) == "session-ended"
    assert isinstance(await server.client().resume(inside.token), Welcome)
    (record,) = server.log.of("others-ended")
    assert record.fields == {"name": "ann", "address": inside.peer.address, "sessions": 3}


async def test_it_can_be_asked_again_and_there_are_none(inside: AuthClient) -> None:
    assert await end_others(inside) == OthersEnded(sessions=0)
    assert await end_others(inside) == OthersEnded(sessions=0)


async def test_of_two_that_end_each_other_one_goes_on(server: AuthServer, inside: AuthClient) -> None:
    other = await server.session()
    answers = await asyncio.gather(end_others(inside), end_others(other))
    assert sorted(map(code, answers)) == ["OthersEnded", "session-ended"]
    await server.follow()
    assert sorted([inside.lost, other.lost]) == [[], ["revoked"]]


async def test_who_must_choose_a_password_does_that_first(server: AuthServer) -> None:
    await server.seed("ann", must_change=True)
    assert code(await end_others(await server.session())) == "password-due"


async def test_people_at_one_address_without_accounts_do_not_end_each_others_sessions(place: Place) -> None:
    server = await place.server(access="identify")
    ann, bob = server.client(), server.client()
    assert isinstance(await ann.identify("ann"), Welcome)
    assert isinstance(await bob.identify("bob"), Welcome)
    assert ann.conversation.hello is not None
    assert "end-others" not in ann.conversation.hello.features
    assert code(await end_others(ann)) == "frame-unexpected"
    await server.follow()
    assert bob.lost == []
