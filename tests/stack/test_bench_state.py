"""The quick forms of the benchmarks of state: they finish, and every record is accounted for.

Each benchmark raises IncompleteError by itself where a record is missing; no time is asserted.
"""

from pathlib import Path
from typing import Any

from benchmarks import memory, restore, sink
from benchmarks.changelog import content_of
from benchmarks.harness import Plan
from streams.settings import Settings


def plan_of(stack: Settings, folder: Path, namespace: str, lines: list[str]) -> Plan:
    """Return a quick plan in a namespace of its own on the shared stack."""
    settings = stack.model_copy(update={"namespace": namespace, "data_dir": folder})
    return Plan(settings, quick=True, repeats=1, say=lines.append)


def measured(found: dict[str, Any], *names: str) -> None:
    """Check that these were measured, beside ours, and that there is progress to read."""
    assert found["ours"] > 0
    assert set(found["rivals"]) == set(names)
    assert all(figure > 0 for figure in found["rivals"].values())


def test_restore_finds_every_key_again(stack: Settings, tmp_path: Path) -> None:
    """Both workers' stores hold what the changelog does, by count and checksum."""
    lines: list[str] = []
    found = restore.run(plan_of(stack, tmp_path, "bench-restore", lines))
    measured(found, "stock_faust")
    assert found["keys"] == restore.QUICK_KEYS
    assert len(lines) == 3


def test_restore_refuses_a_store_that_lacks_a_key() -> None:
    """The checksum sees a key that is missing, one that is doubled, and another value."""
    whole = content_of([(b"a", b"1"), (b"b", b"2")])
    assert whole == content_of([(b"b", b"2"), (b"a", b"1")])
    for pairs in ([(b"a", b"1")], [(b"a", b"1")] * 2, [(b"a", b"1"), (b"b", b"3")]):
        assert content_of(pairs) != whole


def test_sink_stores_every_row_alike(stack: Settings, tmp_path: Path) -> None:
    """The history and both rivals hold the same rows of both topics."""
    found = sink.run(plan_of(stack, tmp_path, "bench-sink", []))
    measured(found, "arrow_insert", "row_insert")
    assert found["rows"] == sink.QUICK_ROWS
    assert found["orders_events"]["ours"] > 0


def test_memory_keeps_every_order(stack: Settings, tmp_path: Path) -> None:
    """The worker's table holds the copied orders and those of the load."""
    lines: list[str] = []
    found = memory.run(plan_of(stack, tmp_path, "bench-memory", lines))
    measured(found)
    assert found["ratios"]["goal"] > 0
    assert found["orders"] >= memory.QUICK_HELD
