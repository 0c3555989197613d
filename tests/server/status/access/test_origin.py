"""Where a request may be from: names of the server, its own origin, and what browsers say of themselves."""

from typing import Any, Literal

import pytest
from starlette.requests import Request

from antiphon.server.status.access.origin import Reach

NAMES = frozenset({"localhost", "status.example", "*.pages.example"})


def status(
    method: str = "GET",
    scheme: Literal["http", "https"] = "http",
    *,
    loopback: bool = True,
    **headers: str | None,
) -> int:
    """Return the status with which a request is refused; 200 if it is not."""
    sent = {"host": "localhost:9464"} | {key.replace("_", "-"): value for key, value in headers.items()}
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "headers": [(key.encode(), value.encode("latin-1")) for key, value in sent.items() if value is not None],
    }
    refused = Reach(scheme=scheme, loopback=loopback, names=NAMES).refusal(Request(scope))
    return refused[0] if refused else 200


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:9464", "LOCALHOST:1", "127.0.0.1:9464", "127.0.0.2", "[::1]:9464", "status.example",
     "a.pages.example:9464"],
)  # fmt: skip
def test_the_servers_own_names_are_answered_whatever_the_port_of_a_tunnel(host: str) -> None:
    assert status(host=host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:9464", "localhost.evil.example", "evil.example@localhost", "localhost.", "192.0.2.1:9464", "",
     "pages.example", "a.b.pages.example", "[::1", "localhost:0x1", "localhost:9464:1", "[2001:db8::1]:9464",
     "\xff"],
)  # fmt: skip
def test_a_name_that_leads_here_by_rebinding_is_refused(host: str) -> None:
    assert status(host=host) == 421
    assert status("POST", host=host, origin=f"http://{host}") == 421
    assert status(host=None) == 421


def test_over_tls_any_address_will_do_because_the_certificate_says_whose_it_is() -> None:
    assert status(scheme="https", loopback=False, host="192.0.2.1:9464") == 200
    assert status(scheme="https", loopback=False, host="evil.example") == 421


@pytest.mark.parametrize("host", ["localhost:9464", "evil.example"])
def test_without_tls_there_is_no_page_for_other_machines(host: str) -> None:
    assert status(loopback=False, host=host) == 403


@pytest.mark.parametrize(
    "origin",
    [None, "", "null", "http://evil.example", "https://localhost:9464", "http://localhost", "http://localhost:9465",
     "http://127.0.0.1:9464", "http://localhost:9464/", "http://localhost:9464.evil.example"],
)  # fmt: skip
def test_another_origin_or_none_changes_nothing(origin: str | None) -> None:
    assert status("POST", origin=origin) == 403
    assert status("DELETE", origin=origin) == 403


def test_the_own_origin_is_answered() -> None:
    assert status("POST", origin="http://localhost:9464") == 200
    assert status("POST", "https", host="status.example", origin="https://status.example") == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "Same-Origin"])
def test_what_a_browser_sends_for_another_site_is_refused_except_that_a_link_opens_the_page(site: str) -> None:
    assert status("POST", origin="http://localhost:9464", sec_fetch_site=site) == 403
    assert status(sec_fetch_site=site, sec_fetch_mode="no-cors", sec_fetch_dest="image") == 403
    assert status(sec_fetch_site=site, sec_fetch_mode="navigate", sec_fetch_dest="iframe") == 403
    assert status(sec_fetch_site=site, sec_fetch_mode="navigate", sec_fetch_dest="document") == 200
    origin = "http://localhost:9464"
    assert (
        status("POST", origin=origin, sec_fetch_site=site, sec_fetch_mode="navigate", sec_fetch_dest="document")
        == 403
    )


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_what_a_browser_sends_for_the_page_is_answered(site: str) -> None:
    assert status(sec_fetch_site=site, sec_fetch_mode="cors", sec_fetch_dest="empty") == 200
    assert status("POST", origin="http://localhost:9464", sec_fetch_site=site) == 200
