"""The readers for the files of an old system: how each line is classified."""

from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import UsageError
from antiphon.identity import legacy
from antiphon.identity.legacy import Names, Why, read_accounts, read_names

SECRET = "secret"


def h(text: str, encoding: str = "utf-8") -> str:
    return md5(text.encode(encoding)).hexdigest()


HASH = h(SECRET)


def imported(text: str | bytes, names: str = "") -> dict[str, str]:
    """Return names and digests of a file; check that every line is in one of the two lists."""
    data = text if isinstance(text, bytes) else text.encode()
    rows, passed = read_accounts(data, read_names(names.encode()))
    found = [row.line for row in rows] + [line.line for line in passed]
    count = len(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n").split(b"\n"))
    assert sorted(found) == list(range(1, count + 1))
    return {row.name.display: row.password.text for row in rows}


def passed_of(text: str, names: str = "") -> list[tuple[int, str, str]]:
    _, passed = read_accounts(text.encode(), read_names(names.encode()))
    return [(line.line, line.why.value, line.error.text() if line.error else "") for line in passed]


# --- passwords ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [";", ",", "\t", ":", "; ", " , "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_row_is_a_name_and_a_digest(delimiter: str, end: str) -> None:
    assert imported(f"ann{delimiter}{HASH}{end}Вадим{delimiter}{HASH}{end}") == {"ann": HASH, "Вадим": HASH}


def test_a_digest_in_capitals_is_the_same() -> None:
    assert imported(f"ann;{HASH.upper()}") == {"ann": HASH}


def test_fields_may_stand_in_quotes_and_among_spaces() -> None:
    assert imported(f'  "ann"; "{HASH}"  ') == {"ann": HASH}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251"])
def test_a_file_is_in_UTF_8_or_the_old_code_page(encoding: str) -> None:  # noqa: N802 - its name
    assert imported(f"Вадим;{HASH}\n".encode(encoding)) == {"Вадим": HASH}


@pytest.mark.parametrize("heading", ["name;password", "IP,Hash", "md5(address);md5(password)", "Имя;Пароль"])
def test_a_heading_is_told_from_a_client(heading: str) -> None:
    assert imported(f"\n{heading}\nann;{HASH}") == {"ann": HASH}
    assert (2, "heading", "") in passed_of(f"\n{heading}\nann;{HASH}")
    assert (2, "broken") in [line[:2] for line in passed_of(f"ann;{HASH}\n{heading}")]


def test_empty_lines_are_nothing() -> None:
    assert imported(f"\n\nann;{HASH}\n  \n\t\n") == {"ann": HASH}


def test_of_the_same_client_the_last_row_counts_and_the_others_are_listed() -> None:
    text = f"ann;{h('a')}\nbob;{HASH}\nAnn;{h('b')}\nANN;{h('c')}"
    assert imported(text) == {"ANN": h("c"), "bob": HASH}
    assert passed_of(text) == [
        (1, "repeated", "line 3 is about the same client and replaces it"),
        (3, "repeated", "line 4 is about the same client and replaces it"),
    ]


def test_a_last_row_that_cannot_be_taken_brings_no_earlier_one_back() -> None:
    for last in ("$apr1$x$y", "plain"):
        assert imported(f"ann;{HASH}\nann;{last}") == {}


@pytest.mark.parametrize(
    ("hashed", "scheme"),
    [
        ("$apr1$abcdefgh$0123456789abcdefghijkl", "$apr1$"),
        ("$2b$12$" + "a" * 53, "$2b$"),
        ("$2y$05$" + "a" * 53, "$2y$"),
        ("$1$salt$" + "a" * 22, "$1$"),
        ("$6$salt$" + "a" * 86, "$6$"),
        ("$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", "$argon2id$"),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "{SHA}"),
        ("{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "{SSHA}"),
        ("pbkdf2_sha256$600000$salt$hash", "pbkdf2_sha256$"),
        ("rqXexS6ZhobKA", "crypt"),
        ("*" + "A1" * 20, "MySQL"),
        ("a1" * 20, "SHA-1"),
        ("A1" * 32, "SHA-256"),
        ("a1" * 64, "SHA-512"),
    ],
)
@pytest.mark.parametrize("delimiter", [";", ",", ":"])
def test_another_scheme_is_listed_as_not_supported(hashed: str, scheme: str, delimiter: str) -> None:
    told = f"passwords of the kind {scheme} are not supported"
    assert passed_of(f"ann{delimiter}{hashed}") == [(1, "unsupported", told)]


def test_an_empty_password_makes_no_account() -> None:
    assert passed_of(f"ann;{h('')}") == [(1, "unsupported", "its password is empty")]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("ann", "the number of its fields is 1, not 2"),
        (HASH, "the number of its fields is 1, not 2"),
        (f"ann;192.168.1.39;{HASH}", "the number of its fields is 3, not 2"),
        (f"ann;{HASH};", "the number of its fields is 3, not 2"),
        (f'"ann;{HASH}', "its quotation marks do not match"),
        ("ann;", "its second field is not an MD5 of 32 hexadecimal digits"),
        (f"ann;{HASH[:-1]}", "its second field is not an MD5 of 32 hexadecimal digits"),
        (f"ann;{HASH[:-1]}g", "its second field is not an MD5 of 32 hexadecimal digits"),
        (f";{HASH}", "“” cannot be a name: it is empty."),
        (f"two words;{HASH}", "“two words” cannot be a name: it contains a space."),
        (f"Ваdим;{HASH}", "“Ваdим” cannot be a name: it mixes letters of more than one alphabet."),
        ("x" * 1001, "it has more than 1000 characters"),
    ],
)
def test_a_broken_line_is_listed_with_the_reason(row: str, problem: str) -> None:
    assert passed_of(f"bob;{HASH}\n{row}") == [(2, "broken", problem)]


@pytest.mark.parametrize("secret", ["hunter2", "$ecret$word", "{secret}", "secret$word"])
def test_what_may_be_a_password_in_clear_is_never_repeated(secret: str) -> None:
    ((_, why, told),) = passed_of(f"bob;{secret}")
    assert why == "broken"
    assert secret not in told


def test_a_digest_does_not_print() -> None:
    rows, _ = read_accounts(f"ann;{HASH}".encode(), Names())
    assert HASH not in repr(rows)


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "Vadim192.168.1.39",
        "Vadim 192.168.1.39",
        "Vadim,192.168.1.39",
        "Vadim\t192.168.1.39",
        "Vadim; 192.168.1.39",
        "192.168.1.39 Vadim",
    ],
)
@pytest.mark.parametrize("client", ["192.168.1.39", h("192.168.1.39"), h("192.168.1.39").upper(), h("Vadim")])
def test_a_digest_or_an_address_gets_its_name_from_the_list(line: str, client: str) -> None:
    assert imported(f"{client};{HASH}", line) == {"Vadim": HASH}
    assert [(known.name.display, known.address) for known in read_names(line.encode()).known] == [
        ("Vadim", "192.168.1.39")
    ]


@pytest.mark.parametrize("line", ["Vadimfe80::1", "Vadim fe80::1", "Vadim,FE80:0:0:0:0:0:0:1"])
def test_an_IPv6_address_is_told_from_the_name(line: str) -> None:  # noqa: N802 - its name
    assert imported(f"{h('fe80::1')};{HASH}", line) == {"Vadim": HASH}


def test_a_name_alone_stands_for_its_digest_in_either_code_page() -> None:
    assert imported(f"{h('Вадим')};{HASH}", "Вадим") == {"Вадим": HASH}
    assert imported(f"{h('Вадим', 'cp1251')};{HASH}", "Вадим") == {"Вадим": HASH}


def test_digits_at_the_end_of_a_name_go_where_a_digest_says() -> None:
    names = "user110.0.0.5\nbob 110.0.0.7"
    assert imported(f"{h('10.0.0.5')};{HASH}", names) == {"user1": HASH}
    assert imported(f"{h('110.0.0.5')};{HASH}", names) == {"user": HASH}
    assert imported(f"{h('user1')};{HASH}", names) == {"user1": HASH}


def test_a_name_that_stands_with_an_address_comes_before_one_that_might() -> None:
    assert imported(f"{h('10.0.0.5')};{HASH}", "user110.0.0.5\nbob10.0.0.5") == {"bob": HASH}


def test_what_no_name_is_known_for_is_listed() -> None:
    assert passed_of(f"{h('10.0.0.5')};{HASH}\n10.0.0.6;{HASH}", "ann 10.0.0.7") == [
        (1, "unnamed", "no name is known for it"),
        (2, "unnamed", "no name is known for it"),
    ]


def test_two_names_at_one_address_are_not_chosen_between() -> None:
    names = "ann 10.0.0.5\nbob 10.0.0.5"
    assert passed_of(f"{h('10.0.0.5')};{HASH}", names) == [(1, "unnamed", "more than one name is known for it")]
    assert imported(f"{h('bob')};{HASH}", names) == {"bob": HASH}
    assert imported(f"{h('10.0.0.5')};{HASH}", "Ann 10.0.0.5\nann 10.0.0.5") == {"ann": HASH}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("192.168.1.39", "it has no name"),
        ("ade::1", "it has no name"),
        ("Vadim Petrov", "it is neither a name nor a name with its address"),
        ("Vadim Petrov 192.168.1.39", "it is neither a name nor a name with its address"),
        ("Ваdим 192.168.1.39", "“Ваdим” cannot be a name: it mixes letters of more than one alphabet."),
    ],
)
def test_a_broken_line_of_the_list_is_told(line: str, problem: str) -> None:
    names = read_names(f"ann\n{line}\n".encode())
    assert [(passed.line, passed.why, passed.error and passed.error.text()) for passed in names.passed] == [
        (2, Why.BROKEN, problem)
    ]
    assert [known.name.display for known in names.known] == ["ann"]


# --- limits and any input -----------------------------------------------------------------------------------


def test_there_are_limits_to_lines_and_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legacy, "LINES_MOST", 5)
    monkeypatch.setattr(legacy, "ROWS_MOST", 3)
    rows = [f"user{number};{HASH}\n\n" for number in range(6)]
    assert len(imported("".join(rows[:3]))) == 3
    for count, what in ((4, "3 clients"), (6, "5 lines")):
        with pytest.raises(UsageError, match=f"more than {what}"):
            read_accounts("".join(rows[:count]).encode(), Names())
    with pytest.raises(UsageError, match="more than 5 lines"):
        read_names("".join(rows).encode())


LINES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", "ann", "Vadim192.168.1.39", "name;password", f"ann;{HASH}", f"{h('ann')},{HASH}", '"']),
    st.builds(
        "{}{}{}".format, st.text(max_size=8), st.sampled_from(";,:\t "), st.sampled_from([HASH, "$1$", "x"])
    ),
)


@given(st.lists(LINES, max_size=8), st.sampled_from(["utf-8", "cp1251", "utf-16"]), st.binary(max_size=40))
def test_nothing_makes_the_readers_fail_and_every_line_is_one_thing(
    lines: list[str], encoding: str, tail: bytes
) -> None:
    data = "\n".join(lines).encode(encoding, "replace") + tail
    names = read_names(data)
    rows, passed = read_accounts(data, names)
    numbers = sorted([row.line for row in rows] + [line.line for line in passed])
    assert numbers == list(range(1, len(numbers) + 1))
    listed = sorted([known.line for known in names.known] + [line.line for line in names.passed])
    assert listed == numbers
    assert len({row.name.key for row in rows}) == len(rows)
