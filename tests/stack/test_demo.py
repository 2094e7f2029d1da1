"""The demo as users run it: cold, on a pipeline that it left running, and interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from connectors.clickhouse.rows import TABLES
from streams.cli.demo import INTERRUPTED
from streams.dev.control import down, running_state
from streams.dev.testing import settings_on_free_ports
from streams.settings import Settings

LONG_S = 400  # a busy machine is no failure
KEYS = {
    "orders", "filled", "canceled", "rejected", "open", "fills", "dead_letters",
    "positions_match_fills", "history_rows", "elapsed_s", "orders_per_s", "latency_ms",
    "rejected_by_code", "first_fill_s", "seed", "shift_ns", "strategy",
}  # fmt: skip


def start(settings: Settings, *options: str) -> "subprocess.Popen[str]":
    """Start the demo with these settings."""
    return subprocess.Popen(
        [sys.executable, "-m", "streams", "demo", "--json", *options],
        env={**os.environ, **settings.environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(settings: Settings, *options: str) -> dict[str, Any]:
    """Run the demo to its end; return what it printed, which must be one line of JSON."""
    process = start(settings, *options)
    out, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 0, err
    assert len(out.splitlines()) == 1
    found: dict[str, Any] = json.loads(out)
    return found


def check(found: dict[str, Any], orders: int) -> None:
    """Assert what holds for every run that has accounted for everything."""
    assert set(found) >= KEYS
    assert (found["accounted"], found["missing"]) == (True, [])
    assert found["orders"] == orders
    assert orders == sum(found[name] for name in ("filled", "canceled", "rejected", "open"))
    assert sum(found["rejected_by_code"].values()) == found["rejected"] > 0
    assert found["positions_match_fills"] is True
    assert found["fills"] >= found["filled"] > 0
    assert set(found["history_rows"]) == {table.name for table in TABLES.values()}
    assert found["history_rows"]["dead_letters_log"] >= found["dead_letters"]
    assert found["history_rows"]["order_requests_log"] > orders
    assert found["history_rows"]["venue_orders_log"] >= found["filled"]
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert found["first_fill_s"] > 0
    assert found["strategy"]["signals"] > 0
    assert found["orders_per_s"] == pytest.approx(orders / found["elapsed_s"], rel=0.01)


def test_a_demo_accounts_for_everything_and_can_be_repeated(tmp_path: Path) -> None:
    """Cold with --keep, then again on what runs, which stays; other accounts, the same mix."""
    settings = settings_on_free_ports(tmp_path)
    try:
        first = run(settings, "--orders", "300", "--keep")
        check(first, 300)
        supervisor = running_state(settings)
        assert supervisor is not None
        second = run(settings, "--orders", "300", "--seed", "8")
        check(second, 300)
        assert (second["seed"], second["run"] != first["run"]) == (8, True)
        still = running_state(settings)
        assert still is not None
        assert still.supervisor == supervisor.supervisor
    finally:
        down(settings)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_ends_what_it_started(tmp_path: Path, number: signal.Signals) -> None:
    """In the middle of the load: nothing runs afterwards, nothing is printed as a result."""
    settings = settings_on_free_ports(tmp_path)
    try:
        with start(settings, "--orders", "100000", "--keep") as process:
            deadline = time.monotonic() + LONG_S
            lines = (line for line in process.stderr or () if time.monotonic() < deadline)
            assert any(" trading: " in line for line in lines)
            process.send_signal(number)
            out, err = process.communicate(timeout=LONG_S)
        assert (process.returncode, out) == (INTERRUPTED, ""), err
        assert "Traceback" not in err
        assert running_state(settings) is None
    finally:
        down(settings)
