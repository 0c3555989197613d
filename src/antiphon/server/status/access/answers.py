"""Answers of the page: JSON and sentences in the language of the browser, and bodies of limited size."""

import asyncio
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from antiphon.errors import (
    AccountUnknown,
    AntiphonError,
    NameLocked,
    ServerError,
    SessionUnknown,
    SignInError,
    TooManyFailures,
)
from antiphon.language import LANGUAGES, N_, Translate, catalogue

BODY_LIMIT = 4096
"""Bytes of a request's body: a SCRAM message has 1024 at most, a name 255 (promise 10)."""
BODY_SECONDS = 5.0
"""Time for a request's body."""

_TOO_LARGE = N_("This request is too large.")
_UNREADABLE = N_("This request cannot be read.")
_TOO_SLOW = N_("This request took too long.")

Body = TypeVar("Body", bound=msgspec.Struct)


class Refused(Exception):
    """A request that is refused, with a status and a sentence."""

    def __init__(self, status: int, problem: str, code: str = "refused") -> None:
        """Refuse with `problem`; `code` is for programs."""
        super().__init__(problem)
        self.status = status
        self.problem = problem
        self.code = code


def language_of(request: Request) -> str:
    """Return the language that a browser prefers among ours (RFC 9110, 12.5.4); English if it names none."""
    wanted: list[tuple[float, int, str]] = []
    for item in request.headers.get("accept-language", "")[:500].split(","):
        tag, _, weight = item.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        language = tag.strip().partition("-")[0].lower()
        if language in LANGUAGES and quality > 0:
            wanted.append((-quality, len(wanted), language))
    return min(wanted)[2] if wanted else "en"


def translate_for(request: Request) -> Translate:
    """Return the translation into the language of a browser."""
    return catalogue(language_of(request)).gettext


def said(value: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer in JSON."""
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


def sentence(request: Request, status: int, problem: str) -> Response:
    """Return an answer of one sentence."""
    return PlainTextResponse(f"{translate_for(request)(problem)}\n", status)


def refusal(request: Request, error: AntiphonError | Refused) -> Response:
    """Return the answer for an error of a POST: its code, and a sentence for the person."""
    translate = translate_for(request)
    if isinstance(error, Refused):
        return said({"code": error.code, "text": translate(error.problem)}, error.status)
    wait = {"Retry-After": str(math.ceil(error.wait))} if error.wait else None
    return said({"code": error.code, "text": error.full(translate)}, _status(error), wait)


def _status(error: AntiphonError) -> int:
    match error:
        case TooManyFailures() | NameLocked():
            return 429
        case SignInError():
            return 401
        case ServerError():
            return 503
        case AccountUnknown() | SessionUnknown():
            return 404
    return 400


async def body_of(request: Request, kind: type[Body]) -> Body:
    """Return the body of a POST.

    Raises:
        Refused: it is no JSON of this kind, larger than `BODY_LIMIT`, or takes too long.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, _UNREADABLE)
    data = b""
    try:
        if int(request.headers.get("content-length", "0")) > BODY_LIMIT:  # before a byte of it is read
            raise Refused(413, _TOO_LARGE)
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                data += piece
                if len(data) > BODY_LIMIT:
                    raise Refused(413, _TOO_LARGE)
        return msgspec.json.decode(data, type=kind)
    except TimeoutError:
        raise Refused(408, _TOO_SLOW) from None
    except (ClientDisconnect, msgspec.MsgspecError, ValueError):
        raise Refused(400, _UNREADABLE) from None
