"""Old forms of passwords: their names, and what they make of a password."""

from hashlib import md5, sha224, sha256, sha512

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.identity.old_forms import MD5, OldForm, old_forms, read_form
from antiphon.identity.passwords import Password


def h(text: str, encoding: str = "utf-8") -> str:
    return md5(text.encode(encoding)).hexdigest()


def test_the_forms_of_a_password_are_its_digests() -> None:
    assert MD5.digests("ann") == [h("ann")]
    assert MD5.digests("пароль") == [h("пароль"), h("пароль", "cp1251")]
    assert MD5.digests("密码") == [h("密码")]
    assert MD5.digests("\ud800") == []
    assert [form.text for form in old_forms(Password("пароль"), [MD5])] == MD5.digests("пароль")
    assert old_forms(Password(""), [MD5]) == []
    assert old_forms(Password("ann"), []) == []


@pytest.mark.parametrize(("name", "function"), [("sha224", sha224), ("sha256", sha256), ("sha512", sha512)])
def test_each_hash_function_is_the_one_of_that_name(name: str, function: type) -> None:
    form = read_form(name)
    assert form
    assert form.digests("cat") == [function(b"cat").hexdigest()]
    assert len(form.digests("cat")[0]) == form.digits


def test_a_salt_stands_behind_the_password() -> None:
    assert OldForm("md5", "salt").digests("cat") == [md5(b"cat" + b"salt").hexdigest()]
    assert OldForm("sha256", "соль").digests("cat")[0] == sha256("catсоль".encode()).hexdigest()


def test_two_forms_are_tried_at_most() -> None:
    forms = [MD5, OldForm("sha256"), OldForm("sha512")]
    assert old_forms(Password("cat"), forms) == [
        Password(h("cat")),
        Password(sha256(b"cat").hexdigest()),
    ]


@pytest.mark.parametrize("name", ["", "md4", "MD5", "md5+", "+salt", "md5 ", "plain", "md5+" + "x" * 65, "md5+\n"])
def test_what_names_no_form_is_none(name: str) -> None:
    assert read_form(name) is None


@given(st.sampled_from(["md5", "sha224", "sha256", "sha512"]), st.text(max_size=80))
def test_a_name_is_read_back_or_is_none(hash_: str, salt: str) -> None:
    form = OldForm(hash_, salt)
    assert read_form(str(form)) in (form, None)
