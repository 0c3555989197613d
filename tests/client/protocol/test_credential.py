"""What a client makes of a new password for the server to keep."""

from antiphon.client.protocol.sign_in import make_credential
from antiphon.identity.passwords import Password
from antiphon.identity.scram import ITERATIONS, SALT_SIZE
from antiphon.wire.bodies import Scram
from support.processes import PASSWORD


def test_its_salt_is_random_and_as_long_as_the_server_asks() -> None:
    """Forks of the tests have a salt of zeros instead (`support/forkserver.py`)."""
    asked: list[int] = []

    def random(size: int) -> bytes:
        asked.append(size)
        return b"s" * size

    credential = make_credential(Password(PASSWORD), Scram(salt_length=SALT_SIZE, iterations=ITERATIONS), random)
    assert asked == [SALT_SIZE]
    assert credential.salt == b"s" * SALT_SIZE
