"""JSON of old systems: the shapes that are read, and what is said of the others."""

import json
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import UsageError
from antiphon.identity.legacy import Accounts, Hints, Names, Plain, json_text, read_accounts, read_names, rows
from antiphon.identity.legacy.formats import Text
from antiphon.identity.legacy.json_text import Node, parse_json
from antiphon.identity.legacy.rows import NO_HINTS

HASH = md5(b"cat").hexdigest()
PLAIN = Hints(Plain.PLAIN)


def read(value: object, hints: Hints = NO_HINTS, names: Names | None = None) -> Accounts:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return read_accounts(text.encode(), names or Names(), hints, "clients.json")


def refused(value: object, hints: Hints = NO_HINTS) -> str:
    with pytest.raises(UsageError) as caught:
        read(value, hints)
    return caught.value.text()


def found(value: object, hints: Hints = NO_HINTS, names: Names | None = None) -> dict[str, str]:
    accounts = read(value, hints, names)
    assert accounts.passed == []
    return {row.name.display: row.password.text for row in accounts.rows}


OBJECT = {"name": "ann", "password": "secret"}


@pytest.mark.parametrize(
    "value",
    [
        {"192.0.2.1": OBJECT},
        {"1": OBJECT},
        {md5(b"192.0.2.1").hexdigest(): OBJECT},
        {"ann": {"password": "secret"}},
        {"ann": {"password": "secret", "ip": "192.0.2.1", "port": 5000, "history": ["x"], "last": None}},
        {"clients": [OBJECT]},
        {"clients": {"192.0.2.1": OBJECT}},
        {"users": {"ann": {"password": "secret"}}, "version": 2, "sessions": {"x": "y"}},
        [OBJECT],
        [{"ip": "192.0.2.1", **OBJECT}],
        [{"id": 1, "login": "ann", "name": "Ann Smith", "pass": "secret"}],
        OBJECT,
    ],
)
def test_objects_say_which_is_which(value: object) -> None:
    assert found(value) == {"ann": "secret"}


@pytest.mark.parametrize(
    "value",
    [
        {"ann": "secret"},
        {"192.0.2.1": ["ann", "secret"]},
        {"7": ["ann", "secret"]},
        {"ann": ["secret"]},
        [["192.0.2.1", "ann", "secret"]],
        [["ann", "secret"]],
        [{"ann": "secret"}],
        {"data": [["ann", "secret"]]},
    ],
)
def test_plain_passwords_without_a_key_that_says_so_need_an_option(value: object) -> None:
    assert found(value, PLAIN) == {"ann": "secret"}
    assert refused(value).endswith("If they are, add --scheme plain.")


@pytest.mark.parametrize(
    "value",
    [
        {"ann": HASH},
        {"ann": {"hash": HASH}},
        {"clients": [{"name": "ann", "password": HASH}]},
        {"17": ["ann", HASH]},
        {"192.0.2.1": ["ann", HASH.upper()]},
        [["192.0.2.1", "ann", HASH]],
        {"192.0.2.1": {"name": "ann", "password_hash": HASH}},
    ],
)
def test_digests_need_no_option(value: object) -> None:
    assert found(value) == {"ann": HASH}


def test_a_client_without_a_name_gets_it_from_the_list_which_may_be_json_too() -> None:
    names = read_names(b'{"192.0.2.1": "Vadim", "bob": "192.0.2.2", "192.0.2.3": ["cleo", "x"]}')
    names_in_objects = read_names(b'{"clients": [{"name": "Vadim", "ip": "192.0.2.1", "password": "x"}]}')
    for each in (names, names_in_objects):
        assert found({"192.0.2.1": HASH}, names=each) == {"Vadim": HASH}
        assert found([{"ip": "192.0.2.1", "password": "cat"}], names=each) == {"Vadim": "cat"}
    assert found({"192.0.2.2": HASH, "192.0.2.3": HASH}, names=names) == {"bob": HASH, "cleo": HASH}
    assert [known.line for known in names.known] == [1, 1, 1]
    unnamed = read({"192.0.2.9": HASH}, names=names)
    assert [(line.line, line.column, line.why) for line in unnamed.passed] == [(2, 3, "unnamed")]


@pytest.mark.parametrize(
    "value",
    [
        {"192.0.2.1": "ann", "192.0.2.2": "bob"},
        {"ann": "192.0.2.1"},
        {"192.0.2.1": {"name": "ann"}},
        {"clients": [{"ip": "2001:db8::1", "name": "ann"}]},
        [["192.0.2.1", "ann"]],
    ],
)
def test_names_and_addresses_alone_are_told_from_passwords(value: object) -> None:
    told = refused(value)
    assert told.startswith("clients.json holds names and addresses, but no passwords: give it to --names")
    assert read_names(json.dumps(value).encode()).known


def test_of_the_same_client_twice_the_last_one_counts_also_in_one_object() -> None:
    accounts = read(f'{{"ann": "{md5(b"a").hexdigest()}",\n "ANN": "{HASH}"}}')
    assert [(row.name.display, row.password.text) for row in accounts.rows] == [("ANN", HASH)]
    assert [(line.line, line.why) for line in accounts.passed] == [(1, "repeated")]
    again = read(f'{{"ann": "{md5(b"a").hexdigest()}", "ann": "{HASH}"}}')
    assert [row.password.text for row in again.rows] == [HASH]


@pytest.mark.parametrize(
    ("value", "line", "column", "problem"),
    [
        ('{"ann": ["secret word", true]}', 1, 25, "this is neither text nor an object or array of texts"),
        ('{"ann": "secret",\n "bob": 5}', 2, 9, "this is neither text nor an object or array of texts"),
        ('{"ann": {"password": 17}}', 1, 22, "this is neither text nor an object or array of texts"),
        (f'{{"ann": ["secret", "{HASH}"]}}', 1, 2, "it has 3 fields, and nothing says which is which"),
        ('{"7": ["192.0.2.1", "secret"]}', 1, 8, "no name is known for it"),
        ('{"ann": ["secret", "x"]}', 1, 2, "it has 3 fields, and nothing says which is which"),
        ('{"ann": {"age": "17"}}', 1, 2, "it has no password"),
        ('{"two words": {"password": "x"}}', 1, 2, "it contains a space"),
        ('{"192.0.2.1": {"name": "", "password": "x"}}', 1, 24, "it is empty"),
        ('[{"password": "x"}]', 1, 2, "it has neither a name nor an address"),
        ('[{"name": "ann", "password": "x", "hash": "y"}]', 1, 2, "two columns or keys look like the password"),
        ('[{"name": "ann", "hash": "x", "salt": "y"}]', 1, 2, "its password is hashed with a salt of its own"),
        ("[17]", 1, 2, "this is neither text nor an object or array of texts"),
        ('["ann"]', 1, 2, "this is neither text nor an object or array of texts"),
        ('[["ann"]]', 1, 2, "the number of its fields is 1, not 2"),
    ],
)
def test_what_is_no_account_is_told_by_line_and_column_and_never_repeated(
    value: str, line: int, column: int, problem: str
) -> None:
    accounts = read(value, PLAIN)
    (passed,) = accounts.passed
    assert passed.error
    assert (passed.line, passed.column) == (line, column)
    assert passed.why == ("unnamed" if problem.startswith("no name") else "broken")
    told = passed.error.text()
    assert told.startswith(problem)
    for secret in ("secret", "two words", "17"):
        assert secret not in told


def test_a_key_of_a_field_in_the_place_of_a_client_refuses_the_file() -> None:
    told = refused({"ann": HASH, "password": HASH})
    assert told.startswith("clients.json, line 3, column 3: the name of a field stands where a client's is")


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('{"ann": "secret"', 1, 17),
        ('{\n  "ann": "secret",\n}', 3, 1),
        ('{"ann" "secret"}', 1, 8),
        ('{"ann": "sec\nret"}', 1, 9),
        ('{"ann": "secret"} x', 1, 19),
        ('{"ann": "\\ud800"}', 1, 9),
        ('{"ann": secret}', 1, 9),
        ('[["ann", "secret"]', 1, 19),
        ('{"ann": "secret"}\n{"bob": "secret"}', 2, 1),
    ],
)
def test_broken_json_is_refused_with_line_and_column(text: str, line: int, column: int) -> None:
    told = refused(text, PLAIN)
    assert told == (
        f"clients.json looks like JSON, but it is broken at line {line}, column {column}. Nothing of it was read."
    )


VALID = json.dumps({"clients": [{"name": "ann", "password": HASH}, {"name": "bob", "password": HASH}]}, indent=1)


@given(st.integers(1, len(VALID) - 1))
def test_of_a_file_that_was_cut_off_nothing_is_read(length: int) -> None:
    with pytest.raises(UsageError):
        read(VALID[:length])
    with pytest.raises(UsageError):
        read(VALID[length:])


def test_there_are_limits_to_depth_values_and_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "more than 8 levels" in refused("[" * 10 + "]" * 10)
    assert "more than 8 levels" in refused('{"a":' * 100_000)
    monkeypatch.setattr(json_text, "VALUES_MOST", 5)
    assert "more than 5 values" in refused([1, 2, 3, 4, 5])
    monkeypatch.undo()
    monkeypatch.setattr(rows, "LINES_MOST", 2)
    assert "more than 2 lines" in refused(dict.fromkeys(("ann", "bob", "cleo"), HASH))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


def plain(node: Node) -> object:
    if node.is_object:
        return {key.text: plain(value) for key, value in node.members}
    return [plain(item) for item in node.items] if node.is_array else node.text


def without_scalars(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_scalars(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_scalars(inner) for inner in value]
    return value if isinstance(value, str) else None


@given(JSON, st.sampled_from([None, 1, 4]), st.booleans())
def test_the_parser_reads_what_python_writes(value: object, indent: int | None, ascii_: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_)
    try:
        node = parse_json(Text(text, is_json=True, path="-"))
    except UsageError as error:
        assert "levels" in error.text()  # noqa: PT017 - the only error that valid JSON may have
    else:
        assert plain(node) == without_scalars(value)
