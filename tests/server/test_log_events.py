"""What a server tells its log (issue 2, item 5): every event, one record a line, UTC, sizes only, no secret."""

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from antiphon.wire.bodies import Error, Register
from antiphon.wire.kinds import Kind
from support.log_records import Record, records
from support.processes import PASSWORD
from support.raw import RawClient
from support.serving import credential, seed, serving

SECRET_TEXT = "the text of a message"
HOSTILE = ["a\nb", "a\r\n2026-01-01T00:00:00Z info signed-in", "a\x1b[2J", "a\u2028b", "a\u202eb", 'a" name="root']


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Record], str, list[bytes]]:
    """The log of a server on which everything has happened once, its text, and the tokens that it gave."""
    folder = tmp_path_factory.mktemp("log") / "data"
    tokens = seed(folder, "seeded")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        options: dict[str, Any] = {
            "plain": True,
            "log_level": "debug",
            "port": taken.getsockname()[1],
            "entry_seconds": 5,
        }
        with serving(folder, **options) as server:
            with server.client() as client:
                tokens.append(client.sign_in("Вадим", PASSWORD, new=True).token or b"")
                client.ask(SECRET_TEXT)
                client.leave()
            with server.client() as client:
                client.hello()
                assert isinstance(client.authenticate("Вадим", "a wrong password"), Error)
            with server.client() as client:
                client.hello()
                for name in HOSTILE:
                    assert refused(client, name) == "name-invalid"
            with server.session(tokens[0]) as client:
                client.ask(SECRET_TEXT)  # and the link is lost
            with server.client() as client:
                client.hello()
                client.send(b"rubbish, rubbish")
                client.closed()
            log = server.server.log_path
    return records(log), log.read_text("utf-8"), tokens


def refused(client: RawClient, name: str) -> str:
    body = client.request(Kind.REGISTER, Register(name=name, credential=credential()))
    return body.code if isinstance(body, Error) else ""


def the(story: tuple[list[Record], str, list[bytes]], event: str) -> list[Record]:
    return [record for record in story[0] if record.event == event]


@pytest.mark.parametrize(
    ("event", "level", "fields"),
    [
        ("started", "info", ["pid=", "version="]),
        ("listening", "info", ["port=", "moved_from=", "addresses="]),
        ("connected", "info", ["address=127.0.0.1:"]),
        ("registered", "info", ['name="Вадим"', "address=127.0.0.1:"]),
        ("signed-in", "info", ['name="Вадим"', "address=127.0.0.1:"]),
        ("refused", "warning", ['name="Вадим"', "address=127.0.0.1:", 'code="sign-in-refused"']),
        ("resumed", "info", ['name="seeded"', "address=127.0.0.1:"]),
        ("received", "debug", ['name="Вадим"', "size=21"]),
        ("sent", "debug", ['name="Вадим"', "size=21"]),
        ("left", "info", ["address=127.0.0.1:"]),
        ("broken-off", "info", ['name="seeded"', "address=127.0.0.1:"]),
        ("cut", "warning", ["address=127.0.0.1:", 'code="frame-invalid"']),
        ("stopped", "info", ["pid="]),
    ],
)
def test_every_event_is_told(
    story: tuple[list[Record], str, list[bytes]], event: str, level: str, fields: list[str]
) -> None:
    told = the(story, event)
    assert told
    assert {record.level for record in told} == {level}
    assert any(all(field in record.fields for field in fields) for record in told), told


def test_the_first_record_is_the_start_and_the_last_the_stop(story: tuple[list[Record], str, list[bytes]]) -> None:
    assert [story[0][0].event, story[0][-1].event] == ["started", "stopped"]


def test_times_are_utc_and_of_now(story: tuple[list[Record], str, list[bytes]]) -> None:
    times = [datetime.fromisoformat(record.at) for record in story[0]]
    assert all(record.at.endswith("Z") for record in story[0])
    assert times == sorted(times)
    assert timedelta(0) < datetime.now(UTC) - times[-1] < timedelta(minutes=5)


def test_no_secret_and_no_message_is_in_it(story: tuple[list[Record], str, list[bytes]]) -> None:
    _, text, tokens = story
    assert SECRET_TEXT not in text
    assert PASSWORD not in text
    for token in tokens:
        assert token.hex() not in text
        assert str(token)[2:-1] not in text


def test_a_name_that_could_break_a_line_is_in_no_record_of_its_own(
    story: tuple[list[Record], str, list[bytes]],
) -> None:
    assert len(the(story, "signed-in")) == 1
    assert 'name="root"' not in story[1]


@pytest.mark.parametrize("name", ["Łódź", "李", "o'neil", 'q"uote', "back\\slash", "a=b", "x]y"])
def test_a_name_that_a_person_may_have_is_one_field_of_one_record(tmp_path: Path, name: str) -> None:
    with serving(tmp_path / "data", plain=True) as server, server.client() as client:
        client.hello()
        code = refused(client, name)
        log = server.server.log_path
    told = [record for record in records(log) if record.event == "registered"]
    assert [len(told), code] in ([1, ""], [0, "name-invalid"])
    if told:
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        assert f' name="{escaped}" ' in told[0].fields + " "
