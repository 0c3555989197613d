"""`antiphon serve --check`: what a start would find, one line for each thing that it needs."""

import json

from antiphon import streams
from antiphon.printable import printable
from antiphon.server.check import Checked, StartCheck
from antiphon.server.manager import ServiceManager
from antiphon.settings import ProgramSettings, ServerSettings
from antiphon.terminal.console import Console


def check_start(
    console: Console,
    service: str,
    settings: ServerSettings,
    program: ProgramSettings,
    manager: ServiceManager,
    *,
    as_json: bool,
) -> int:
    """Print what is found; return 0, or the exit code of the first problem."""
    code = 0
    records = []
    for checked in StartCheck(service, settings, program, manager.passed).run():
        if checked.error is not None:
            code = code or checked.error.exit_code
        if as_json:
            records.append(_record(checked))
        else:
            _ = console.translations.gettext
            said = checked.error.full(_) if checked.error else _(checked.said).format(**checked.fields)
            streams.stdout.line(printable(f"{_(checked.what)}: {said}"))
    if as_json:
        streams.stdout.line(json.dumps(records, ensure_ascii=False))
    return code


def _record(checked: Checked) -> dict[str, object]:
    error = checked.error
    return {
        "what": checked.what,
        "code": error.code if error else None,
        "said": str(error) if error else checked.said.format(**checked.fields),
    }
