"""`antiphon schema`: print the JSON schema of what a service takes and gives."""

import json
from typing import Annotated

from cyclopts import Parameter

from antiphon import streams
from antiphon.cli.common_options import CommonOptions
from antiphon.services.loading import load
from antiphon.services.schema import schema_of_service


def schema(
    service: Annotated[
        str,
        Parameter(
            help="The service, as for serve: module:attr, path/to/file.py:attr, echo, chat or exec:COMMAND."
        ),
    ],
    *,
    common: CommonOptions = CommonOptions(),
) -> int:
    """Print the JSON schema of the messages that a service takes and of the answers that it gives.

    For example:
        antiphon schema shop.py:answer
        antiphon schema shop:answer | jq .takes
        antiphon schema shop.py:answer >shop.json
    """
    common.console()
    found = schema_of_service(load(service), service)
    streams.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    return 0
