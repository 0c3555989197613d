"""Runs each of these tests on both event loops."""

import asyncio
import ssl
from collections.abc import Callable, Mapping

import pytest
import uvloop

from antiphon.data.certificate import load_or_make
from antiphon.data.folder import DataFolder


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return load_or_make(DataFolder.open(tmp_path_factory.mktemp("tls")), ["localhost"]).context
