"""What docs/strategies.md shows runs as it stands, and strategies of other packages are found."""

import json
import re
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.strategies import known_strategies
from streams.dev.reference import ROOT
from streams.domain.controls import ControlSet
from streams.domain.strategies.config import configs_of
from streams.domain.strategies.registry import BUILT_IN
from streams.topics import SIGNALS
from tests.unit.strategies_world import World

PAGE = (ROOT / "docs" / "strategies.md").read_text("utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
TOML = [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)]


def example() -> dict[str, Any]:
    """Return what the example's module defines."""
    found: dict[str, Any] = {"__name__": "example"}
    exec(PYTHON[0], found)  # noqa: S102 - that is the point
    return found


def test_the_example_is_a_strategy() -> None:
    """It decides as its docstring says, over a restart, with parameters."""
    world = World(
        {"a": {"implementation": "breakout", "symbols": "AIG", "bars": 3}},
        {"breakout": example()["Breakout"]()},
    )
    world.bars("50", "49", "48")
    world.restart()
    assert world.bars("50", high="50.50") == []  # as high as before is not above
    (made,) = world.bars("50.60", high="50.60")
    assert (made.strength, made.reason) == (1, "above 50.50")
    assert world.row().status == "running"


def test_the_settings_of_the_page_can_be_read() -> None:
    """Each table of strategies; what it sets up is what the page says."""
    tables = [one["strategies"] for one in TOML if "strategies" in one]
    found = [config for table in tables for config in configs_of(table, ControlSet()).values()]
    assert [(one.name, one.flaw, one.is_ours) for one in found] == [
        ("ma1", "", True),
        ("other", "", False),
    ]
    params = found[0].said.params
    assert BUILT_IN["ma_cross"].params.model_validate(params).slow == 30


def test_the_signal_of_the_program_is_one() -> None:
    """Its fields are those of the topic."""
    record = SimpleNamespace(partition=1, offset=2)
    bar = {"symbol": "AIG", "close": "50", "ts_end_ns": 3}
    body = PYTHON[1].partition("signal = ")[2].partition("\n        key")[0]
    signal = eval(body, {"record": record, "bar": bar, "time": time})  # noqa: S307
    made = SIGNALS.adapter.validate_json(json.dumps(signal))
    assert (made.strategy, made.cause_offset) == ("other", 2)


OTHERS = f"""{PYTHON[0]}
class NoWants:
    state, params = BreakoutState, BreakoutParams

class NoModels(Breakout):
    state = dict

class Odd(Breakout):
    wants = frozenset({{"bars"}})
    on_bars = Breakout.on_bar

class Half:
    wants, state, params = frozenset({{"bar"}}), BreakoutState, BreakoutParams
"""
BROKEN = ("NoWants", "NoModels", "Odd", "Half", "Absent")


def test_strategies_of_other_packages_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their entry points, as the page writes them; what is broken is left out."""
    (points,) = [one["project"]["entry-points"] for one in TOML if "project" in one]
    ((group, named),) = points.items()
    lines = [f"{name} = {value}" for name, value in named.items()]
    lines += [f"{name.lower()} = my_package.strategies:{name}" for name in BROKEN]
    lines += ["nowhere = my_package.nothing:There"]
    folder = tmp_path / "my_package-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "strategies.py").write_text(OTHERS)
    monkeypatch.syspath_prepend(tmp_path)
    found = known_strategies()
    assert set(found) == {*BUILT_IN, "breakout"}
    assert type(found["breakout"]).__name__ == "Breakout"
