"""The benchmarks' quick forms finish and account for every record; their arithmetic holds.

No assertion here is about a time or a rate: the machine that runs the tests is busy.
"""

import asyncio
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bars_job, contenders, hop, job, kills, latency, restore, sink, ticks_at_rest
from benchmarks.__main__ import BENCHMARKS, rows
from benchmarks.changelog import content_of
from benchmarks.harness import OURS, Plan, interleaved, outcome, spread
from streams.dev.reference import ROOT
from streams.errors import IncompleteError
from streams.settings import Settings

BOUND_S = 180
ORDERS = 20_000
#: What a benchmark worked through: it raises where one of them is missing afterwards.
HAS = {"restore": {"keys": restore.QUICK_KEYS}, "sink": {"rows": sink.QUICK_ROWS}}


def bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `./orderflow bench` in this environment."""
    command = [sys.executable, "-m", "streams", "bench", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=BOUND_S, check=False
    )


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_quick_form_accounts_for_every_record(name: str) -> None:
    """It ends with 0, which it does not where a record is missing, and tells what it found."""
    done = bench(name, "--quick", "--json")
    assert done.returncode == 0, done.stderr[-3_000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["benchmark"] == name
    assert found["quick"]
    if name == "kills":
        assert found["ours"] == 0  # orders lost, counted twice or unanswered
        assert found["counts"]["ours"]["kills"] > 0
        assert found["counts"]["ours"]["stuck"] == 0
    else:
        assert found["ours"] > 0
        assert set(found["rivals"]) <= set(found["ratios"])
        assert all(figure > 0 for figure in found["rivals"].values())
    assert found["unit"]
    assert {part: found[part] for part in HAS.get(name, {})} == HAS.get(name, {})


def test_an_unknown_name_is_refused() -> None:
    """With the names that there are, before anything is started."""
    done = bench("speed")
    assert done.returncode == 2
    assert "hop, latency" in done.stderr


async def test_a_wrong_output_is_noticed(stack: Settings, tmp_path: Path) -> None:
    """A contender that decides one order otherwise than the job says has no figure."""
    plan = Plan(stack.model_copy(update={"data_dir": tmp_path}), True, 1, print)
    await hop.fill(plan.settings, ORDERS)
    expected = hop.decided(ORDERS)
    (raw,) = (one for one in contenders.of_product() if one.name == "raw_aiokafka")
    measure = partial(hop.measure, plan, raw)
    await asyncio.to_thread(measure, expected)
    status, count, notional = expected[150]
    expected[150] = status, count + 1, notional
    with pytest.raises(IncompleteError, match="0 are missing and 1 came out twice or wrong"):
        await asyncio.to_thread(measure, expected)


def test_bars_that_are_wrong_or_missing_are_noticed() -> None:
    """Of those that find the ticks at rest: one that is changed, doubled, left out or too many."""
    wanted = bars_job.expected(bars_job.Input(3, 200))
    rows = [
        (symbol, start_ns, *prices, volume, average * volume, int(trades))
        for (symbol, start_ns), (*prices, volume, average, trades) in wanted.items()
    ]
    check = partial(ticks_at_rest.check, "rival", wanted=wanted)
    check(rows)
    (symbol, *rest), *others = rows
    for wrong in ((symbol, *rest[:-1], 3), rows[1], ("Z", *rest)):
        with pytest.raises(IncompleteError, match="rival: twice or wrong"):
            check([wrong, *others])
    with pytest.raises(IncompleteError, match="rival: 299 of 300 bars"):
        check(others)


def test_restore_refuses_a_store_that_lacks_a_key() -> None:
    """The checksum sees a key that is missing, one that is doubled, and another value."""
    whole = content_of([(b"a", b"1"), (b"b", b"2")])
    assert whole == content_of([(b"b", b"2"), (b"a", b"1")])
    for pairs in ([(b"a", b"1")], [(b"a", b"1")] * 2, [(b"a", b"1"), (b"b", b"3")]):
        assert content_of(pairs) != whole


# --- arithmetic -----------------------------------------------------------------------------


def test_rounds_are_interleaved_and_rotated() -> None:
    """Each contender once per round, another one first each time."""
    order: list[str] = []

    def contender(name: str) -> Any:
        def sample() -> float:
            order.append(name)
            return float(len(order))

        return sample

    found = interleaved({name: contender(name) for name in "abc"}, 3, lambda _: None)
    assert "".join(order) == "abcbcacab"
    assert found == {"a": [1.0, 6.0, 8.0], "b": [2.0, 4.0, 9.0], "c": [3.0, 5.0, 7.0]}


def test_a_spread_is_of_figures() -> None:
    """Samples may have more to tell than their figure."""
    found = spread([3.0, {"figure": 1.0, "more": "told"}, 8.0])
    assert found == {"median": 3.0, "low": 1.0, "high": 8.0, "samples": [3.0, 1.0, 8.0]}


@pytest.mark.parametrize(
    ("better", "ratio", "against_goal", "met"),
    [
        ("more", 0.5, 0.4, {"rival": True, "goal": False}),
        ("less", 2.0, 2.5, {"rival": True, "goal": True}),
    ],
)
def test_a_ratio_above_one_is_better(
    better: Any, ratio: float, against_goal: float, met: dict[str, bool]
) -> None:
    """Ours is 4, the rival's 8, and 10 is the figure that is the goal."""
    samples = {OURS: [4.0], "rival": [8.0], "other": [4.0]}
    found = outcome("x", "ms", samples, better=better, goals={"rival": 0.5, "goal": 10.0})
    assert found["ratios"] == {"rival": ratio, "other": 1.0, "goal": against_goal}
    assert found["met"] == met
    assert found["rivals"] == {"rival": 8.0, "other": 4.0}
    shown = {row[0]: row[-1] for row in rows({**found, "quick": True})}
    words = {True: "met", False: "missed"}
    assert shown == {OURS: "", "other": "", **{name: words[is_met] for name, is_met in met.items()}}


def test_a_rate_leaves_out_the_warm_up() -> None:
    """The first fifth came slowly; the rest at one per millisecond."""
    slow = [1_000 * number for number in range(20)]
    steady = [20_000 + number for number in range(80)]
    assert hop.rate(slow + steady) == pytest.approx(79 / 0.079)


def test_a_run_shorter_than_the_clock_has_no_rate() -> None:
    """Everything came in the millisecond in which the warm-up ended."""
    with pytest.raises(IncompleteError, match="too few"):
        hop.rate([1_000] * 200)


@pytest.mark.parametrize(
    ("looks", "cost"),
    [
        ([(0, 1.0), (100, 2.0), (300, 2.5), (1_000, 4.0)], 2_143.0),  # 1.5 s for 700 records
        ([(0, 1.0), (1_000, 4.0)], None),  # done before it was looked at twice
    ],
)
def test_the_cost_leaves_out_the_warm_up(looks: Any, cost: float | None) -> None:
    """Processor seconds of start and import are not the records'."""
    found = hop.cpu_us(looks, 1_000)
    assert (found and round(found)) == cost


def come_through(many: int) -> list[dict[str, Any]]:
    """Return what comes out of a run in which nothing goes wrong."""
    totals: dict[str, job.Totals] = {}
    found = []
    for one in [*job.orders(many), *kills.last_orders(many)]:
        checked, totals[one.account] = job.apply(one, totals.get(one.account, job.NOTHING))
        found.append(json.loads(job.encode(checked)))
    return found


def test_losses_are_counted() -> None:
    """One of each kind on top of a run in which nothing went wrong."""
    many = 3_000
    outputs = come_through(many)
    assert kills.losses(many, outputs) == kills.Losses(orders=many)
    assert kills.losses(many, outputs[1:]) == kills.Losses(orders=many, unanswered=1)
    assert kills.losses(many, [*outputs, outputs[7]]) == kills.Losses(orders=many, repeated=1)
    told = outputs[-1]["count"]
    for counted, field in ((told - 2, "lost"), (told + 2, "counted_twice")):
        changed = [*outputs[:-1], {**outputs[-1], "count": counted}]
        assert kills.losses(many, changed) == kills.Losses(orders=many, **{field: 2})


def test_percentiles_are_ranks() -> None:
    """Of a hundred values, the one that so many are below."""
    found = latency.percentiles([1_000 * number for number in range(100)])
    assert found == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.0}
