"""A listener of the page with accounts: Ann and Ada are administrators, Bob is none."""

from collections.abc import Iterator

import pytest

from support.page_server import PageServer, page_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    with page_server(tmp_path_factory.mktemp("page") / "data") as running:
        for name in ("ann", "ada", "eve"):
            running.add(name, administrator=True)
        running.add("bob")
        yield running
