"""Origin of a request: whether the page itself, or its person, has made it, or a browser for another site."""

import ipaddress
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request

from antiphon.address import parse_place
from antiphon.errors import AntiphonError
from antiphon.language import N_

READING = frozenset({"GET", "HEAD"})
"""Methods that change nothing."""
_OWN_SITE = frozenset({"same-origin", "none"})
"""Values of `Sec-Fetch-Site` for requests of the page, and for what a person has typed or bookmarked."""

TLS_NEEDED = N_("The status page is served over TLS only, except on this machine: use --status https://HOST:PORT.")
_OTHER_HOST = N_("This server has no name like that: open the page at an address that the server tells.")
_OTHER_SITE = N_("This request comes from another site, and is refused.")


@dataclass(kw_only=True)
class Reach:
    """How browsers reach the page."""

    scheme: Literal["http", "https"]
    loopback: bool
    """whether only this machine can reach it"""
    names: frozenset[str]
    """host names that are the server's, in lower case; `*.example.org` stands for one label more"""

    @property
    def has_page(self) -> bool:
        """Whether there is a page: a password's proof and a cookie cross no network without TLS."""
        return self.loopback or self.scheme == "https"

    def refusal(self, request: Request) -> tuple[int, str] | None:
        """Return the status and the sentence with which to refuse a request for the page; None to answer it."""
        if not self.has_page:
            return 403, TLS_NEEDED
        written = request.headers.get("host", "")
        if not self._is_own(written):
            return 421, _OTHER_HOST
        if request.method in READING:
            return None if self._is_own_site(request) else (403, _OTHER_SITE)
        own = f"{self.scheme}://{written}".lower()
        if request.headers.get("origin", "").lower() != own or not self._is_own_site(request):
            return 403, _OTHER_SITE
        return None

    def _is_own(self, written: str) -> bool:
        """Return whether a `Host` names this server: another name that leads here is an attack (DNS rebinding).

        The port may be another one: that of a tunnel.
        """
        try:
            host, _ = parse_place(written)
        except AntiphonError:
            return False
        if host in self.names or f"*.{host.partition('.')[2]}" in self.names:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or not self.loopback  # no name is bound to another address here

    def _is_own_site(self, request: Request) -> bool:
        """Return whether Fetch Metadata, which browsers send and scripts cannot change, lets a request pass."""
        headers = request.headers
        if headers.get("sec-fetch-site", "none") in _OWN_SITE:
            return True
        # A link on another site leads to the page; the cookie does not come along (SameSite=Strict).
        opened = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        return opened and request.method in READING
