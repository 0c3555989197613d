"""Upkeep logs the end of the certificate in time."""

from pathlib import Path

import pytest

from antiphon.services import echo
from support.certificate_authority import issue_certificate
from support.log_records import records
from support.sessions import server_here


@pytest.mark.parametrize(
    ("days", "told"),
    [(-1, [("error", "certificate-expired")]), (29, [("warning", "certificate-expires")]), (31, [])],
)
async def test_the_end_of_the_certificate_is_told_at_the_start(
    tmp_path: Path, days: int, told: list[tuple[str, str]]
) -> None:
    issue_certificate(tmp_path / "d", days=days)
    async with server_here(tmp_path / "d", echo, plain=False) as server:
        pass
    found = [record for record in records(server.log_path) if record.event.startswith("certificate-")]
    assert [(record.level, record.event) for record in found] == told
    assert all("expires_at=" in record.fields for record in found)
