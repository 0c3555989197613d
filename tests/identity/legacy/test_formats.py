"""Files of other formats: each is refused as a whole, with a sentence that says what it is and what to do."""

import gzip
import io
import pickle
import pickletools
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import UsageError
from antiphon.identity.legacy import Hints, Names, Plain, read_accounts, read_names

SECRET = "hunter2"
PLAIN = Hints(Plain.PLAIN)
PEOPLE = {"ann": SECRET, "bob": SECRET}


def refused(data: bytes | str, hints: Hints = PLAIN) -> str:
    data = data if isinstance(data, bytes) else data.encode()
    with pytest.raises(UsageError) as caught:
        read_accounts(data, Names(), hints, "clients.dat")
    told = caught.value.text()
    assert SECRET not in told
    assert "ann" not in told
    with pytest.raises(UsageError) as caught:
        read_names(data, "clients.dat")
    assert caught.value.text() == told
    return told


class Trap:
    """An object whose pickle runs a program when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Make the pickle call `open` for a file that the test looks for."""
        return Path.touch, (Path("loaded"),)  # type: ignore[return-value]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("people", [PEOPLE, list(PEOPLE.items()), [["ann", SECRET]], Trap()])
def test_a_pickle_of_any_protocol_is_never_loaded(
    people: object, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(people, protocol)
    pickletools.dis(data, io.StringIO())
    told = refused(data)
    assert told.startswith("clients.dat is a pickle of Python, which is never loaded here")
    assert "json.dump" in told
    assert not (tmp_path / "loaded").exists()


def test_an_sqlite_database_is_told(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as database, database:
        database.execute("CREATE TABLE users (name, password)")
        database.execute("INSERT INTO users VALUES ('ann', 'hunter2')")
    told = refused((tmp_path / "x.db").read_bytes())
    assert told.startswith("clients.dat is an SQLite database: export the table")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("text", ["ann;hunter2\n", '{"ann": "hunter2"}', "name;password\r\nann;hunter2\r\n"])
def test_utf_16_is_told(encoding: str, text: str) -> None:
    told = refused(text.encode(encoding))
    assert told.startswith("clients.dat is in UTF-16: save it as UTF-8, for example with iconv")


@pytest.mark.parametrize(
    "text",
    [
        f"ann:\n  password: {SECRET}\n",
        f"ann:\n  name: ann\n  password: {SECRET}\nbob:\n  password: {SECRET}\n",
        f"- name: ann\n  password: {SECRET}\n",
        f"clients:\n  - ann: {SECRET}\n",
        f"---\nann: {SECRET}\n",
        f"# people\nclients:\n    ann: {SECRET}\n",
    ],
)
def test_yaml_is_told(text: str) -> None:
    assert refused(text).startswith("clients.dat is YAML: load it in Python with yaml.safe_load")


@pytest.mark.parametrize(
    "text",
    [
        repr(PEOPLE),
        repr(list(PEOPLE.items())),
        repr(tuple(PEOPLE.items())),
        f"users = {PEOPLE!r}",
        f"users: dict[str, str] = {PEOPLE!r}",
        repr({"ann": SECRET.encode()}),
        repr({"ann": (SECRET, None)}),
        f"('ann', '{SECRET}')\n('bob', '{SECRET}')\n",
        f"import socket\nusers = {PEOPLE!r}\n",
        '{"ann": True}',
        f'[("ann", "{SECRET}")]',
    ],
)
def test_python_literals_are_told(text: str) -> None:
    assert refused(text).startswith("clients.dat is Python: read it there with ast.literal_eval")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (gzip.compress(b"ann;x", mtime=0), "is an archive or a spreadsheet"),
        (b"PK\x03\x04" + b"x" * 50, "is an archive or a spreadsheet"),
        ("[users]\nann = hunter2\n", "is a configuration file (INI or TOML)"),
        ("<users><user name='ann'/></users>", "is XML or HTML"),
        (b"ann;hunter2\x07\n", "is no text in UTF-8 or the old Windows code page"),
        (b"ann;\x98hunter2\n", "is no text in UTF-8 or the old Windows code page"),
        (b"\x7fELF\x01\x02", "is no text in UTF-8 or the old Windows code page"),
    ],
)
def test_other_formats_are_told(data: bytes | str, told: str) -> None:
    assert refused(data).startswith(f"clients.dat {told}")


@pytest.mark.parametrize(
    "text",
    [
        f'  "ann": {{\n    "password": "{SECRET}"\n  }}\n}}\n',
        f'"ann": "{SECRET}",\n"bob": "{SECRET}"\n',
        f'ann;{SECRET}\n{{"ann": "{SECRET}"}}\n',
        f"ann;{SECRET}\n}}\n",
    ],
)
def test_a_part_of_json_is_refused_as_a_whole(text: str) -> None:
    assert "this looks like a part of JSON" in refused(text)


@pytest.mark.parametrize("size", [2 * 1024 * 1024])
@pytest.mark.parametrize(
    "pattern",
    [b" ", b"\n", b"{", b"[", b'"', b"'", b"\\", b"a:", b", ", b"a=", b"- ", b"{ ", b'{"', b"$1$", b"(S", b"a;",
     b";", b"1", b"\xd0\xb0", b"::", b"a\n", b'["', b'"a":', b"[1,", b'\\"'],
)  # fmt: skip
@pytest.mark.timeout(200)
def test_the_largest_files_of_one_pattern_are_read_or_refused_soon(pattern: bytes, size: int) -> None:
    data = (pattern * size)[: size - len(pattern) - 1]
    for whole in (data, b'{"' + data, b"ann;" + data, b"x\n" + data + b"x"):
        for read in (lambda: read_accounts(whole, Names(), Hints(Plain.PLAIN)), lambda: read_names(whole)):  # noqa: B023
            with suppress(UsageError):
                read()


LINE = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", "ann", "Vadim192.0.2.1", "name;password", "ann;" + "a1" * 16, '"', "{", "- a: b"]),
    st.builds(
        "{}{}{}".format,
        st.text(max_size=8),
        st.sampled_from(";,:\t |"),
        st.sampled_from(["a1" * 16, "b2" * 32, "$1$", "x", "secret"]),
    ),
)
HINTS = st.builds(
    Hints,
    st.sampled_from([None, Plain.PLAIN]),
    st.sampled_from([None, *";\t,|: "]),
    st.sampled_from([(), ("ip", "name", "password"), ("-", "name", "hash")]),
)


@given(st.lists(LINE, max_size=8), st.sampled_from(["utf-8", "cp1251", "utf-16"]), st.binary(max_size=40), HINTS)
def test_nothing_makes_the_readers_fail_and_every_line_is_one_thing(
    lines: list[str], encoding: str, tail: bytes, hints: Hints
) -> None:
    data = "\n".join(lines).encode(encoding, "replace") + tail
    try:
        names = read_names(data)
        rows, passed, _ = read_accounts(data, names, hints)
    except UsageError:
        return
    numbers = sorted([row.line for row in rows] + [line.line for line in passed])
    if not data.lstrip().startswith((b"{", b"[")):
        assert numbers == list(range(1, len(numbers) + 1))
        listed = sorted([known.line for known in names.known] + [line.line for line in names.passed])
        assert listed == numbers
    assert len({row.name.key for row in rows}) == len(rows)


@given(st.binary(max_size=200), HINTS)
def test_what_no_file_says_never_becomes_an_account(data: bytes, hints: Hints) -> None:
    try:
        rows, *_ = read_accounts(data, Names(), hints)
    except UsageError:
        return
    text = data.decode("utf-8-sig", "ignore") + data.decode("cp1251", "ignore")
    for row in rows:
        assert row.name.key in text.casefold()
        assert row.password.text in text or row.password.text in text.lower()


GOOD = ("name;password\n" + "".join(f"user{number};{SECRET}\n" for number in range(5))).encode()


@given(st.integers(0, len(GOOD)), st.sampled_from([0, 1, 7, 8, 14, 27, 127]))
def test_a_control_character_anywhere_refuses_the_file(at: int, control: int) -> None:
    with pytest.raises(UsageError):
        read_accounts(GOOD[:at] + bytes([control]) + GOOD[at:], Names())
