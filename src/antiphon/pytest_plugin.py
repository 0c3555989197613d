"""Pytest plugin with the fixture `antiphon_server`.

Pytest loads the plugin in every run, so it imports nothing until a test asks for the fixture. It is not inside
`antiphon.testing`, because importing a module imports its package.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from antiphon.testing import RunningServer, ServerProcess


@pytest.fixture
def antiphon_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> "Iterator[Callable[..., RunningServer | ServerProcess]]":
    """Return a function that starts a real server, which runs until the end of the test.

    `server = antiphon_server(handler)` starts an `antiphon.testing.RunningServer`, in a thread of the test. With
    `workers=2`, or a name such as `shop.py:answer`, it starts an `antiphon.testing.ServerProcess`.
    Fields of `ServerSettings` are keyword arguments.
    """
    from antiphon.services import Handler, echo  # noqa: PLC0415 - see above
    from antiphon.testing import RunningServer, ServerProcess  # noqa: PLC0415 - see above

    with ExitStack() as stack:

        def start(
            handler: str | Handler = echo, *, workers: int | None = None, **options: Any
        ) -> RunningServer | ServerProcess:
            folder = tmp_path_factory.mktemp("antiphon")
            if workers is not None or isinstance(handler, str):
                return stack.enter_context(ServerProcess(handler, folder, workers=workers or 1, **options))
            return stack.enter_context(RunningServer(handler, folder, **options))

        yield start
