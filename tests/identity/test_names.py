import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp.utils import saslprep

from antiphon.errors import NameInvalid
from antiphon.identity import names
from antiphon.identity.names import LONGEST, Name, prepare
from support.leaks import assert_takes_less
from support.work import calls_counted

ANYTHING = st.text(st.characters(), max_size=70)
LIKELY = st.text(
    st.sampled_from("annАннἈΣσςİıßﬁａＡｶﾞ山たカー한글אבגابت١2é\u0301\u00ad\u200d\u30fb·'\",=@ \u10a0\u2d00ŉʼ"),
    min_size=1,
    max_size=70,
)


def problem_of(text: str) -> str:
    with pytest.raises(NameInvalid) as caught:
        prepare(text)
    return caught.value.text()


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("ann", Name("ann", "ann")),
        ("Вадим", Name("Вадим", "вадим")),
        ("O'Neill", Name("O'Neill", "o'neill")),
        ("a,b=c", Name("a,b=c", "a,b=c")),
        ("山田たろうジュー", Name("山田たろうジュー", "山田たろうジュー")),
        ("oʼneill", Name("oʼneill", "oʼneill")),  # U+02BC, a letter of no script
        ("漢字한", Name("漢字한", "漢字한")),
        ("אבג", Name("אבג", "אבג")),
        ("ann2000", Name("ann2000", "ann2000")),
        ("a" * LONGEST, Name("a" * LONGEST, "a" * LONGEST)),
    ],
)
def test_a_name_is_kept_as_typed_and_compared_by_its_case_mapped_key(typed: str, name: Name) -> None:
    assert prepare(typed) == name


@pytest.mark.parametrize("variant", ["ANN", "Ann", "ａｎｎ", "ＡＮＮ"])
def test_upper_case_and_full_width_variants_are_one_name(variant: str) -> None:
    assert prepare(variant).key == "ann"


def test_composed_and_decomposed_letters_are_one_name() -> None:
    assert prepare("Rene\u0301") == prepare("René")


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("", "it is empty"),
        ("a" * (LONGEST + 1), "it has more than 64 characters"),
        ("Ann Smith", "it contains a space"),
        ("ann\0", "it contains “\\x00”"),
        ("ann\n", "it contains “\\n”"),
        ("\ud800", "it contains “\\ud800”"),
        ("\u202eann", "it contains “\\u202e”"),
        ("a\u00adnn", "it contains “\\xad”"),
        ("ann😀", "it contains “😀”"),
        ("²", "it contains “²”"),
        ("\u0301a", "it begins with a mark that belongs on a letter"),
        ("אa", "it is written from left to right and from right to left at once"),
        ("аnn", "it mixes letters of more than one alphabet"),  # the first letter is Cyrillic
        ("aー", "it mixes letters of more than one alphabet"),
        ("たろう한", "it mixes letters of more than one alphabet"),
    ],
)
def test_what_cannot_be_a_name_is_refused_with_the_rule_that_it_breaks(typed: str, problem: str) -> None:
    assert problem_of(typed).endswith(f" cannot be a name: {problem}.")


def test_a_name_that_grows_too_long_by_case_mapping_is_refused() -> None:
    assert "more than 64" in problem_of("İ" * LONGEST)


@pytest.mark.parametrize(
    "typed",
    [
        "ꙁ",  # a letter newer than Unicode 3.2, on which SASLprep is based
        "Ⴀ",  # an old letter whose lower case is newer
        "Ƚ",  # a newer letter whose lower case is old
    ],
)
def test_a_name_that_could_never_sign_in_by_scram_is_refused(typed: str) -> None:
    assert "cannot be used to sign in" in problem_of(typed)


def test_the_problem_is_translated_with_the_sentence() -> None:
    with pytest.raises(NameInvalid) as caught:
        prepare("a" * 65)
    russian = {
        "“{name}” cannot be a name: {problem}.": "Имя «{name}» не годится: {problem}.",
        "it has more than {most} characters": "в нём больше {most} знаков",
    }
    assert caught.value.text(lambda message: russian[message]).endswith(" не годится: в нём больше 64 знаков.")


@pytest.mark.parametrize("character", ["a", "é", "\u0301", "\0", "\u202e"])
def test_a_name_of_a_megabyte_costs_nothing(character: str) -> None:
    huge = character * 1_000_000
    with calls_counted() as calls:
        problem_of(huge)
    assert calls.total() < 1000, "it is not looked at character by character"
    assert_takes_less(lambda: problem_of(huge), 64 * 1024)


@given(ANYTHING | LIKELY)
def test_a_text_is_a_name_or_is_refused_as_one(text: str) -> None:
    try:
        name = prepare(text)
    except NameInvalid:
        return
    assert 1 <= len(name.display) <= LONGEST
    assert 1 <= len(name.key) <= LONGEST
    assert prepare(name.key).key == name.key
    assert prepare(name.display) == name
    assert prepare(saslprep(name.display)).key == name.key


def test_plain_names_are_prepared_as_the_profiles_say() -> None:
    """They take a short cut, for each single character and between others."""
    for character in map(chr, range(128)):
        for text in (
            character,
            f"a{character}",
            f"Z{character}9",
            f"1{character}",
            character * 64,
            character * 65,
        ):
            try:
                wanted: Name | str = names._prepared(text)
            except NameInvalid as error:
                wanted = str(error)
            try:
                found: Name | str = names.prepare_afresh(text)
            except NameInvalid as error:
                found = str(error)
            assert found == wanted, text
