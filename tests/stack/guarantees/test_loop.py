"""A worker's event loop is never blocked for long: heartbeats, views and commits get their turn."""

import json
from pathlib import Path

import pytest

from tests.stack.counting_worker import LOOP
from tests.stack.guarantees.side import Side, order

#: What docs/transport.md promises. An agent works for `SLICE_S`, 10 ms, at a time; the rest is
#: what a step, a write to the disk or a collection of garbage may add.
BLOCKED_S = 0.25


@pytest.mark.parametrize("side", ["ours"], indirect=True)
async def test_no_call_blocks_the_loop_for_long(side: Side, tmp_path: Path) -> None:
    """Under all the load it takes, small values and large ones: the longest block of uvloop."""
    report = tmp_path / "loop"
    await side.start(env={LOOP: str(report)})
    await side.put(
        *(order(n, "state" if n % 5 == 0 else "key", n % 4, f"A{n % 40}") for n in range(8_000))
    )
    await side.settled()
    found = json.loads(report.read_text())
    assert found["loop"].partition(".")[0] == "uvloop"
    assert found["longest_s"] < BLOCKED_S
