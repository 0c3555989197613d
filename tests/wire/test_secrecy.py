"""Secrecy: the open parts of a frame are shown, and never a secret, however it is written."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon.wire import bodies
from antiphon.wire.bodies import SCHEMAS
from antiphon.wire.kinds import TABLE, TOKEN_SIZE, Kind, Side
from antiphon.wire.secrecy import FIELDS, OPEN_PAYLOADS, UNKNOWN, shown
from support.bodies import BODIES

SECRETS = {
    "token", "data", "invitation", "credential.salt", "credential.stored_key", "credential.server_key",
}  # fmt: skip
"""Fields that must never be open in the table."""


def seen(sender: Side, kind: int, body: bytes) -> bytes:
    mask = shown(sender, kind, body).mask
    assert len(mask) == len(body)
    return bytes(ord("*") if hidden else byte for byte, hidden in zip(body, mask, strict=True))


def leaves(schema: type, before: str = "") -> set[str]:
    """Return the fields of a schema in the notation of the table."""
    found = set()
    for field in msgspec.structs.fields(schema):
        inner = [each for each in (field.type, *getattr(field.type, "__args__", ())) if msgspec_struct(each)]
        name = before + field.encode_name
        found |= leaves(inner[0], f"{name}.") if inner else {name}
    return found


def msgspec_struct(what: Any) -> bool:
    return isinstance(what, type) and issubclass(what, msgspec.Struct)


@pytest.mark.parametrize("which", SCHEMAS)
def test_every_field_of_every_body_is_open_or_secret(which: tuple[Side, int]) -> None:
    fields = FIELDS[which]
    assert fields.open | fields.secret - {"credential"} == leaves(SCHEMAS[which])
    assert not fields.open & fields.secret
    assert not fields.open & SECRETS


def test_no_other_kind_is_in_the_tables() -> None:
    assert set(FIELDS) == set(SCHEMAS)
    assert {(row.sender, row.kind) for row in TABLE} >= OPEN_PAYLOADS
    assert not OPEN_PAYLOADS & set(SCHEMAS)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.sender} {row.kind.name}")
def test_a_token_is_always_hidden(row: Any) -> None:
    token = b"T" * TOKEN_SIZE if row.token else b""
    payload = bodies.encode(BODIES[row.sender, row.kind]) if (row.sender, row.kind) in BODIES else b"payload"
    told = shown(row.sender, row.kind, token + payload)
    assert seen(row.sender, row.kind, token + payload)[: len(token)] == b"*" * len(token)
    assert ("token" in told.hidden) >= row.token


def test_messages_are_open_except_for_the_token() -> None:
    assert seen(Side.CLIENT, Kind.MESSAGE, b"T" * 16 + b"hello") == b"*" * 16 + b"hello"
    assert seen(Side.SERVER, Kind.MESSAGE, b"hello") == b"hello"
    assert seen(Side.CLIENT, Kind.MESSAGE, b"short") == b"*****"


def test_a_body_shows_its_open_fields_and_the_names_of_the_secret_ones() -> None:
    body = b'{"name":"ann","token":"c2VjcmV0","data":null,"lifetimes":{"unheld":1.5,"total":-2e3},"open":[1,2]}'
    told = body.replace(b"c2VjcmV0", b"********")
    assert seen(Side.SERVER, Kind.WELCOME, body) == told
    assert shown(Side.SERVER, Kind.WELCOME, body).hidden == ("token",)


def test_white_space_and_escapes_are_read_as_json() -> None:
    body = rb'{ "name" : "a\"b" , "tok\u0065n" :  "se\"cret\\" }'
    told = rb'{ "name" : "a\"b" , "tok\u0065n" :  "***********" }'
    assert seen(Side.SERVER, Kind.WELCOME, body) == told[: body.index(b"se")] + b"*" * 10 + b'" }'


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"new":"x","name":"ann"}', b'{*****:"*","name":"ann"}'),
        (b'{"new":null}', b"{*****:****}"),
        (b'{"name":{"x":"secret"}}', b'{"name":{***:"******"}}'),
        (b'{"limits":"secret"}', b'{********:"******"}'),
        (b'{"lifetimes":"secret"}', b'{"lifetimes":"******"}'),
        (b'{"lifetimes":["secret",17]}', b'{"lifetimes":["******",**]}'),
        (b'{"lifetimes":{"new":["secret"],"unheld":1}}', b'{"lifetimes":{*****:["******"],"unheld":1}}'),
        (b'{"lifetimes.unheld":"secret"}', b'{******************:"******"}'),
        (b'{"":{"name":"secret"}}', b'{**:{******:"******"}}'),
        (b'["secret"]', b'["******"]'),
        (b'"secret"', b'"******"'),
        (b"1234", b"****"),
    ],
)
def test_a_field_that_the_table_does_not_name_is_hidden(body: bytes, told: bytes) -> None:
    assert seen(Side.SERVER, Kind.WELCOME, body) == told
    assert shown(Side.SERVER, Kind.WELCOME, body).hidden


@pytest.mark.parametrize(
    "body",
    [
        b'{"name" "secret"}', b'{"name":"secret', b"\xff\xfe", b'{"name":"\xff"}', b"[" * 60_000,
        b'\xef\xbb\xbf{"name":"x"}', '{"name":"x"}'.encode("utf-16"), b'{"name":"' + b"x" * 70_000 + b'"}',
    ],
)  # fmt: skip
def test_an_invalid_body_is_hidden(body: bytes) -> None:
    assert seen(Side.SERVER, Kind.WELCOME, body) == b"*" * len(body)
    assert shown(Side.SERVER, Kind.WELCOME, body).hidden == (UNKNOWN,)


@pytest.mark.parametrize(
    ("sender", "kind"),
    [(Side.SERVER, Kind.RESUME), (Side.CLIENT, Kind.HELLO), (Side.SERVER, 0x7F), (Side.SERVER, 0x80)],
)
def test_an_unknown_kind_is_hidden(sender: Side, kind: int) -> None:
    assert seen(sender, kind, b'{"name":"ann"}') == b"*" * 14
    assert seen(sender, kind, b"") == b""


def test_an_unexpected_payload_is_hidden() -> None:
    assert seen(Side.SERVER, Kind.END, b"what") == b"****"
    assert shown(Side.SERVER, Kind.END, b"what").hidden == (UNKNOWN,)
    assert shown(Side.SERVER, Kind.END, b"").hidden == ()


WORDS = st.sampled_from(
    ["name", "token", "data", "lifetimes", "unheld", "credential", "salt", "invitation", "new"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just('SECRET"\\/é\n'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.sampled_from(sorted(FIELDS)), st.dictionaries(WORDS, VALUES), st.booleans(), st.booleans())
@example((Side.SERVER, Kind.WELCOME), {"data": {"name": "SECRET"}}, True, True)
def test_values_show_only_under_open_names(
    which: tuple[Side, int], fields: dict[str, Any], indented: bool, in_ascii: bool
) -> None:
    body = json.dumps(fields, indent=1 if indented else None, ensure_ascii=in_ascii).encode()
    token = b"\x00" * 16 if which in {(row.sender, row.kind) for row in TABLE if row.token} else b""
    told = seen(*which, token + body)[len(token) :].decode("utf-8", "replace")
    assert told.count("SECRET") == allowed(fields, FIELDS[which].open)


def allowed(value: Any, open_fields: frozenset[str], path: str = "") -> int:
    """Return the number of open strings, by an algorithm independent of the code."""
    if isinstance(value, dict):
        return sum(allowed(inner, open_fields, f"{path}.{name}".strip(".")) for name, inner in value.items())
    if isinstance(value, list):
        return sum(allowed(inner, open_fields, path) for inner in value)
    return int(isinstance(value, str) and path in open_fields)
