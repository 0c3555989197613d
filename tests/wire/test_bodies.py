"""Bodies: each matches its schema, or BodyInvalid names the problem."""

import contextlib
import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon.errors import BodyInvalid
from antiphon.wire import bodies
from antiphon.wire.bodies import (
    SASL_LIMIT,
    SCHEMAS,
    Authenticate,
    Body,
    ChallengeAnswer,
    ChangePassword,
    Error,
    Identify,
    Register,
    Resume,
)
from antiphon.wire.kinds import TABLE, Kind, Side
from support.bodies import BODIES, CREDENTIAL, WELCOME

FROM_CLIENTS = [which for which in BODIES if which[0] is Side.CLIENT and which[1] != Kind.BYE]
FROM_SERVERS = [which for which in BODIES if which[0] is Side.SERVER]


def with_field(which: tuple[Side, int], name: str, value: object) -> bytes:
    return json.dumps({**json.loads(bodies.encode(BODIES[which])), name: value}).encode()


def test_there_is_an_example_of_every_schema() -> None:
    assert set(BODIES) == set(SCHEMAS)


@pytest.mark.parametrize("which", BODIES)
def test_a_body_survives_encoding_and_decoding(which: tuple[Side, int]) -> None:
    assert bodies.decode(*which, bodies.encode(BODIES[which])) == BODIES[which]


@pytest.mark.parametrize("which", BODIES)
def test_a_usual_body_fits_the_limit_of_its_kind(which: tuple[Side, int]) -> None:
    row = next(row for row in TABLE if (row.sender, row.kind) == which)
    assert len(bodies.encode(BODIES[which])) <= row.largest


def test_the_largest_sasl_message_fits_into_a_frame_before_sign_in() -> None:
    body = Authenticate(mechanism="SCRAM-SHA-256-PLUS", data=bytes(SASL_LIMIT), language="x" * 35)
    assert len(bodies.encode(body)) <= 4096
    assert bodies.decode(Side.CLIENT, Kind.AUTHENTICATE, bodies.encode(body)) == body


@pytest.mark.parametrize(
    "body",
    [
        Authenticate(mechanism="SCRAM-SHA-256", data=bytes(SASL_LIMIT + 1)),
        Authenticate(mechanism="SCRAM-SHA-256", data=b"", language="x" * 36),
    ],
)
def test_one_more_than_the_longest_value_is_refused(body: Authenticate) -> None:
    with pytest.raises(BodyInvalid, match="length <="):
        bodies.decode(Side.CLIENT, Kind.AUTHENTICATE, bodies.encode(body))


@pytest.mark.parametrize("which", FROM_CLIENTS)
def test_a_server_refuses_an_unknown_field(which: tuple[Side, int]) -> None:
    with pytest.raises(BodyInvalid, match="unknown field `novelty`"):
        bodies.decode(*which, with_field(which, "novelty", 1))


@pytest.mark.parametrize("which", FROM_SERVERS)
@pytest.mark.parametrize("value", [b"1", b'{"a":[null,{}]}', b"9" * 5000], ids=["number", "object", "huge"])
def test_a_client_ignores_an_unknown_field(which: tuple[Side, int], value: bytes) -> None:
    payload = bodies.encode(BODIES[which])[:-1] + b',"novelty":' + value + b"}"
    assert bodies.decode(*which, payload) == BODIES[which]


def test_an_empty_payload_counts_as_an_empty_object() -> None:
    assert (
        bodies.decode(Side.CLIENT, Kind.RESUME, b"") == bodies.decode(Side.CLIENT, Kind.RESUME, b"{}") == Resume()
    )


@pytest.mark.parametrize("kind", [Kind.REGISTER, Kind.AUTHENTICATE, Kind.CHALLENGE])
def test_a_missing_field_is_named(kind: Kind) -> None:
    with pytest.raises(BodyInvalid, match=r"missing required field `(name|mechanism|data)`"):
        bodies.decode(Side.CLIENT, kind, b"")


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b'{"name":"a","name":"b"}', "field twice"),
        (b'{"name":"a","n\\u0061me":"b"}', "field twice"),
        (b'{"name":"a","version":NaN}', "not JSON"),
        (b'{"name":"a","version":1.0}', "Expected `int`"),
        (b'{"name":"a","version":1e0}', "Expected `int`"),
        (b'{"name":"a","version":true}', "Expected `int`"),
        (b'{"name":"a","version":-1}', "`int` >= 0"),
        (b'{"name":"a","version":4294967296}', "`int` <="),
        (b'{"name":"a","version":' + b"9" * 4050 + b"}", "`int` <="),
        (b'{"name":7}', "Expected `str | null`"),
        (b'{"name":"\\ud800"}', "not JSON"),
        (b'{"name":"\xed\xa0\x80"}', "not JSON"),
        (b'{"name":"\xff"}', "not JSON"),
        (b'\xef\xbb\xbf{"name":"a"}', "not JSON"),
        ('{"name":"a"}'.encode("utf-16"), "not JSON"),
        (b'{"name":"a"} {}', "not JSON"),
        (b'{"name":"a"', "not JSON"),
        (b"[]", "Expected `object`"),
        (b"null", "Expected `object`"),
        (b'"' * 4096, "Expected `object`"),
        (b"[" * 4096, "Expected `object`"),
        (b'{"name":' * 500, "Expected `str | null`"),
    ],
)
def test_json_that_other_readers_accept_is_refused(payload: bytes, problem: str) -> None:
    with pytest.raises(BodyInvalid) as caught:
        bodies.decode(Side.CLIENT, Kind.IDENTIFY, payload)
    assert problem in str(caught.value)
    assert "IDENTIFY" in str(caught.value)


@pytest.mark.parametrize("number", [b"1.0", b"1e0", b"10e-1", b"1.5"])
@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [(Kind.WELCOME, "sent", "#"), (Kind.WELCOME, "open", ["#"]), (Kind.HELLO, "password_minimum", "#")],
)
def test_a_client_too_takes_no_fraction_for_a_whole_number(
    kind: Kind, field: str, value: object, number: bytes
) -> None:
    payload = with_field((Side.SERVER, kind), field, value)
    bodies.decode(Side.SERVER, kind, payload.replace(b'"#"', b"1"))
    with pytest.raises(BodyInvalid, match="Expected `int`"):
        bodies.decode(Side.SERVER, kind, payload.replace(b'"#"', number))


@pytest.mark.parametrize("wait", [b"3", b"3.0", b"3e0"])
def test_seconds_are_any_number(wait: bytes) -> None:
    error = bodies.decode(Side.SERVER, Kind.ERROR, b'{"code":"x","text":"y","wait":' + wait + b"}")
    assert isinstance(error, Error)
    assert error.wait == 3


@pytest.mark.parametrize("deep", [b"[", b'{"a":'])
def test_an_unknown_field_cannot_nest_without_limit(deep: bytes) -> None:
    with pytest.raises(BodyInvalid):
        bodies.decode(Side.SERVER, Kind.BYE, b'{"novelty":' + deep * 12_000)


@pytest.mark.parametrize("wait", [b"-1", b"1e300", b"1e999", b"9" * 5000])
def test_a_wait_without_limit_is_refused(wait: bytes) -> None:
    with pytest.raises(BodyInvalid):
        bodies.decode(Side.SERVER, Kind.ERROR, b'{"code":"try-later","text":"","wait":' + wait + b"}")


def test_an_error_names_no_value() -> None:
    with pytest.raises(BodyInvalid) as caught:
        bodies.decode(Side.CLIENT, Kind.CHALLENGE, b'{"data":"not base64: hunter2"}')
    assert "hunter2" not in str(caught.value)
    assert "$.data" in str(caught.value)


SOME_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["name", "data", "credential", "x"]), inner),
)


@given(st.sampled_from(list(SCHEMAS)), st.binary() | SOME_JSON.map(lambda value: json.dumps(value).encode()))
@example((Side.CLIENT, Kind.BYE), b"")
def test_any_bytes_give_a_body_or_body_invalid(which: tuple[Side, int], payload: bytes) -> None:
    with contextlib.suppress(BodyInvalid):
        assert isinstance(bodies.decode(*which, payload), SCHEMAS[which])


@given(st.sampled_from(list(SCHEMAS)), st.data())
def test_any_change_of_a_valid_body_gives_a_body_or_body_invalid(
    which: tuple[Side, int], data: st.DataObject
) -> None:
    good = bytearray(bodies.encode(BODIES[which]))
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BodyInvalid):
        assert isinstance(bodies.decode(*which, bytes(good)), SCHEMAS[which])


@pytest.mark.parametrize(
    ("body", "secret"),
    [
        (CREDENTIAL, "SSSS"),
        (CREDENTIAL, "KKKK"),
        (Register(name="ann", credential=CREDENTIAL), "KKKK"),
        (Register(name="ann", credential=CREDENTIAL, invitation=b"I" * 16), "IIII"),
        (Identify(name="ann", invitation=b"I" * 16), "IIII"),
        (WELCOME, "TTTT"),
        (ChallengeAnswer(data=b"c=biws,p=proof"), "proof"),
        (ChangePassword(data=b"c=biws,p=proof"), "proof"),
        (Authenticate(mechanism="SCRAM-SHA-256", data=b"n,,n=ann"), "n=ann"),
    ],
)
def test_no_secret_shows_in_a_repr(body: Body, secret: str) -> None:
    assert secret not in repr(body)
    assert secret not in f"{body}"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"mechanism": "SCRAM-SHA-256"},
        {"data": "AAAA", "credential": CREDENTIAL},
        {"mechanism": "SCRAM-SHA-256", "data": "AAAA", "credential": CREDENTIAL},
        {"mechanism": "SCRAM-SHA-256", "credential": CREDENTIAL},
    ],
    ids=["nothing", "mechanism", "proof and credential", "all", "no proof"],
)
def test_a_password_change_has_one_of_three_forms(body: dict[str, object]) -> None:
    with pytest.raises(BodyInvalid) as caught:
        bodies.decode(Side.CLIENT, Kind.PASSWORD, msgspec.json.encode(body))
    assert "mechanism and data, data alone, or a credential alone" in caught.value.text()
