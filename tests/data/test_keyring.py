"""The ring that follows its file: what it seals with, what it opens, and what it does when the file is gone."""

import os
import threading
from collections.abc import Callable

import pytest

from antiphon.data.keyring import LiveKeyRing
from antiphon.errors import KeyRingUnusable, ServerError, TryLater
from antiphon.identity.keys import KeyRing, key_number

NONCE = bytes(12)


class File:
    """What the file holds; None when it is missing."""

    def __init__(self) -> None:
        self.ring: KeyRing | None = KeyRing.generate(os.urandom)

    def read(self) -> KeyRing:
        if self.ring is None:
            raise KeyRingUnusable(path="secret.key", problem="it is missing")
        return self.ring

    def change(self, change: Callable[[KeyRing], KeyRing]) -> None:
        self.ring = change(self.read())


@pytest.fixture
def file() -> File:
    return File()


@pytest.fixture
def live(file: File) -> LiveKeyRing:
    return LiveKeyRing(file.read(), file.read)


def test_it_seals_with_the_newest_key_of_the_file_as_soon_as_it_is_there(file: File, live: LiveKeyRing) -> None:
    assert key_number(live.seal(b"plain", b"", NONCE)) == 1
    file.change(lambda ring: ring.with_new_key(os.urandom))
    sealed = live.seal(b"plain", b"", NONCE)
    assert key_number(sealed) == 2
    assert file.read().open(sealed, b"") == b"plain"


def test_it_opens_what_was_sealed_with_a_key_that_came_later(file: File, live: LiveKeyRing) -> None:
    file.change(lambda ring: ring.with_new_key(os.urandom))
    file.change(KeyRing.with_newest_only)
    assert live.open(file.read().seal(b"plain", b"at", NONCE), b"at") == b"plain"


def test_what_was_read_before_it_was_sealed_again_still_opens(file: File, live: LiveKeyRing) -> None:
    before = live.seal(b"plain", b"", NONCE)
    file.change(lambda ring: ring.with_new_key(os.urandom))
    file.change(KeyRing.with_newest_only)
    live.follow()
    assert live.open(before, b"") == b"plain"


def test_without_its_file_it_opens_and_does_not_seal(file: File, live: LiveKeyRing) -> None:
    sealed = live.seal(b"plain", b"", NONCE)
    file.ring = None
    assert live.open(sealed, b"") == b"plain"
    with pytest.raises(TryLater) as raised:
        live.seal(b"plain", b"", NONCE)
    assert "missing" in str(raised.value.fields["problem"])
    assert isinstance(raised.value.__cause__, KeyRingUnusable)


def test_it_does_not_seal_with_the_ring_of_another_folder(file: File, live: LiveKeyRing) -> None:
    file.ring = KeyRing.generate(os.urandom)
    with pytest.raises(TryLater):
        live.seal(b"plain", b"", NONCE)


def test_a_key_that_nobody_has_opens_nothing(live: LiveKeyRing) -> None:
    with pytest.raises(ServerError):
        live.open((7).to_bytes(4, "big") + bytes(40), b"")


def test_of_two_threads_that_follow_the_file_one_reads_it_after_the_other(file: File) -> None:
    begun: list[int] = []
    reading, go_on = threading.Event(), threading.Event()

    def read_slowly() -> KeyRing:
        ring = file.read()
        begun.append(len(ring.sealing_keys))
        reading.set()
        assert go_on.wait(60)
        return ring

    live = LiveKeyRing(file.read(), read_slowly)
    threads = [threading.Thread(target=live.follow) for _ in range(2)]
    threads[0].start()
    assert reading.wait(60)
    file.change(lambda ring: ring.with_new_key(os.urandom))
    threads[1].start()
    threads[1].join(0.1)
    assert begun == [1]
    go_on.set()
    for thread in threads:
        thread.join(60)
    sealed = file.read().seal(b"plain", b"", NONCE)
    file.ring = None  # so that what the threads have read must do
    assert live.open(sealed, b"") == b"plain"


def test_it_does_not_print(live: LiveKeyRing, file: File) -> None:
    assert repr(live) == "LiveKeyRing(KeyRing(sealing key 1, hidden))"
