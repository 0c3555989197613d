"""A class: thirty real clients from one address at once, each with an invitation (issue 3, part 11)."""

import re
from contextlib import ExitStack, suppress
from pathlib import Path

from support.invitations import invite
from support.processes import ANTIPHON, PASSWORD, PipedProcess, ServerProcess, clean_environment, run_antiphon

PATIENT = ("--handshake-seconds", "60", "--first-frame-seconds", "60", "--entry-seconds", "60")
"""Longer deadlines: here thirty clients hash on two cores, while in a class each has its own machine."""
PUPILS = [f"pupil{number}" for number in range(30)]


def test_thirty_people_with_thirty_invitations_are_all_in_and_one_without_is_not(tmp_path: Path) -> None:
    (tmp_path / "password.txt").write_text(f"{PASSWORD}\n")
    with ServerProcess(tmp_path / "data", "--registration", "closed", *PATIENT) as server, ExitStack() as people:
        clients = {}
        for name, code in zip(PUPILS, invite(server.folder, *PUPILS, address=server.address), strict=True):
            home = tmp_path / name
            home.mkdir()
            client = PipedProcess(
                ANTIPHON, "connect", "--password-file", tmp_path / "password.txt", "--no-input", "--timeout", "60",
                environment=clean_environment(home, ANTIPHON_INVITATION=code.written()),
            )  # fmt: skip
            clients[name] = people.enter_context(client)
        for name, client in clients.items():  # each stays until all are in: none makes room for another
            with suppress(BrokenPipeError):  # it has ended, and says why
                client.stdin.write(f"{name} is in\n".encode())
            said = client.stdout.readline()
            assert said == f"{name} is in\n", client.stderr.read()
        for client in clients.values():
            _, errors = client.communicate(timeout=60)
            assert client.returncode == 0, errors
        alone = run_antiphon(
            "connect", str(server.address), "--register", "--name", "late", home=tmp_path,
            ANTIPHON_PASSWORD=PASSWORD,
        )  # fmt: skip
        assert alone.returncode == 4
        assert alone.stderr.startswith("This server does not take new names.")
        assert set(re.findall(r' signed-in name="(\w+)"', server.log)) == set(PUPILS)
        assert 'registered name="late"' not in server.log
