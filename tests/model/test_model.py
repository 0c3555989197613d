"""The model, run for a short time: sessions ask while connections and servers come and go. See `make soak`."""

import pytest

from model.machine import Run
from model.world import Setting

FREEZES, LOCKS = [0.2, 0.8], [0.3, 1.0]
ALONE = Setting(servers=1, talkers=3, hooks=True, plain=False)
TOGETHER = [
    Setting(servers=2, talkers=3, hooks=True, plain=True),
    Setting(servers=3, talkers=4, hooks=False, plain=False),
]


@pytest.mark.parametrize("number", [1, 2])
def test_one_server_loses_doubles_and_leaves_nothing(number: int) -> None:
    Run([ALONE], FREEZES, LOCKS).go(number, steps=40, examples=2)


@pytest.mark.parametrize("number", [1, 2])
def test_servers_of_one_folder_lose_double_and_leave_nothing(number: int) -> None:
    Run(TOGETHER, FREEZES, LOCKS).go(number, steps=40, examples=2)
