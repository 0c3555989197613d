"""The readers for the lines of an old system's files: how each line is classified."""

from hashlib import md5

import pytest

from antiphon.errors import UsageError
from antiphon.identity.legacy import Hints, Names, Plain, Why, accounts, read_accounts, read_names, rows
from antiphon.identity.legacy.rows import NO_HINTS

SECRET = "secret"


def h(text: str, encoding: str = "utf-8") -> str:
    return md5(text.encode(encoding)).hexdigest()


HASH = h(SECRET)


def imported(text: str | bytes, names: str = "") -> dict[str, str]:
    """Return names and digests of a file; check that every line is in one of the two lists."""
    data = text if isinstance(text, bytes) else text.encode()
    found, passed, _ = read_accounts(data, read_names(names.encode()))
    numbers = [row.line for row in found] + [line.line for line in passed]
    count = len(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n").split(b"\n"))
    assert sorted(numbers) == list(range(1, count + 1))
    return {row.name.display: row.password.text for row in found}


PLAIN = Hints(Plain.PLAIN)


def in_clear(text: str, hints: Hints = PLAIN, names: str = "") -> dict[str, str]:
    """Return names and passwords of a file of plain passwords."""
    found, *_ = read_accounts(text.encode(), read_names(names.encode()), hints)
    return {row.name.display: row.password.text for row in found}


def refused(text: str, hints: Hints = NO_HINTS, names: str = "") -> str:
    with pytest.raises(UsageError) as caught:
        read_accounts(text.encode(), read_names(names.encode()), hints, "clients.csv")
    return caught.value.text()


def passed_of(text: str, names: str = "") -> list[tuple[int, str, str]]:
    _, passed, _ = read_accounts(text.encode(), read_names(names.encode()))
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
        ("A1" * 48, "SHA-384"),
        ("pbkdf2:sha256:260000$salt$" + "a1" * 32, "pbkdf2:sha256:260000$"),
        ("scrypt:32768:8:1$salt$" + "a1" * 64, "scrypt:32768:8:1$"),
    ],
)
@pytest.mark.parametrize("delimiter", [";", ",", ":"])
def test_another_scheme_is_listed_as_not_supported(hashed: str, scheme: str, delimiter: str) -> None:
    told = f"passwords of the kind {scheme} are not supported"
    assert passed_of(f"ann{delimiter}{hashed}") == [(1, "unsupported", told)]


def test_an_empty_password_makes_no_account() -> None:
    assert passed_of(f"ann;{h('')}") == [(1, "unsupported", "it is the digest of an empty password")]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("ann", "the number of its fields is 1, not 2"),
        (HASH, "the number of its fields is 1, not 2"),
        (f"192.168.1.39;ann;{HASH}", "the number of its fields is 3, not 2"),
        (f"ann;{HASH};x", "the number of its fields is 3, not 2"),
        (f'"ann;{HASH}', "its quotation marks do not match"),
        (f'"ann"x;{HASH}', "its quotation marks do not match"),
        ("ann;", "it is empty"),
        (f"ann;{HASH[:-1]}", "it is not a digest of 32 hexadecimal digits"),
        (f"ann;{HASH[:-1]}g", "it is not a digest of 32 hexadecimal digits"),
        (f";{HASH}", "it is empty"),
        (f"two words;{HASH}", "it contains a space"),
        (f"Ваdим;{HASH}", "it mixes letters of more than one alphabet"),
        (f"an\u00a9;{HASH}", "it contains a character that no name can have"),
        (f"an=n;{HASH}", "it contains a separator, an equals sign, a bracket or a quotation mark"),
        ("x" * 1001, "it has more than 1000 characters"),
        (";" * 40, "it has more than 30 fields"),
    ],
)
def test_a_broken_line_is_listed_with_the_reason(row: str, problem: str) -> None:
    assert passed_of(f"bob;{HASH}\ncleo;{HASH}\n{row}") == [(3, "broken", problem)]


@pytest.mark.parametrize("secret", ["hunter2", "$ecret$word", "{secret}", "secret$word"])
def test_what_may_be_a_password_in_clear_is_never_repeated(secret: str) -> None:
    ((_, why, told),) = passed_of(f"ann;{HASH}\nbob;{secret}")
    assert why == "broken"
    assert secret not in told
    assert secret not in refused(f"bob;{secret}")


def test_a_digest_does_not_print() -> None:
    found, *_ = read_accounts(f"ann;{HASH}".encode(), Names())
    assert HASH not in repr(found)


# --- separators and columns ---------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [";", ",", "\t", ":", "|", " ", "   ", " | "])
@pytest.mark.parametrize("end", ["", ";"])
def test_an_address_may_stand_before_behind_or_after_the_name(separator: str, end: str) -> None:
    rows = ["192.0.2.1 ann secret", "192.0.2.2 Вадим кот", "2001:db8::1 李 x1"]
    end = "" if separator.isspace() else end and separator
    for first, second, third in ((0, 1, 2), (1, 0, 2), (1, 2, 0)):
        lines = [separator.join((row[first], row[second], row[third])) + end for row in map(str.split, rows)]
        if separator == ":":
            del lines[2]
        found = in_clear("\n".join(lines))
        assert found == {"ann": "secret", "Вадим": "кот", "李": "x1"} | {} or separator == ":"
        assert (found["ann"], found["Вадим"]) == ("secret", "кот")


def test_an_IPv6_address_does_not_make_the_colon_the_separator() -> None:  # noqa: N802 - its name
    assert in_clear("2001:db8::1 ann secret\n2001:db8::2 bob cat") == {"ann": "secret", "bob": "cat"}


@pytest.mark.parametrize(
    ("heading", "row"),
    [
        ("ip;name;password", "192.0.2.1;ann;secret"),
        ("ip;name;password;", "192.0.2.1;ann;secret;"),
        ("Name;Address;Password;Port", "ann;192.0.2.1;secret;5000"),
        ("login,name,pwd", "ann,Ann Smith,secret"),
        ("id|login|pass|created", "17|ann|secret|2026-03-01"),
        ("Пароль\tИмя", "secret\tann"),
        ("password name", "secret ann"),
        ("user_name;user_password", "ann;secret"),
    ],
)
def test_a_heading_says_which_field_is_which(heading: str, row: str) -> None:
    assert in_clear(f"{heading}\n{row}\n", Hints()) == {"ann": "secret"}


def test_a_heading_may_be_given_by_an_option() -> None:
    text = "17;ann;secret;x\n18;bob;cat;y\n"
    assert passed_of(text)[0] == (
        1,
        "broken",
        "it has 4 fields, and nothing says which is which: name them with --columns, as in ip,name,password",
    )
    assert in_clear(text, Hints(columns=("-", "name", "password", "-"))) == {"ann": "secret", "bob": "cat"}
    assert in_clear(f"number;who;what;z\n{text}", Hints(Plain.PLAIN, columns=("-", "name", "password", "-"))) == {
        "who": "what",
        "ann": "secret",
        "bob": "cat",
    }


@pytest.mark.parametrize("heading", ["name;password;hash", "login;password;пароль"])
def test_of_two_columns_with_passwords_none_is_chosen(heading: str) -> None:
    ((_, why, told),) = passed_of(f"{heading}\nann;{HASH};{HASH}")[1:]
    assert why == "broken"
    assert "--columns" in told


def test_a_password_with_a_salt_of_its_own_makes_no_account() -> None:
    for heading, row in (("name;hash;salt", f"ann;{HASH};abc"), ("name;hash", f"ann;{HASH}:abc")):
        ((_, why, told),) = passed_of(f"{heading}\n{row}")[1:]
        assert why in ("broken", "unsupported")
        assert "salt of its own" in told


def test_a_line_that_lacks_a_field_takes_no_other_for_it() -> None:
    text = "192.0.2.1;ann;secret\n192.0.2.2;bob\n192.0.2.3;cleo;\n192.0.2.4;dora;cat"
    found, passed, _ = read_accounts(text.encode(), read_names(b"bob 192.0.2.2"), PLAIN)
    assert [row.name.display for row in found] == ["ann", "dora"]
    assert [(line.line, line.why, line.error and line.error.text()) for line in passed] == [
        (2, Why.BROKEN, "the number of its fields is 2, not 3"),
        (3, Why.BROKEN, "it is empty"),
    ]


def test_a_line_that_has_a_field_more_leaves_the_others_as_they_are() -> None:
    text = "192.0.2.1;ann;secret\n192.0.2.2;bob;se;cret\n"
    found, passed, _ = read_accounts(text.encode(), Names(), PLAIN)
    assert [row.name.display for row in found] == ["ann"]
    assert [line.error and line.error.text() for line in passed] == ["the number of its fields is 4, not 3"]


@pytest.mark.parametrize("name", ["Vadim192.0.2.1", "user110.0.0.5"])
def test_a_name_with_an_address_directly_behind_it_is_no_name(name: str) -> None:
    assert passed_of(f"bob;{HASH}\n{name};{HASH}") == [
        (2, "broken", "an address stands directly behind it: put a separator between them")
    ]


def test_a_name_of_two_words_is_not_split_into_name_and_password() -> None:
    text = "Ann Smith;secret\nBob Jones;cat\n"
    assert "Name the right one with --separator" in refused(text, PLAIN)
    assert in_clear(text, Hints(Plain.PLAIN, separator=";")) == {}
    assert "--separator" in refused("Smith, Ann;secret\nJones, Bob;cat\n", PLAIN)


def test_a_separator_in_some_passwords_is_a_character_like_others() -> None:
    assert in_clear("ann,hunter2\nbob,hun:ter\n") == {"ann": "hunter2", "bob": "hun:ter"}
    assert in_clear('ann;"a;b"\nbob;c""d\n') == {"ann": "a;b", "bob": 'c""d'}
    assert in_clear("ann;a,b\n", Hints(Plain.PLAIN, separator=";")) == {"ann": "a,b"}


def test_the_separator_of_the_option_counts_alone() -> None:
    assert in_clear("ann;x,secret\n", Hints(Plain.PLAIN, separator=",")) == {}
    assert in_clear("ann secret\n", Hints(Plain.PLAIN, separator=" ")) == {"ann": "secret"}


def test_a_name_of_a_field_is_no_client_and_refuses_the_file() -> None:
    told = refused(f"ann;{HASH}\npassword;{HASH}\n")
    assert told.startswith("clients.csv, line 2, column 1: the name of a field stands where a client's is")
    assert "name of a field" in refused(f"name: ann\npassword: {HASH}\n")


def test_fields_of_a_line_have_columns() -> None:
    _, passed, _ = read_accounts(f'ann;{HASH}\n "two  words" ; {HASH}\nbob;  x\n'.encode(), Names())
    assert [(line.line, line.column, line.field) for line in passed] == [(2, 2, "name"), (3, 7, "password")]


# --- what has no passwords ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["ann;192.0.2.1\nbob;192.0.2.2", "192.0.2.1 ann", "ip;name\n192.0.2.1;ann", "2001:db8::1,ann"]
)
def test_a_file_of_names_and_addresses_is_told_from_one_with_passwords(text: str) -> None:
    told = refused(text)
    assert told.startswith("clients.csv holds names and addresses, but no passwords: give it to --names")
    assert "--scheme plain" in told


def test_addresses_beside_plain_passwords_are_imported_where_an_option_says_so() -> None:
    assert in_clear("192.0.2.1;secret", PLAIN, "ann 192.0.2.1") == {"ann": "secret"}
    assert in_clear("ip;password\n192.0.2.1;secret", Hints(), "ann 192.0.2.1") == {"ann": "secret"}
    assert in_clear("ann;192.0.2.1", PLAIN) == {}


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
        ("Ваdим 192.168.1.39", "it mixes letters of more than one alphabet"),
        ("bob:hunter2", "it is neither a name nor a name with its address"),
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
    monkeypatch.setattr(rows, "LINES_MOST", 5)
    monkeypatch.setattr(accounts, "ROWS_MOST", 3)
    each = [f"user{number};{HASH}\n\n" for number in range(6)]
    assert len(imported("".join(each[:3]))) == 3
    for count, what in ((4, "3 clients"), (6, "5 lines")):
        with pytest.raises(UsageError, match=f"more than {what}"):
            read_accounts("".join(each[:count]).encode(), Names())
    with pytest.raises(UsageError, match="more than 5 lines"):
        read_names("".join(each).encode())
