"""Tests of docs/protocol.md against the code: the table, every body with its example, the conversation."""

import re
from base64 import b64encode, urlsafe_b64encode
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from antiphon.address import Address
from antiphon.errors import every_error
from antiphon.identity.invitations import Code
from antiphon.identity.scram import ITERATIONS, LEAST_ITERATIONS, LEAST_NONCE, MOST_ITERATIONS
from antiphon.server.auth.proof import NONCE_SIZE
from antiphon.server.turn_budget import IDLE_FRAMES_MOST
from antiphon.settings import ServerSettings
from antiphon.wire import bodies
from antiphon.wire.bodies import SCHEMAS, Body
from antiphon.wire.kinds import KIB, MESSAGE_LIMIT, TABLE, Kind, Phase, Row, Side
from support import wire_example
from support.documents import blocks, read, section, table

TEXT = read("docs/protocol.md")
WHICH = [pytest.param(sender, kind, id=f"{Kind(kind).name}-{sender}") for sender, kind in SCHEMAS]
NO_CODES = {"tls-server-end-point", "scram-sha-256", "too-many", "end-others"}
"""Words with hyphens that are not error codes."""
FINGERPRINT = "sha256:" + urlsafe_b64encode(bytes(range(32))).decode().rstrip("=")


def body_section(sender: Side, kind: int) -> str:
    return section(TEXT, f"### {Kind(kind).name} from the {sender}")


def example_of(sender: Side, kind: int) -> dict[str, Any]:
    (block,) = (block for block in blocks(body_section(sender, kind)) if block.language == "json")
    assert block.about == f"{Kind(kind).name} {sender}"
    value = msgspec.json.decode(block.text)
    assert isinstance(value, dict)
    return value


def flat(schema: type[Any], prefix: str = "") -> dict[str, tuple[str, object]]:
    """Return the type and default of every field; a field of a nested object has a dotted name."""
    info = inspect.type_info(schema)
    assert isinstance(info, inspect.StructType)
    fields: dict[str, tuple[str, object]] = {}
    for field in info.fields:
        made = field.default_factory is not msgspec.NODEFAULT
        default = field.default_factory() if made else field.default
        if not field.required and default is msgspec.NODEFAULT:  # UNSET, which the server takes for false
            default = False
        fields[prefix + field.name] = (type_name(field.type), default)
        if isinstance(field.type, inspect.StructType):
            fields |= flat(field.type.cls, f"{prefix}{field.name}.")
    return fields


def type_name(info: inspect.Type) -> str:
    """Return the name of a type in the document."""
    match info:
        case inspect.IntType(ge=0, le=0xFFFF_FFFF):
            return "count"
        case inspect.IntType(ge=0, le=0x20_0000_0000_0000):
            return "frames"
        case inspect.FloatType(ge=0, le=1_000_000_000):
            return "seconds"
        case inspect.StrType(max_length=None):
            return "text"
        case inspect.StrType(max_length=most):
            return f"text, at most {most}"
        case inspect.BytesType(max_length=None):
            return "bytes"
        case inspect.BytesType(min_length=least, max_length=most) if least == most:
            return f"bytes, exactly {most},"
        case inspect.BytesType(max_length=most):
            return f"bytes, at most {most:,}"
        case inspect.BoolType():
            return "true or false"
        case inspect.ListType():
            return f"list of {type_name(info.item_type)}s"
        case inspect.UnionType():
            (inner,) = (each for each in info.types if not isinstance(each, inspect.NoneType))
            return f"{type_name(inner).replace('true or false', 'true, false')} or null"
        case inspect.StructType():
            return "object"
    raise AssertionError(f"the document has no word for {info}")


def test_the_table_of_kinds_is_the_one_of_the_code() -> None:
    head = ("kind", "number", "sent by", "may come in", "token", "largest payload", "body")
    assert [row[:6] for row in table(TEXT, *head)] == [shown(row) for row in TABLE]


def shown(row: Row) -> tuple[str, ...]:
    if row.kind is Kind.MESSAGE:
        assert row.largest == MESSAGE_LIMIT == KIB * KIB
        largest = "1 MiB, or as HELLO says"
    elif row.largest >= KIB:
        largest = f"{row.largest // KIB} KiB"
    else:
        largest = f"{row.largest} bytes"
    phases = ", ".join(phase for phase in Phase if phase in row.phases)
    return (row.kind.name, f"0x{row.kind:02x}", row.sender, phases, "yes" if row.token else "no", largest)


def test_kinds_of_later_versions_are_named_with_their_numbers() -> None:
    for kind in set(Kind) - {row.kind for row in TABLE}:
        assert f"{kind.name} (0x{kind:02x})" in TEXT


@pytest.mark.parametrize(("sender", "kind"), WHICH)
def test_every_field_of_every_body_is_described_with_its_type_and_default(sender: Side, kind: int) -> None:
    if not flat(SCHEMAS[sender, kind]):
        assert "It has no fields" in body_section(sender, kind)
        return
    rows = table(body_section(sender, kind), "field", "type", "default", "what it says")
    described = {name: (type_, default) for name, type_, default, _ in rows}
    fields = {
        name: (type_, "" if default is msgspec.NODEFAULT else msgspec.json.encode(default).decode())
        for name, (type_, default) in flat(SCHEMAS[sender, kind]).items()
    }
    assert {
        name: (type_.removesuffix(" characters"), default) for name, (type_, default) in described.items()
    } == fields
    assert all(what for _, _, _, what in rows)


@pytest.mark.parametrize(("sender", "kind"), WHICH)
def test_every_example_of_a_body_is_whole_and_can_be_read(sender: Side, kind: int) -> None:
    example = example_of(sender, kind)
    body: Body = bodies.decode(sender, kind, msgspec.json.encode(example))
    # Encoding it again gives the same: no field is missing, and none is ignored by the code.
    assert msgspec.json.decode(bodies.encode(body)) == example


def test_the_example_of_an_invitation_is_the_one_that_is_described() -> None:
    (block,) = (block for block in blocks(TEXT) if block.about == "invitation")
    code = Code.read(block.text)
    assert code.address == Address("tls", "school.example", 7862, "Вадим", FINGERPRINT)
    assert bytes(code.secret) == bytes(range(0xB0, 0xC0))


def test_every_code_that_is_named_exists() -> None:
    named = set(re.findall(r"`([a-z]+(?:-[a-z0-9]+)+)`", TEXT)) - NO_CODES
    assert named
    assert named <= {error.code for error in every_error()}


def test_the_numbers_of_scram_are_those_of_the_code() -> None:
    text = " ".join(section(TEXT, "## Signing in").split())
    assert f"one of fewer than {LEAST_NONCE} characters is refused" in text
    assert f"adds fewer than {LEAST_NONCE} characters" in text
    assert f"server's part added ({len(b64encode(bytes(NONCE_SIZE)))} characters)" in text
    assert f"Every account has {ITERATIONS:,}" in text
    assert f"fewer than {LEAST_ITERATIONS:,} iterations and more than {MOST_ITERATIONS:,}" in text


def test_the_conversation_is_what_the_code_sends() -> None:
    assert wire_example.written() == wire_example.example()


def test_the_conversation_shows_every_kind_of_the_table() -> None:
    shown_kinds = {(step.sender, step.data[4]) for step in wire_example.steps()}
    assert shown_kinds == {(row.sender, row.kind) for row in TABLE}


def test_the_deadlines_are_those_of_the_settings() -> None:
    settings = ServerSettings()
    rows = table(TEXT, "what", "by default", "what the client sees")
    assert [default for _, default, _ in rows] == [
        f"{settings.handshake_seconds:g} s",
        f"{settings.first_frame_seconds:g} s",
        f"{settings.entry_seconds:g} s",
        f"{settings.write_seconds:g} s",
        f"{IDLE_FRAMES_MOST}",
        f"{settings.silence_seconds:g} s",
        f"from {settings.entry_begin} at random, at most {settings.entry_most}",
        f"{settings.entry_source}",
    ]
