"""What administrators do at the page: end a session, disable an account, invite somebody.

Each act is what the command of the same name does, with the same record in the log, by the administrator's name
and with the address of the browser.
"""

import asyncio
import os
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from antiphon.address import Address
from antiphon.data.certificate import load_or_make
from antiphon.data.folder import DataFolder
from antiphon.data.inviting import KEPT_AFTER_EXPIRY, is_here_only, lifetime_in, make_code
from antiphon.identity.names import prepare
from antiphon.language import N_
from antiphon.server.status.access.answers import Refused, body_of, said, translate_for
from antiphon.server.status.access.guard import Administrator, Guard
from antiphon.server.status.access.store import Opened
from antiphon.store.contracts import Account

_NO_SESSION = N_("There is no such session, or no longer.")
_NO_ACCOUNT = N_("There is no account with this name.")
_OWN_ACCOUNT = N_("You are signed in with this account. Use: antiphon accounts disable")
_HAS_ACCOUNT = N_("There is an account with this name already.")
_NO_LIFETIME = N_("A code is valid for a time such as 12h, 7d or 2w, and for a year at most.")
_NO_ADDRESS = N_("The server has not listened yet: a code would have no address.")
_HERE_ONLY = N_(
    "This code is for {host} and works on this machine only; antiphon invite --public-address makes one for"
    " others."
)
_ENDED = N_("Sessions ended: {count}.")
_DISABLED = N_("“{name}” is disabled.")


class _Revoke(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `/actions/revoke`."""

    session: str
    """its id, as `antiphon sessions list` shows it"""


class _Disable(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `/actions/disable`."""

    name: str


class _Invite(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `/actions/invite`."""

    name: str
    lifetime: str = "7d"


def action_routes(guard: Guard) -> list[BaseRoute]:
    """Return the routes of the actions; each answers in JSON, with a sentence as `text`."""
    log = guard.log

    async def revoke(request: Request, administrator: Administrator) -> Response:
        body = await body_of(request, _Revoke)
        store = (await guard.store.opened()).store
        found = [each for each in await store.sessions.all() if each.short_id == body.session.lower()]
        if not found or not await store.sessions.revoke(found[0].fingerprint, "revoked", _utc_now()):
            raise Refused(404, _NO_SESSION, "session-unknown")
        log.info(
            "sessions-revoked",
            name=found[0].name or None,
            by=administrator.name,
            address=guard.peer_of(request).address,
            sessions=1,
        )
        return said({"sessions_ended": 1, "text": translate_for(request)(_ENDED).format(count=1)})

    async def disable(request: Request, administrator: Administrator) -> Response:
        body = await body_of(request, _Disable)
        opened = await guard.store.opened()
        account = await _account(opened, body.name)
        if account is None:
            raise Refused(404, _NO_ACCOUNT, "account-unknown")
        if account.id == administrator.account.id:
            raise Refused(409, _OWN_ACCOUNT, "own-account")
        changed = await opened.store.accounts.set_disabled(account.id, disabled=True)
        # Even if it was disabled already: an earlier act may have been interrupted.
        ended = await opened.store.sessions.revoke_account(account.id, "disabled", _utc_now())
        log.info(
            "account-disabled",
            name=account.display,
            by=administrator.name,
            address=guard.peer_of(request).address,
            sessions=ended,
        )
        translate = translate_for(request)
        sentences = (
            translate(_DISABLED).format(name=account.display),
            translate(_ENDED).format(count=ended),
        )
        return said(
            {"name": account.display, "changed": changed, "sessions_ended": ended, "text": " ".join(sentences)}
        )

    async def invite(request: Request, administrator: Administrator) -> Response:
        body = await body_of(request, _Invite)
        name, lifetime = prepare(body.name), lifetime_in(body.lifetime)
        if lifetime is None:
            raise Refused(400, _NO_LIFETIME, "lifetime-invalid")
        opened = await guard.store.opened()
        if await opened.store.accounts.find(name.key) is not None:
            raise Refused(409, _HAS_ACCOUNT, "account-exists")
        address = await asyncio.to_thread(_address, opened.folder)
        at = _utc_now()
        await opened.store.invitations.forget(at - KEPT_AFTER_EXPIRY)
        code = await make_code(
            opened.store.invitations,
            opened.ring.token_key,
            name,
            address,
            at=at,
            expires_at=at + lifetime,
            by=administrator.name,
            random=os.urandom,
        )
        log.info("invited", name=name.display, by=administrator.name, address=guard.peer_of(request).address)
        expires_at = (at + lifetime).isoformat(timespec="seconds")
        near = translate_for(request)(_HERE_ONLY).format(host=address.host) if is_here_only(address.host) else None
        return said({"name": name.display, "code": code.written(), "expires_at": expires_at, "note": near})

    actions = {"revoke": revoke, "disable": disable, "invite": invite}
    return [Route(f"/actions/{name}", guard.action(act), methods=["POST"]) for name, act in actions.items()]


async def _account(opened: Opened, name: str) -> Account | None:
    return await opened.store.accounts.find(prepare(name).key)


def _address(folder: DataFolder) -> Address:
    """Return the address for a code: where the server listens, with the fingerprint of its key. It reads files.

    Raises:
        Refused: none is known.
    """
    address = folder.last_address
    if address is None:
        raise Refused(409, _NO_ADDRESS, "no-address")
    if address.scheme == "tcp":
        return address
    return replace(address, fingerprint=load_or_make(folder, [address.host]).fingerprint)


def _utc_now() -> datetime:
    return datetime.now(UTC)
