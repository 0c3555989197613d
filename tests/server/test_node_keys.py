"""New keys while two nodes serve on one database, each with a data folder and a copy of the ring."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import KeyRingElsewhere
from antiphon.server.home import heartbeat
from antiphon.server.home.place import place_of
from antiphon.wire.bodies import Authenticate, Challenge, Identified, Register, Welcome
from antiphon.wire.kinds import Kind
from support.key_rings import ring_of
from support.operator_commands import Operator
from support.processes import PASSWORD
from support.serving import PACE_SECONDS, Serving, credential, seed, serving


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers beat ten times as often as others."""
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.1)


def signs_in(server: Serving, name: str) -> bool:
    with server.client() as client:
        client.hello()
        return isinstance(client.authenticate(name, PASSWORD), Welcome)


def salt(server: Serving) -> bytes:
    """Return what a name that nobody has is given."""
    with server.client() as client:
        client.hello()
        first = Authenticate(mechanism="SCRAM-SHA-256", data=b"n,,n=nobody,r=bm9uY2Ugb2YgdGhlIHRlc3Q=")
        challenge = client.request(Kind.AUTHENTICATE, first)
        assert isinstance(challenge, Challenge)
        return challenge.data.partition(b",")[2]


def test_nobody_is_lost_while_a_new_key_reaches_one_node_after_the_other(
    tmp_path: Path, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / name for name in ("one", "two", "late")]
    (token,) = seed(folders[0], store=database)
    for folder in folders[1:]:
        folder.mkdir(0o700)
        shutil.copy(folders[0] / "secret.key", folder)
    operator = Operator(folders[0], capsys)
    options: dict[str, Any] = {
        "store": database,
        "plain": True,
        "relay_address": "127.0.0.1",
        "registrations_source": 10**6,
        "registrations_most": 10**6,
    }
    registered: list[str] = []
    stop = threading.Event()

    def keep_registering(server: Serving, prefix: str) -> None:
        with server.client() as client:
            client.hello()
            while not stop.wait(PACE_SECONDS):
                name = f"{prefix}{len(registered)}"
                body = client.request(Kind.REGISTER, Register(name=name, credential=credential()))
                assert body == Identified(name=name, free=False), body
                registered.append(name)

    def rekey() -> tuple[int, str]:
        done = operator.run("accounts", "rekey", "--store", database)
        return done.code, done.err

    with serving(folders[0], **options) as one, serving(folders[1], **options) as two:
        before = salt(one)
        threads = [threading.Thread(target=keep_registering, args=pair) for pair in ((one, "one"), (two, "two"))]
        for thread in threads:
            thread.start()
        try:
            code, told = rekey()
            assert code == 0
            assert f"Key 2 was added to {folders[0]}/secret.key; the key before it still seals." in told
            assert f":{folders[1]}." in told
            code, told = rekey()
            assert code == 2
            assert f"Key 2 is not on all nodes yet; servers without it run on {place(two)}." in told
            shutil.copy(folders[0] / "secret.key", folders[1])
            code, told = rekey()
            assert (code, told.startswith("Key 2 is in use now.")) == (0, True), told
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        people = [
            "ann",
            registered[0],
            *(next(n for n in reversed(registered) if n[:3] == p) for p in ("one", "two")),
        ]
        assert all(signs_in(server, name) for server in (one, two) for name in people)
        assert salt(one) == salt(two) == before
        for server in (one, two, one):
            with server.session(token) as client:
                assert client.ask("still here") == "still here"
        with pytest.raises(KeyRingElsewhere, match="lacks key 2"), serving(folders[2], **options):
            pass
    assert list(ring_of(folders[0]).sealing_keys) == [2]
    assert sum(line.startswith(("key-added", "keys-changed")) for line in operator.log()) == 2


def place(server: Serving) -> str:
    return place_of(server.server.data_path)
