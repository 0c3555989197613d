"""The status page as a browser asks for it, without a browser: cookies, headers, and SCRAM by `ClientExchange`."""

import http.client
import json
import re
import secrets
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

from antiphon.identity.passwords import Password
from antiphon.identity.scram import SCRAM_SHA_256, ClientExchange
from support.processes import PASSWORD

PATIENCE_SECONDS = 60

Headers = dict[str, str | None]
"""Values of headers by their names; None for one that is not sent."""


@dataclass
class Answer:
    """What the page has answered."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def value(self) -> Any:
        """The JSON of it."""
        return json.loads(self.text)


@dataclass
class Page:
    """A browser at the page of the server whose `status_place` is `place`."""

    place: str
    source: str = "127.0.0.1"
    cookies: dict[str, str] = field(default_factory=dict)
    set_cookie: str = ""
    """The last header that has set one."""
    csrf: str = ""
    headers: Headers = field(default_factory=dict)
    """Headers that differ from a browser's: None leaves one out."""

    @property
    def origin(self) -> str:
        """The origin of the page."""
        return self.place if "://" in self.place else f"http://{self.place}"

    def get(self, path: str, **headers: str | None) -> Answer:
        """Ask for a page."""
        own: Headers = {"sec-fetch-site": "none"}
        return self.ask("GET", path, None, own | _named(headers))

    def post(self, path: str, value: Any, **headers: str | None) -> Answer:
        """Send what a script of the page sends."""
        own: Headers = {
            "origin": self.origin,
            "sec-fetch-site": "same-origin",
            "content-type": "application/json",
            "x-antiphon-csrf": self.csrf,
        }
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.ask("POST", path, body, own | _named(headers))

    def ask(self, method: str, path: str, body: bytes | None, headers: Headers) -> Answer:
        """Send a request, and keep the cookies of the answer."""
        all_headers: Headers = dict(headers)
        if self.cookies:
            all_headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        all_headers |= self.headers
        connection = self.connection()
        try:
            connection.request(
                method, path, body, {name: value for name, value in all_headers.items() if value is not None}
            )
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        for line in answer.headers.get_all("set-cookie", []):
            self.set_cookie = line
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return Answer(answer.status, answer.headers, text)

    def connection(self) -> http.client.HTTPConnection:
        scheme, _, place = self.origin.partition("://")
        source = (self.source, 0)
        if scheme == "http":
            return http.client.HTTPConnection(place, timeout=PATIENCE_SECONDS, source_address=source)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(place, timeout=PATIENCE_SECONDS, source_address=source, context=context)

    def begin(self, exchange: ClientExchange) -> Answer:
        """Send the first message of a sign-in."""
        return self.post("/sign-in/begin", {"message": exchange.first().decode()})

    def sign_in(self, name: str = "ann", password: str = PASSWORD) -> Answer:
        """Sign in as the script of the page does; return the last answer."""
        nonce = b64encode(secrets.token_bytes(24)).decode()
        exchange = ClientExchange(SCRAM_SHA_256, name, Password(password), None, nonce)
        begun = self.begin(exchange)
        if begun.status != 200:
            return begun
        final = exchange.answer(begun.value["message"].encode()).decode()
        proved = self.post("/sign-in/prove", {"exchange": begun.value["exchange"], "message": final})
        if proved.status == 200:
            exchange.verify(proved.value["message"].encode(), self.place)
            found = re.search(r'<meta name="csrf" content="([^"]+)">', self.get("/").text)
            assert found is not None
            self.csrf = found[1]
        return proved


def _named(headers: Headers) -> Headers:
    """Return headers by their names, such as `sec_fetch_site`."""
    return {name.replace("_", "-"): value for name, value in headers.items()}
