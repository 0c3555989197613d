"""JSON schema of a service: what it takes, and what it gives."""

from typing import Any

import msgspec

from antiphon.errors import Problem, ServiceInvalid
from antiphon.language import N_
from antiphon.services.contract import Handler
from antiphon.services.service import as_service
from antiphon.wire.values import plain_type

_NO_SCHEMA = Problem(N_("it has no JSON schema: {why}"))
_PLAIN = {"type": "string"}
"""Text and bytes as they are; also what a handler without annotations takes and gives."""


def schema_of_service(handler: Handler, service: str) -> dict[str, Any]:
    """Return the schemas of messages (`takes`) and of answers (`gives`), each complete in itself.

    The schema of a service that never answers is that of null.

    Raises:
        ServiceInvalid: `handler`, called `service`, cannot be served, or has no schema.
    """
    inspected = as_service(handler)
    try:
        return {"takes": _schema([inspected.message.kind]), "gives": _schema(inspected.answers)}
    except TypeError as error:
        why = str(error).strip().splitlines()[-1]
        raise ServiceInvalid(service=service, problem=_NO_SCHEMA, why=why) from None


def _schema(kinds: list[Any]) -> dict[str, Any]:
    """Return the schema of values that have one of these types."""
    if not kinds:
        return {"type": "null"}
    typed = [kind for kind in kinds if plain_type(kind) not in (Any, bytes)]
    found, parts = msgspec.json.schema_components(typed, ref_template="#/$defs/{name}")
    schemas = list(found)
    if len(typed) < len(kinds) and _PLAIN not in schemas:
        schemas.append(_PLAIN)
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return schema | {"$defs": parts} if parts else schema
