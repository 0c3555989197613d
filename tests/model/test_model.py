"""The model, run for a short time: sessions ask while connections and servers come and go. See `make soak`."""

import pytest

from model.machine import Run
from model.world import Setting

FREEZES, LOCKS = [0.2, 0.5], [0.2, 0.5]
ALONE = Setting(servers=1, talkers=3, hooks=True, plain=False)
PAIR = Setting(servers=2, talkers=3, hooks=True, plain=True)
THREE = Setting(servers=3, talkers=4, hooks=False, plain=False)
THREE_WITH_HOOKS = Setting(servers=3, talkers=4, hooks=True, plain=True)
WORKERS = Setting(servers=1, talkers=3, hooks=True, plain=True, workers=2)
WORKERS_OVER_TLS = Setting(servers=1, talkers=3, hooks=False, plain=False, workers=2)


@pytest.mark.parametrize(  # of these seeds each draws nearly every rule within 40 steps
    ("seed", "setting"),
    [
        (31, ALONE),
        (23, PAIR),
        (38, THREE),
        (27, THREE_WITH_HOOKS),
        (290, WORKERS),
        (347, WORKERS_OVER_TLS),
    ],
    ids=["alone", "pair", "three", "three-with-hooks", "workers", "workers-over-tls"],
)
def test_sessions_lose_double_and_leave_nothing(seed: int, setting: Setting) -> None:
    Run([setting], FREEZES, LOCKS).go(seed, steps=40, examples=1)
