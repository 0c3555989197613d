"""fail2ban's own programs with `packaging/fail2ban/`, on the log of a real server that was attacked."""

import ast
import configparser
import logging
import os
import re
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from antiphon.address import DEFAULT_PORT
from antiphon.wire.bodies import Authenticate, Challenge, ChallengeAnswer, ChangePassword, Register
from antiphon.wire.kinds import Kind
from support.documents import ROOT, read, table
from support.guessing import NONCE, seed_names
from support.imported_accounts import digest, seed_old
from support.left_out import left_out
from support.log_records import banned
from support.processes import PASSWORD
from support.raw import RawClient
from support.serving import ATTACKER, Serving, credential, fail, seed, serving

Act = Callable[[RawClient], object]
FILES = ROOT / "packaging/fail2ban"
PLUS = "SCRAM-SHA-256-PLUS"
HEADER = "p=tls-server-end-point,,"
IPV6 = "::1"
FORGED = ' warning refused address=9.9.9.9:9 code="sign-in-refused" why="no-account"'
"""What would be a record if it stood behind a time."""
LIES = ['x" address=9.9.9.9:9 code="name-locked', 'x\\" address=9.9.9.9:9 code="name-locked" ', f"x\n{FORGED}"]
"""Names that try to have somebody else banned."""


def installed(program: str) -> str:
    """Return the path of a program of fail2ban, or leave the test out."""
    path = shutil.which(program)
    if path is None:
        left_out("what fail2ban bans", "apt install fail2ban")
    return path


def hears(message: str) -> str:
    """Answer, and log as a careless service does what it was told."""
    logging.getLogger("careless").warning("%s", message)
    return message


# --- a server that is attacked -------------------------------------------------------------------------------


def begin(name: str, header: str = HEADER) -> bytes:
    """Return the first message of a sign-in."""
    return f"{header}n={name.replace('=', '=3D').replace(',', '=2C')},r={NONCE}".encode()


def beginning(data: bytes, mechanism: str = PLUS) -> Act:
    """Return the act of sending this first message."""
    body = Authenticate(mechanism=mechanism, data=data)
    return lambda client: client.request(Kind.AUTHENTICATE, body)


def guessing(name: str) -> Act:
    """Return the act of a proof under a name that proves nothing."""

    def act(client: RawClient) -> None:
        challenge = client.request(Kind.AUTHENTICATE, Authenticate(mechanism=PLUS, data=begin(name)))
        if isinstance(challenge, Challenge):  # a name with control characters gets none
            nonce = challenge.data.decode().partition(",")[0]
            channel = b64encode(HEADER.encode() + (client.binding or b"")).decode()
            proof = f"c={channel},{nonce},p={'A' * 43}=".encode()
            client.request(Kind.CHALLENGE, ChallengeAnswer(data=proof))

    return act


def relayed(client: RawClient) -> None:
    """Sign in over another channel than the person's."""
    client.binding = bytes(32)
    client.authenticate("ann", PASSWORD)


def gives_up(client: RawClient) -> None:
    for _ in range(2):
        beginning(begin("ann"))(client)


def other_password(client: RawClient) -> None:
    """Change the password of another account than the session's."""
    client.authenticate("ann", PASSWORD)
    client.request(Kind.PASSWORD, ChangePassword(mechanism=PLUS, data=begin("bob")))


def registering(name: str, invitation: bytes | None = None) -> Act:
    body = Register(name=name, credential=credential(), invitation=invitation)
    return lambda client: client.request(Kind.REGISTER, body)


ATTACKS: list[tuple[Act, str]] = [
    (guessing("bob"), 'code="sign-in-refused" why="wrong-password"'),
    (guessing("nobody"), 'code="sign-in-refused" why="no-account"'),
    (guessing("off"), 'code="sign-in-refused" why="disabled"'),
    (relayed, 'code="sign-in-refused" why="channel-binding-wrong"'),
    (beginning(begin("bob", "n,,")), 'code="sign-in-refused" why="channel-binding-missing"'),
    (
        beginning(begin("bob", "y,,"), "SCRAM-SHA-256"),
        'code="mechanism-unsupported" why="channel-binding-missing"',
    ),
    (beginning(b"rubbish"), 'code="sign-in-refused" why="malformed"'),
    (other_password, 'code="sign-in-refused" why="another-name"'),
    (guessing("locked"), 'code="name-locked"'),
    (guessing("hasty"), 'code="too-many-failures"'),
    (registering("new", bytes(16)), 'code="invitation-refused"'),
]
"""What is banned in mode `normal`."""
HARMLESS: list[tuple[Act, str]] = [
    (lambda client: client.authenticate("old", digest(PASSWORD)), 'code="sign-in-refused" why="expired"'),
    (gives_up, 'code="sign-in-refused" why="given-up"'),
    (registering("ann"), 'code="name-taken"'),
    (lambda client: client.resume(bytes(16)), 'code="session-ended"'),
    *((registering(lie), 'code="name-invalid"') for lie in LIES),
]
"""What is refused, too, and banned in mode `aggressive` alone."""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the log of a server on which all of that was done, and what an honest person does."""
    folder = tmp_path_factory.mktemp("attacked") / "data"
    (token,) = seed(folder)
    seed_names(folder, ["bob", "off"], disabled=["off"])
    seed_old(folder, "old", digest(PASSWORD), lifetime=timedelta(-1))
    fail(folder, "locked", 100)
    fail(folder, "hasty", 10)
    with serving(folder, hears, host="localhost") as server:
        for act, _ in [*ATTACKS, *HARMLESS]:
            attempt(server, act)
        attempt(server, guessing("nobody"), IPV6)
        for lie in LIES:
            attempt(server, guessing(lie))
        with server.session(token) as client:
            client.ask(FORGED)
            client.message_with(bytes(16), "with a wrong token")
            assert client.error().code == "token-refused"
            client.leave()
        server.log()
        return server.server.log_path


def attempt(server: Serving, act: Act, host: str = "127.0.0.1") -> None:
    source = ATTACKER if host == "127.0.0.1" else ""
    with RawClient(replace(server.address, host=host), source=source) as client:
        client.hello()
        act(client)


# --- who is banned -------------------------------------------------------------------------------------------


def found(log: Path, mode: str) -> list[tuple[str, float]]:
    """Return the address and the time of each line that fail2ban matches."""
    regex = installed("fail2ban-regex")
    command = [regex, "--raw", "--config", str(FILES), "--out", "row", str(log), f"antiphon[mode={mode}]"]
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TZ": "America/New_York"}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=150)
    rows = [ast.literal_eval(row.rstrip(",")) for row in told.stdout.splitlines()]
    return [(address, moment) for address, moment, _ in rows]


def expected(lines: list[str]) -> list[tuple[str, float]]:
    times = (datetime.fromisoformat(line.partition(" ")[0]).replace(tzinfo=UTC) for line in lines)
    hosts = (IPV6 if f" address=[{IPV6}]:" in line else ATTACKER for line in lines)
    return [(host, int(moment.timestamp())) for host, moment in zip(hosts, times, strict=True)]


def refusals(log: Path) -> list[str]:
    """Return the records of refusals; each kind must be there."""
    lines = [line for line in log.read_text("utf-8").splitlines() if re.match(r"\S+ warning refused ", line)]
    for _, ending in [*ATTACKS, *HARMLESS]:
        assert any(line.endswith(f" {ending}") for line in lines), ending
    return lines


def test_attacks_are_banned_and_nobody_else(log: Path) -> None:
    endings = tuple(f" {ending}" for _, ending in ATTACKS)
    lines = [line for line in refusals(log) if line.endswith(endings)]
    assert len(lines) == len(ATTACKS) + 1 + len(LIES)
    assert found(log, "normal") == expected(lines)


def test_in_mode_aggressive_every_refusal_is(log: Path) -> None:
    assert found(log, "aggressive") == expected(refusals(log))


@pytest.mark.parametrize("mode", ["normal", "aggressive"])
def test_the_tests_without_fail2ban_find_what_it_finds(log: Path, mode: str) -> None:
    lines = log.read_text("utf-8")
    assert list(banned(lines, mode).values()) == [address for address, _ in found(log, mode)]


def test_the_jail_is_one_that_fail2ban_starts(log: Path, tmp_path: Path) -> None:
    client = installed("fail2ban-client")
    shutil.copytree("/etc/fail2ban", tmp_path / "etc", ignore=shutil.ignore_patterns("jail.d", "*.local"))
    shutil.copytree(FILES, tmp_path / "etc", dirs_exist_ok=True)
    jail = tmp_path / "etc/jail.d/antiphon.conf"
    (kept_in,) = re.findall(r"^logpath = (.+)$", jail.read_text("utf-8"), re.MULTILINE)
    jail.write_text(jail.read_text("utf-8").replace(kept_in, str(log)), "utf-8")
    told = subprocess.check_output([client, "-c", tmp_path / "etc", "-d"], text=True, timeout=150)
    done = [ast.literal_eval(line) for line in told.splitlines()]
    assert [each[1] for each in done if each[0] == "start"] == ["antiphon"]
    assert ["set", "antiphon", "addlogpath", str(log), "head"] in done
    assert any(f"{DEFAULT_PORT}" in map(str, each) for each in flat(done))
    assert ["set", "antiphon", "addaction", "nftables-multiport"] in done


def flat(done: list[Any]) -> Iterator[list[Any]]:
    """Yield all lists in a list."""
    for each in done:
        if isinstance(each, list):
            yield each
            yield from flat(each)


# --- the files -----------------------------------------------------------------------------------------------


def jail() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser()
    parser.read(FILES / "jail.d/antiphon.conf", "utf-8")
    return parser["antiphon"]


def test_the_jail_is_that_of_the_unit() -> None:
    unit = (ROOT / "packaging/antiphon.service").read_text("utf-8")
    assert jail()["port"] == str(DEFAULT_PORT)
    assert f"--log {jail()['logpath']}\n" in unit


def test_every_reason_is_either_an_attack_or_harmless() -> None:
    reasons = {row[0] for row in table(read("docs/monitoring.md"), "why", "why it was refused")}
    known = {ending.split('why="')[1][:-1] for _, ending in [*ATTACKS, *HARMLESS] if "why=" in ending}
    # Whoever has one of these has proved the right password; the first takes a race, the others the status page.
    assert known | {"changed", "no-administrator", "password-due"} == reasons
