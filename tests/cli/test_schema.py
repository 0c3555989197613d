"""Tests of `antiphon schema`: JSON on standard output, anything else on standard error."""

import json
from pathlib import Path

from support.processes import run_antiphon

SERVICE = '''
from msgspec import Struct

print("loaded")

class Order(Struct):
    """Заказ."""
    item: str

def answer(order: Order) -> int: ...
def generator(order: Order):
    yield 1
'''


def test_the_schema_is_printed_as_json_and_an_error_as_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SERVICE, "utf-8")
    printed = run_antiphon("schema", str(tmp_path / "shop.py:answer"), home=tmp_path)
    assert (printed.returncode, printed.stderr) == (0, "loaded\n")
    schema = json.loads(printed.stdout)
    assert schema["gives"] == {"type": "integer"}
    assert schema["takes"]["$defs"]["Order"]["description"] == "Заказ."
    assert "Заказ." in printed.stdout
    refused = run_antiphon("schema", str(tmp_path / "shop.py:generator"), home=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("loaded\n“generator” cannot be served: it is a generator; write “async def”")
    assert refused.stderr.count("\n") == 2
