"""The files of `packaging/`: they fit the server, and take from it what it does not need."""

import re
import shlex
from dataclasses import fields

import pytest

from antiphon.address import DEFAULT_PORT
from antiphon.server.listen.ports import BACKLOG
from antiphon.settings import ServerSettings
from support.documents import ROOT
from support.units import BACKUP, SERVICE, SOCKET, TIMER, directives

STOP_SECONDS = 30
"""Promise 24."""
HARDENED = {
    "UMask": "0077",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "PrivateUsers": "yes",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "ProcSubset": "pid",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "RemoveIPC": "yes",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "SystemCallArchitectures": "native",
}
"""With these `systemd-analyze security --offline=true` of systemd 252 says 1.5 ("OK"); 2.0 is the bar."""


def test_the_unit_speaks_the_protocols_of_the_server() -> None:
    unit = directives(SERVICE)
    assert unit["Type"] == ["notify"]
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert unit["KillMode"] == ["mixed"]
    assert unit["Delegate"] == ["yes"]
    assert int(unit["TimeoutStopSec"][0]) > STOP_SECONDS
    assert int(unit["WatchdogSec"][0]) > ServerSettings().service_seconds
    assert "NotifyAccess" not in unit, "the main process alone is believed"


def test_the_command_of_the_unit_is_one() -> None:
    (command,) = directives(SERVICE)["ExecStart"]
    flags = [word for word in shlex.split(command) if word.startswith("--")]
    known = {"--" + each.name.replace("_", "-") for each in fields(ServerSettings)}
    assert set(flags) <= known | {"--no-input"}
    assert "--strict-port" in flags
    assert f"--port {DEFAULT_PORT}" in command
    assert "--data /var/lib/antiphon" in command
    assert directives(SERVICE)["StateDirectory"] == ["antiphon"]


@pytest.mark.parametrize(("name", "value"), HARDENED.items())
def test_the_units_take_what_the_server_does_not_need(name: str, value: str) -> None:
    assert [directives(unit)[name] for unit in (SERVICE, BACKUP)] == [[value], [value]]


@pytest.mark.parametrize("unit", [SERVICE, BACKUP])
def test_of_system_calls_the_units_allow_those_of_services_without_privileges(unit: str) -> None:
    assert directives(unit)["SystemCallFilter"] == ["@system-service", "~@privileged"]


def test_a_backup_is_made_each_night_beside_the_running_server() -> None:
    (command,) = directives(BACKUP)["ExecStart"]
    assert "--force --without-keys --no-input" in command
    assert directives(BACKUP)["User"] == directives(SERVICE)["User"]
    assert directives(BACKUP)["Type"] == ["oneshot"]
    assert directives(TIMER)["OnCalendar"] == ["*-*-* 03:30"]
    assert directives(TIMER)["Persistent"] == ["yes"]


def test_the_socket_is_the_port_of_the_server() -> None:
    unit = directives(SOCKET)
    assert unit["ListenStream"] == [str(DEFAULT_PORT)]
    assert unit["Backlog"] == [str(BACKLOG)]
    assert not {"Accept", "FlushPending"} & set(unit)


def test_the_page_of_the_operator_names_each_file_and_directive_that_exists() -> None:
    text = (ROOT / "docs/operating.md").read_text("utf-8")
    for name in (SERVICE, SOCKET):
        assert f"[`{name}`](../{name})" in text
    known = {**directives(SERVICE), **directives(SOCKET)}
    named = re.findall(r"`(Type|KillMode|Delegate|WatchdogSec)=(\w+)`", text)
    assert {key for key, _ in named} == {"Type", "KillMode", "Delegate", "WatchdogSec"}
    assert all(known[key] == [value] for key, value in named)
