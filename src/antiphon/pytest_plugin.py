"""Pytest plugin with the fixture `antiphon_server`.

Pytest loads the plugin in every run, so it imports nothing until a test asks for the fixture. It is not inside
`antiphon.testing`, because importing a module imports its package.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from antiphon.testing import RunningServer


@pytest.fixture
def antiphon_server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Callable[..., RunningServer]]":
    """Return a function that starts an `antiphon.testing.RunningServer`, which runs until the end of the test.

    `server = antiphon_server(handler)`; fields of `ServerSettings` are keyword arguments.
    """
    from antiphon.services import Handler, echo  # noqa: PLC0415 - see above
    from antiphon.testing import RunningServer  # noqa: PLC0415 - see above

    with ExitStack() as stack:

        def start(handler: Handler = echo, **options: Any) -> RunningServer:
            folder = tmp_path_factory.mktemp("antiphon")
            return stack.enter_context(RunningServer(handler, folder, **options))

        yield start
