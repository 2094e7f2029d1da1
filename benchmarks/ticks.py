"""`ticks`: trades on a topic to bars of one minute on another, in one process.

Every contender finds its whole input in Kafka: trades of about 150 bytes of 100 symbols on four
partitions. It takes part as one process with acks of all replicas. `ours` is a worker with the
bars agent alone: it waits for late prints, restates, tells repetitions, knows sessions, and keeps
every print that can still be corrected in its table and changelog. `stock_faust` and
`raw_aiokafka` add up ticks that come in order, and do nothing of that; the first has a table, the
second a dict. `quix_streams` has a window of its own kind, and waits for nothing either.
`ours_default_frames` makes bars of 1m, 5m, 1h and 1d. `clickhouse` and `polars` have the ticks
before them in a table and in a file: what they do, and what is not in it, stands at the head of
`ticks_at_rest.py`. The latter is the limit.

The figure is ticks per second: those of the bars behind the first fifth, as they arrived at the
output topic, divided by the time between the end of that fifth and the last bar. Bars count as
they come, not minute by minute: a contender may take one partition's ticks before another's, and
the minutes would then be complete almost at once. `cpu_us_per_tick` is what a tick costs the
process in microseconds of processor, all its threads together, over about the same part: what the
rate is limited by on a machine with cores to spare.

A run counts only if every bar came out once, each as it should be. `in_clickhouse` is the way on
from there: how long until the ticks and the bars of ours are rows, by a run of `ticks_history.py`.
"""

import asyncio
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from aiokafka import TopicPartition

from benchmarks import bars_job, contenders, rivals, ticks_history
from benchmarks.bars_job import SYMBOLS, Input, Said
from benchmarks.contenders import Contender, Running
from benchmarks.harness import OURS, Plan, Sample, interleaved, outcome, spread
from benchmarks.hop import cpu_us, rate
from benchmarks.job import PARTITIONS
from benchmarks.ticks_at_rest import ClickHouse, Polars, client_of, rows_of
from benchmarks.workers import bars_ours, bars_stock
from connectors.clickhouse.migrate import migrate
from connectors.kafka.client import consumer, producer
from streams.clock import monotonic
from streams.errors import IncompleteError
from streams.models.market import Bar
from streams.partitioner import partition_of
from streams.settings import Settings

#: Ticks per second of one core.
GOALS = {"stock_faust": 20.0, "quix_streams": 1.5, "raw_aiokafka": 0.6, "goal": 100_000.0}
ALL_FRAMES = "ours_default_frames"
_MANY = Input(15, 20_000)
INPUTS = {
    OURS: _MANY,
    ALL_FRAMES: _MANY,
    "stock_faust": Input(5, 4_000),
    "quix_streams": Input(15, 10_000),
    "raw_aiokafka": _MANY,
    "clickhouse": _MANY,
    "polars": _MANY,
}
QUICK_INPUT = Input(10, 2_000)
BOUND_S = 240.0
POLL_S = 0.2


def taking_part(plan: Plan) -> list[Contender]:
    """Return those with a process at Kafka; the quick form has neither the variant nor Quix."""
    found = [
        Contender(OURS, _module("bars_ours"), bars_ours.changelogs, {"ORDERFLOW_BARS": "1m"}),
        Contender("stock_faust", _module("bars_stock"), bars_stock.changelogs),
        Contender("raw_aiokafka", _module("bars_raw")),
    ]
    if plan.quick:
        return found
    variant = Contender(ALL_FRAMES, found[0].command, bars_ours.changelogs)
    python = str(rivals.python(plan.settings, plan.say))
    return [*found, variant, Contender("quix_streams", _module("bars_quix", python))]


@contextmanager
def at_rest(
    plan: Plan, given: Input, wanted: Mapping[tuple[str, int], Said]
) -> Iterator[dict[str, Callable[[], Sample]]]:
    """Yield those that have the ticks before them; the quick form leaves out polars."""
    asyncio.run(migrate(plan.settings))
    rows = rows_of(given)
    with client_of(plan.settings) as client:
        clickhouse = ClickHouse(client, given, wanted)
        clickhouse.prepare(rows)
        found: dict[str, Callable[[], Sample]] = {"clickhouse": clickhouse.measure}
        if not plan.quick:
            python = rivals.python(plan.settings, plan.say)
            polars = Polars(python, plan.settings.data_dir / "polars", given, wanted)
            polars.prepare(rows)
            found["polars"] = polars.measure
        yield found


def _module(name: str, python: str = sys.executable) -> Sequence[str]:
    return [python, "-m", f"benchmarks.workers.{name}"]


def run(plan: Plan) -> dict[str, Any]:
    """Measure all contenders."""
    inputs = dict.fromkeys(INPUTS, QUICK_INPUT) if plan.quick else INPUTS
    asyncio.run(contenders.create_topics(plan.settings, [contenders.COUNTED_BY_OURS]))
    for given in sorted(set(inputs.values())):
        plan.say(f"producing {given.ticks:,} ticks")
        asyncio.run(fill(plan.settings, given))
    wanted = {given: bars_job.expected(given) for given in set(inputs.values())}
    at_kafka = taking_part(plan)
    ours, given = at_kafka[0], inputs[OURS]
    with at_rest(plan, given, wanted[given]) as others:
        ways: dict[str, Callable[[], Sample]] = {
            one.name: partial(measure, plan, one, inputs[one.name], wanted[inputs[one.name]])
            for one in at_kafka
        }
        samples = interleaved(ways | others, plan.repeats, plan.say)
    cpu = {name: _cpu_us(found) for name, found in samples.items()}
    variant = samples.pop(ALL_FRAMES, [])
    extra = {
        "ticks": {name: one.ticks for name, one in inputs.items()},
        "cpu_us_per_tick": {name: cost for name, cost in cpu.items() if name not in others},
        "variants": {ALL_FRAMES: spread(variant)} if variant else {},
    }
    if not plan.quick:
        extra["in_clickhouse"] = ticks_history.measure(plan, ours, given, wanted[given])
    return outcome("ticks", "ticks/s", samples, goals=GOALS, extra=extra)


def _cpu_us(samples: Sequence[Sample]) -> float | None:
    found = [one["cpu_us"] for one in samples if isinstance(one, dict) and one["cpu_us"]]
    return round(statistics.median(found), 2) if found else None


async def fill(settings: Settings, given: Input) -> None:
    """Create an input topic and put the ticks on it, in order."""
    topic = given.topic
    await contenders.create_topics(settings, [topic])
    async with producer(settings) as client:
        batches = {number: client.create_batch() for number in range(PARTITIONS)}
        sent = []
        for tick in bars_job.ticks(given):
            key, value = tick.symbol.encode(), bars_job.sent(tick)
            number = partition_of(key, PARTITIONS)
            if batches[number].append(key=key, value=value, timestamp=None) is None:
                sent.append(await client.send_batch(batches[number], topic, partition=number))
                batches[number] = client.create_batch()
                batches[number].append(key=key, value=value, timestamp=None)
        for number, batch in batches.items():
            sent.append(await client.send_batch(batch, topic, partition=number))
        await asyncio.gather(*sent)


def measure(
    plan: Plan, contender: Contender, given: Input, wanted: Mapping[tuple[str, int], Said]
) -> dict[str, Any]:
    """Let a contender work through its input; return its rate and what a tick costs it."""
    with (
        contenders.fresh_chain(plan, contender, 1, source=given.topic) as chain,
        contenders.running(plan, contender, chain) as running,
    ):
        looks, arrived_ms = asyncio.run(_follow(plan.settings, running, wanted))
    ticks_a_bar = given.per_minute / SYMBOLS
    per_bar = cpu_us(looks, len(wanted))
    per_tick = per_bar / ticks_a_bar if per_bar else None
    return {"figure": rate(arrived_ms) * ticks_a_bar, "cpu_us": per_tick}


async def _follow(
    settings: Settings, running: Running, wanted: Mapping[tuple[str, int], Said]
) -> tuple[list[tuple[int, float]], list[int]]:
    """Read bars until all are there; return how far it was when, and when each bar came."""
    name = running.contender.name
    tps = [TopicPartition(running.chain.topics[1], number) for number in range(PARTITIONS)]
    found: dict[tuple[str, int], Said] = {}
    arrived_ms: list[int] = []
    looks: list[tuple[int, float]] = []
    deadline = monotonic() + BOUND_S
    async with consumer(settings) as client:
        client.assign(tps)
        await client.seek_to_beginning(*tps)
        while len(found) < len(wanted):
            running.check()
            if monotonic() > deadline:
                raise IncompleteError(f"{name}: {len(found)} of {len(wanted)} bars in {BOUND_S} s")
            for records in (await client.getmany(timeout_ms=round(POLL_S * 1_000))).values():
                for record in records:
                    bar = Bar.model_validate_json(record.value)
                    key = bar.symbol, bar.ts_start_ns
                    if bar.frame != "1m":
                        continue
                    if key in found or wanted.get(key) != bars_job.said(bar):
                        raise IncompleteError(f"{name}: twice or wrong: {bar!r}")
                    found[key] = wanted[key]
                    arrived_ms.append(record.timestamp)
            looks.append((len(found), running.cpu_s()))
            await asyncio.sleep(POLL_S)
    return looks, arrived_ms
