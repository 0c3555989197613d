"""What the passwords of a file are: what the file says, what an option says, and what nobody says."""

from hashlib import new

import pytest

from antiphon.errors import UsageError
from antiphon.identity.legacy import Accounts, Hints, Names, Plain, read_accounts
from antiphon.identity.legacy.rows import NO_HINTS
from antiphon.identity.old_forms import HASHES, OldForm

PLAIN = Hints(Plain.PLAIN)


def digest(kind: str, text: str = "cat") -> str:
    return new(kind, text.encode()).hexdigest()


def read(text: str, hints: Hints = NO_HINTS) -> Accounts:
    return read_accounts(text.encode(), Names(), hints, "clients.csv")


def refused(text: str, hints: Hints = NO_HINTS) -> str:
    with pytest.raises(UsageError) as caught:
        read(text, hints)
    return caught.value.text()


def problems(found: Accounts) -> list[tuple[int, str, str]]:
    return [(line.line, line.why, line.error.text() if line.error else "") for line in found.passed]


@pytest.mark.parametrize("kind", HASHES)
def test_a_digest_is_known_by_its_length(kind: str) -> None:
    rows, passed, scheme = read(f"ann;{digest(kind).upper()}\nbob;{digest(kind, 'dog')}\n")
    assert [row.password.text for row in rows] == [digest(kind), digest(kind, "dog")]
    assert (passed, scheme) == ([], OldForm(kind))


@pytest.mark.parametrize("kind", HASHES)
def test_the_digest_of_nothing_makes_no_account(kind: str) -> None:
    found = read(f"ann;{digest(kind, '')}")
    assert problems(found) == [(1, "unsupported", "it is the digest of an empty password")]
    salted = read(f"ann;{digest(kind, 'salt')}", Hints(OldForm(kind, "salt")))
    assert problems(salted) == [(1, "unsupported", "it is the digest of an empty password")]


def test_a_file_of_several_kinds_is_refused_until_an_option_names_one() -> None:
    text = f"ann;{digest('md5')}\nbob;{digest('sha256')}\n"
    assert refused(text) == (
        "The passwords of clients.csv are digests of several kinds (md5, sha256). "
        "Name the one to import with --scheme, such as --scheme sha256."
    )
    found = read(text, Hints(OldForm("sha256")))
    assert [row.name.display for row in found.rows] == ["bob"]
    assert problems(found) == [(1, "unsupported", "passwords of the kind md5 are not supported")]


def test_plain_passwords_are_imported_only_if_a_heading_or_an_option_says_so() -> None:
    assert refused("ann;secret\n") == (
        "The passwords of clients.csv may be plain text, but nothing says so. If they are, add --scheme plain."
    )
    for found in (read("ann;secret\n", PLAIN), read("name;password\nann;secret\n")):
        assert [(row.name.display, row.password.text) for row in found.rows] == [("ann", "secret")]
        assert found.scheme is Plain.PLAIN


def test_a_heading_that_speaks_of_digests_makes_nothing_plain() -> None:
    for heading in ("name;hash", "name;md5(password)", "name;password_hash"):
        found = read(f"{heading}\nann;secret\n")
        assert problems(found)[1:] == [(2, "broken", "it is not a digest of 32 hexadecimal digits")]


def test_plain_passwords_beside_digests_are_refused_until_an_option_says_what_they_are() -> None:
    text = f"name;password\nann;{digest('md5')}\nbob;secret\n"
    assert refused(text) == (
        "Some passwords of clients.csv look like md5, others like plain text (as in line 3, column 5). "
        "Say what they are: --scheme plain or --scheme md5."
    )
    assert [row.password.text for row in read(text, PLAIN).rows] == [digest("md5"), "secret"]
    assert [row.name.display for row in read(text, Hints(OldForm("md5"))).rows] == ["ann"]


@pytest.mark.parametrize(
    "password",
    [
        "W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "1B2M2Y8AsgTpgAmY7PhCfg==",
        "a1" * 17,
        "b'secret'",
        "'secret'",
        r"\x5f\x4d",
    ],
)
def test_a_digest_in_another_spelling_is_not_taken_for_plain_text(password: str) -> None:
    told = refused(f"name;password\nann;{password}\n")
    assert "written in another way (as in line 2, column 5)" in told
    assert "--scheme plain" in told
    assert password not in told
    assert len(read(f"name;password\nann;{password}\n", PLAIN).rows) == 1


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("🐈", "it contains an emoji or another character that cannot be used to sign in"),
        ("$2b$12$" + "a" * 53, "passwords of the kind $2b$ are not supported"),
        ("x" * 990, None),
    ],
)
def test_a_plain_password_that_cannot_sign_in_makes_no_account(password: str, problem: str | None) -> None:
    found = read(f"ann;{password}\n", PLAIN)
    assert problems(found) == ([] if problem is None else [(1, "unsupported", problem)])


def test_an_address_is_no_password() -> None:
    assert problems(read("ann;192.0.2.1\n", PLAIN)) == [(1, "broken", "it is an address")]


def test_thirteen_letters_in_clear_are_not_taken_for_crypt_where_a_heading_says_password() -> None:
    assert len(read("name;password\nann;kittens234567\n").rows) == 1
