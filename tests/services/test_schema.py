"""The JSON schema of a service: of what it takes, and of what it gives."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from antiphon.errors import ServiceInvalid
from antiphon.services import Chat, Program, echo
from antiphon.services.schema import schema_of_service

STRING = {"type": "string"}


class Push(Struct, tag=True):
    job: Annotated[str, Meta(max_length=9)]


class Drop(Struct, tag=True):
    number: int


class Plain(Struct):
    number: int


class Other(Struct):
    number: int


def untyped(message):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201 - on purpose
    return message


def of_bytes(message: bytes) -> bytes:
    return message


def limited(message: Annotated[str, Meta(max_length=9)]) -> None:
    raise NotImplementedError


def commands(message: Push | Drop) -> Plain | str | None:
    raise NotImplementedError


async def stream(message: list[int]) -> AsyncIterator[Plain | Other]:
    raise NotImplementedError
    yield


def nested(message: str) -> list[Plain | Other]:
    raise NotImplementedError


@pytest.mark.parametrize("handler", [echo, untyped, of_bytes, Chat(), Program("cat")])
def test_without_types_it_is_that_of_a_string(handler: Any) -> None:
    assert schema_of_service(handler, "it") == {"takes": STRING, "gives": STRING}


def test_no_answer_is_null_and_limits_of_text_are_shown() -> None:
    assert schema_of_service(limited, "it") == {"takes": STRING | {"maxLength": 9}, "gives": {"type": "null"}}


def test_each_of_the_two_is_complete_in_itself() -> None:
    schema = schema_of_service(commands, "it")
    assert [each["$ref"] for each in schema["takes"]["anyOf"]] == ["#/$defs/Push", "#/$defs/Drop"]
    assert schema["takes"]["discriminator"]["propertyName"] == "type"
    assert schema["takes"]["$defs"]["Push"]["required"] == ["type", "job"]
    assert schema["gives"]["anyOf"] == [{"$ref": "#/$defs/Plain"}, STRING]
    assert set(schema["gives"]["$defs"]) == {"Plain"}


def test_of_a_stream_it_is_that_of_each_answer() -> None:
    schema = schema_of_service(stream, "it")
    assert schema["takes"] == {"type": "array", "items": {"type": "integer"}}
    assert [each["$ref"] for each in schema["gives"]["anyOf"]] == ["#/$defs/Plain", "#/$defs/Other"]


def test_what_has_no_schema_is_told_in_one_sentence() -> None:
    with pytest.raises(
        ServiceInvalid, match="“it” cannot be served: it has no JSON schema: If a type union"
    ) as told:
        schema_of_service(nested, "it")
    assert "\n" not in str(told.value)
