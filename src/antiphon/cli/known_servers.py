"""`antiphon known-servers`: list and forget the keys of servers that this user has met."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from antiphon.address import parse_place, written_place
from antiphon.cli.common_options import CommonOptions
from antiphon.cli.output import Record, report_result, show_records
from antiphon.client.trust import KnownKey, KnownServers
from antiphon.errors import Problem, UsageError
from antiphon.language import N_

_NOT_KNOWN = Problem(N_("No key of {place} is known in {path}."))

app = App(
    name="known-servers",
    help="List and forget the keys of known servers.\n\nFor example:\n    antiphon known-servers list",
    help_format="plaintext",
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class KnownServersOptions:
    """Options of both commands."""

    known_servers: Path | None = field(
        default=None,
        metadata={"help": "File of known server keys [default: known_servers in this user's data folder]."},
    )
    json: Annotated[bool, Parameter(negative=())] = field(
        default=False, metadata={"help": "Print the result as one line of JSON."}
    )


@app.command(name="list")
def list_keys(
    *, options: KnownServersOptions = KnownServersOptions(), common: CommonOptions = CommonOptions()
) -> int:
    """List the known servers: line of the file, host, port, key, comment.

    A server without a port is known on every port that has no line of its own.

    For example:
        antiphon known-servers list
        antiphon known-servers list --json
    """
    _ = common.console().translations.gettext
    keys = KnownServers(options.known_servers).read()
    headings = {
        "line": _("Line"),
        "host": _("Host"),
        "port": _("Port"),
        "key": _("Key"),
        "comment": _("Comment"),
    }
    show_records(options, [_record(key) for key in keys], headings)
    return 0


@app.command
def forget(
    place: Annotated[str, Parameter(help="host:port, or a host for all of its ports.")],
    /,
    *,
    options: KnownServersOptions = KnownServersOptions(),
    common: CommonOptions = CommonOptions(),
) -> int:
    """Forget the keys of a server, so that its next key is asked about again.

    With host:port, the lines of the host that are for every port go as well.

    For example:
        antiphon known-servers forget localhost:7862
        antiphon known-servers forget school.example --json
    """
    console = common.console()
    known = KnownServers(options.known_servers)
    host, port = parse_place(place)
    forgotten = known.forget(host, port)
    if not forgotten:
        raise UsageError(problem=_NOT_KNOWN, place=written_place(host, port), path=str(known.path))
    report_result(
        console,
        options,
        {"forgotten": [_record(key) for key in forgotten]},
        console.translations.gettext("Keys forgotten: {count}.").format(count=len(forgotten)),
    )
    return 0


def _record(key: KnownKey) -> Record:
    return {
        "line": key.line,
        "host": key.host,
        "port": key.port,
        "key": key.fingerprint,
        "comment": key.comment or None,
    }
