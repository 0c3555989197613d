import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.address import DEFAULT_PORT, Address, Scheme, listening_place, parse, status_place
from antiphon.errors import AddressInvalid, PortInvalid, UsageError

FINGERPRINT = "sha256:" + "Zm9v_-" * 7 + "A"
ANOTHER = "sha256:" + "YmFy_-" * 7 + "A"

schemes: st.SearchStrategy[Scheme] = st.sampled_from(["tls", "tcp"])
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
hosts = st.one_of(
    st.text(string.ascii_lowercase + string.digits + "-._", min_size=1, max_size=20),
    st.ip_addresses().map(str),
    st.sampled_from(["пример.рф", "fe80::1%eth0", "例え.jp"]),
)


@st.composite
def addresses(draw: st.DrawFn) -> Address:
    scheme = draw(schemes)
    fingerprint = (
        draw(st.sampled_from([None, FINGERPRINT, f"{FINGERPRINT}+{ANOTHER}"])) if scheme == "tls" else None
    )
    return Address(scheme, draw(hosts), draw(st.integers(1, 65535)), draw(st.none() | names), fingerprint)


@given(addresses())
def test_an_address_that_is_printed_and_pasted_is_the_same(address: Address) -> None:
    assert parse(str(address)) == address


@given(addresses())
def test_a_printed_address_can_be_pasted_into_a_shell(address: Address) -> None:
    text = str(address)
    assert text.isprintable()
    assert not set(text) & set(" \t'\"`$&;|<>(){}*?!\\")


@given(st.text(st.characters() | st.sampled_from("@:/#[]%."), max_size=40))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = parse(text)
    except UsageError:
        return
    assert parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (f"tls://ann@host:1234#{FINGERPRINT}", Address("tls", "host", 1234, "ann", FINGERPRINT)),
        (f"host#{FINGERPRINT}+{ANOTHER}", Address("tls", "host", 7862, None, f"{FINGERPRINT}+{ANOTHER}")),
        ("host", Address("tls", "host", DEFAULT_PORT)),
        ("host:80", Address("tls", "host", 80)),
        ("  tcp://host:80/\n", Address("tcp", "host", 80)),
        ("TLS://HOST", Address("tls", "host", DEFAULT_PORT)),
        ("::1", Address("tls", "::1", DEFAULT_PORT)),
        ("[::1]", Address("tls", "::1", DEFAULT_PORT)),
        ("[0:0::1]:7862", Address("tls", "::1", 7862)),
        ("[fe80::1%eth0]:7862", Address("tls", "fe80::1%eth0", 7862)),
        ("tcp://ann@[2001:DB8::1]:1", Address("tcp", "2001:db8::1", 1, "ann")),
        ("127.0.0.1:65535", Address("tls", "127.0.0.1", 65535)),
        ("Вадим@пример.рф", Address("tls", "пример.рф", DEFAULT_PORT, "Вадим")),
        ("%D0%90%3a%40@host", Address("tls", "host", DEFAULT_PORT, "А:@")),
    ],
)
def test_each_form_is_understood(text: str, address: Address) -> None:
    assert parse(text) == address


def test_an_address_may_carry_several_fingerprints() -> None:
    assert parse("host").fingerprints == ()
    assert parse(f"host#{FINGERPRINT}").fingerprints == (FINGERPRINT,)
    assert parse(f"host#{FINGERPRINT}+{ANOTHER}").fingerprints == (FINGERPRINT, ANOTHER)


def test_the_default_port_is_the_callers() -> None:
    assert parse("host", default_port=9).port == 9


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (Address("tls", "::1", 7862, "ann"), "tls://ann@[::1]:7862"),
        (Address("tcp", "127.0.0.1", 1), "tcp://127.0.0.1:1"),
        (Address("tls", "host", 1, "Вадим"), "tls://Вадим@host:1"),
        (Address("tls", "host", 1, "a b:c@d\x1b\u2028"), "tls://a%20b%3Ac%40d%1B%E2%80%A8@host:1"),
        (Address("tls", "host", 1, None, FINGERPRINT), f"tls://host:1#{FINGERPRINT}"),
    ],
)
def test_only_what_must_be_is_percent_encoded(address: Address, text: str) -> None:
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the host is missing"),
        ("tls://", "the host is missing"),
        ("ann@:7862", "the host is missing"),
        (":7862", "the host is missing"),
        ("http://host", "neither tls:// nor tcp://"),
        ("@host", "there is no name before"),
        ("ann@bob@host", "not percent-encoded"),
        ("tls://good.example#@evil.example", "not percent-encoded"),
        ("a%2@host", "not percent-encoded"),
        ("%ff@host", "not UTF-8"),
        ("a\udcff@host", "not UTF-8"),
        ("ho st", "a character that no host name can have"),
        ("host/path", "a character that no host name can have"),
        ("host\x1b", "a character that no host name can have"),
        ("host:1:2", "its IPv6 address is not valid"),
        ("[fe80::1%a\nb]:1", "its IPv6 address is not valid"),
        ("[fe80::1%]:1", "its IPv6 address is not valid"),
        ("[::1", "its IPv6 address is not valid"),
        ("[host]:1", "its IPv6 address is not valid"),
        ("[::1]x", "its IPv6 address is not valid"),
        ("host#", "sha256: and 43 characters"),
        ("host#sha256:short", "sha256: and 43 characters"),
        ("host#" + FINGERPRINT[:-1] + "B", "sha256: and 43 characters"),
        ("host#" + FINGERPRINT + "+", "sha256: and 43 characters"),
        ("host#" + FINGERPRINT + "," + ANOTHER, "sha256: and 43 characters"),
        ("host#" + FINGERPRINT + "\n#", "sha256: and 43 characters"),
        ("tcp://host#" + FINGERPRINT, "no key"),
    ],
)
def test_what_is_wrong_is_said(text: str, problem: str) -> None:
    with pytest.raises(AddressInvalid, match=problem):
        parse(text)


@pytest.mark.parametrize("port", ["", "0", "65536", "70000", "-1", "+1", "1_0", "٣", "12a", "9" * 5000])
def test_what_is_no_port_is_refused(port: str) -> None:
    for host in ("host", "[::1]"):
        with pytest.raises(PortInvalid):
            parse(f"{host}:{port}")


@pytest.mark.parametrize(
    "text",
    [
        "ann:secret@host",
        "tls://ann:secret@host:7862",
        "http://ann:secret@host",
        "tls://ann:x@secret@host",
        "tls://ann:x#secret@host",
        "tls://ann:x/secret@host",
        "tls://ann:secret@",
        "  tls://:secret@host",
        "ann:x://secret@host",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(AddressInvalid, match="password does not belong") as caught:
        parse(text)
    assert "secret" not in repr(caught.value.fields) + str(caught.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("localhost:9464", ("localhost", 9464)),
        ("*:0", ("*", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("192.0.2.1:1", ("192.0.2.1", 1)),
        *((text, None) for text in ("", ":1", "host", "host:", "::1", "host:65536", "host:1 ", "a b:1", "[]:1")),
    ],
)
def test_a_place_to_listen_on_is_a_host_and_a_port(text: str, place: tuple[str, int] | None) -> None:
    assert listening_place(text) == place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("localhost:9464", ("http", "localhost", 9464)),
        ("http://localhost:9464/", ("http", "localhost", 9464)),
        ("https://[::1]:9464", ("https", "::1", 9464)),
        ("https://*:0/", ("https", "*", 0)),
        *(
            (text, None)
            for text in ("https://", "https://host", "HTTPS://host:1", "ftp://host:1", "https://h:1/x")
        ),
    ],
)
def test_the_place_of_the_status_page_may_have_a_scheme(text: str, place: tuple[str, str, int] | None) -> None:
    assert status_place(text) == place
