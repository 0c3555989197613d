"""The dates of the certificate are told in time: in the log, in the start block, and to who reloads."""

import json
from pathlib import Path

import pytest

from antiphon.data.certificate import CERTIFICATE_FILE, KEY_FILE
from antiphon.data.validity import EXPIRY_NOTICE
from antiphon.server.run import where_it_listens
from antiphon.services import echo
from support.certificate_authority import issue_certificate
from support.log_records import records
from support.processes import ServerProcess, run_antiphon
from support.sessions import server_here

NOTICE = EXPIRY_NOTICE.days


@pytest.mark.parametrize(
    ("begins", "days", "told", "shown"),
    [
        (-9, -1, ("error", "certificate-expired"), "  TLS:     the certificate has expired on "),
        (-9, NOTICE - 1, ("warning", "certificate-expires"), "  TLS:     the certificate expires on "),
        (1, 99, ("error", "certificate-not-yet-valid"), "  TLS:     the certificate is valid from "),
        (-9, NOTICE + 1, None, None),
    ],
)
async def test_the_dates_are_told_at_the_start(
    tmp_path: Path, begins: int, days: int, told: tuple[str, str] | None, shown: str | None
) -> None:
    issue_certificate(tmp_path / "d", begins=begins, days=days)
    async with server_here(tmp_path / "d", echo, plain=False) as server:
        block = where_it_listens(server, 1, as_json=False)
        problems = json.loads(where_it_listens(server, 1, as_json=True))["problems"]
    found = [record for record in records(server.log_path) if record.event.startswith("certificate-")]
    assert [(record.level, record.event) for record in found] == ([told] if told else [])
    assert problems == ([told[1]] if told else [])
    assert (shown is None) == ("  TLS:" not in block)
    assert shown is None or shown in block


def test_an_expired_certificate_is_served_and_who_reloads_another_one_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    issue_certificate(folder, days=-1)
    with ServerProcess(folder) as server:
        assert server.start["problems"] == ["certificate-expired"]
        _, fingerprint = issue_certificate(tmp_path / "new", begins=1, days=9)
        for name in (KEY_FILE, CERTIFICATE_FILE):
            (tmp_path / "new" / name).rename(folder / name)
        done = run_antiphon("reload", "--data", folder, home=tmp_path)
        assert done.returncode == 0
        assert "has reloaded.\nThe certificate is not valid yet: " in done.stderr
        status = json.loads(run_antiphon("status", "--json", "--data", folder, home=tmp_path).stdout)
        assert status["problems"] == ["certificate-not-yet-valid"]
        assert status["fingerprint"] == fingerprint
        assert status["valid_from"] < status["expires_at"]
