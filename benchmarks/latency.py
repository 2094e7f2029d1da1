"""`latency`: how long an order is on its way over one and three hops, at given rates.

A chain is one process of each contender: hop `i` consumes topic `i` and produces topic `i + 1`,
with the job of `hop`. Ours, stock Faust and Quix Streams keep state with a changelog; raw
aiokafka, the limit, has none: it decodes, checks, encodes, and commits twice a second. One more
process, `open_loop.py`, sends and receives, the same for all; it counts from the intended time of
sending. Every order has to come out exactly once.

The headline is p99 in milliseconds over three hops at 500 orders a second: the median of the
rounds. `combinations` has p50, p95, p99 and p99.9 of the orders of all rounds together, for
each number of hops and rate, and `ratios_by_combination` the rival's figure over ours.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks import contenders
from benchmarks.contenders import Contender
from benchmarks.harness import OURS, ROOT, Plan, Sample, interleaved, outcome, ratio
from streams.errors import IncompleteError

#: p99 within twice that of raw aiokafka; better than the others.
GOALS = {"stock_faust": 1.0, "quix_streams": 1.0, "raw_aiokafka": 0.5}
HOPS = (1, 3)
#: Orders per second, and for how many seconds.
RATES = ((100, 3.0), (500, 2.0), (2_000, 1.0))
QUICK_RATES = ((500, 0.2),)
#: What is sent before, and not counted.
WARM_UP, QUICK_WARM_UP = (500, 1.0), (500, 0.1)
HEADLINE = (3, 500)
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
BOUND_S = 300.0


def run(plan: Plan) -> dict[str, Any]:
    """Measure all contenders; the quick form has one combination and no download."""
    taking_part = contenders.of_product()
    if not plan.quick:
        taking_part += contenders.of_rivals(plan, ("quix_streams",))
    asyncio.run(contenders.create_topics(plan.settings, [contenders.COUNTED_BY_OURS]))
    samples = interleaved(
        {one.name: partial(measure, plan, one) for one in taking_part}, plan.repeats, plan.say
    )
    found = combinations(samples)
    extra = {"combinations": found, "ratios_by_combination": ratios_of(found)}
    return outcome("latency", "ms", samples, better="less", goals=GOALS, extra=extra)


def measure(plan: Plan, contender: Contender) -> Sample:
    """Run a contender's chains through the rates; return latencies in microseconds."""
    rates = QUICK_RATES if plan.quick else RATES
    latencies: dict[str, list[int]] = {}
    for hops in (HEADLINE[0],) if plan.quick else HOPS:
        warm_up = QUICK_WARM_UP if plan.quick else WARM_UP
        _, *found = _through(plan, contender, hops, [warm_up, *rates])
        for (rate, _), latency_us in zip(rates, found, strict=True):
            latencies[_name(hops, rate)] = latency_us
    headline = percentiles(latencies[_name(*HEADLINE)])["p99"]
    return {"figure": headline, "latencies": latencies}


def _through(
    plan: Plan, contender: Contender, hops: int, rates: Sequence[tuple[int, float]]
) -> list[list[int]]:
    state = contender.name != "raw_aiokafka"
    with (
        contenders.fresh_chain(plan, contender, hops, state=state, eager=True) as chain,
        contenders.running(plan, contender, chain) as running,
    ):
        try:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.open_loop", json.dumps(rates)],
                env={**contenders.environment(), **chain.environment()},
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=BOUND_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise IncompleteError(f"{contender.name}: no end within {BOUND_S:.0f} s") from None
        running.check()
        if done.returncode != 0:
            why = done.stderr.strip().splitlines()[-1:]
            raise IncompleteError(f"{contender.name}, {hops} hops: {' '.join(why)}")
        found: list[list[int]] = json.loads(done.stdout)
    return found


def _name(hops: int, rate: int) -> str:
    return f"{hops} hop{'s' if hops > 1 else ''}, {rate}/s"


def percentiles(latency_us: Sequence[int]) -> dict[str, float]:
    """Return the percentiles in milliseconds: of all values, the one at that rank."""
    ordered = sorted(latency_us)
    last = len(ordered) - 1
    return {
        name: ordered[min(last, int(len(ordered) * share))] / 1_000
        for name, share in PERCENTILES.items()
    }


def combinations(samples: Mapping[str, Sequence[Sample]]) -> dict[str, dict[str, Any]]:
    """Return the percentiles of each contender in each combination, all rounds together."""
    found: dict[str, dict[str, Any]] = {}
    for contender, rounds in samples.items():
        pooled: dict[str, list[int]] = {}
        for one in rounds:
            assert isinstance(one, dict)
            for name, latency_us in one["latencies"].items():
                pooled.setdefault(name, []).extend(latency_us)
        for name, latency_us in pooled.items():
            row = {**percentiles(latency_us), "orders": len(latency_us)}
            found.setdefault(name, {})[contender] = row
    return found


def ratios_of(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return p50 and p99 of each rival over ours, for each combination."""
    return {
        name: {
            rival: {
                which: ratio(by_contender[OURS][which], figures[which], "less")
                for which in ("p50", "p99")
            }
            for rival, figures in by_contender.items()
            if rival != OURS
        }
        for name, by_contender in found.items()
    }
