"""`hop`: consume JSON orders, decode, check, count with a changelog, produce with acks.

Every contender finds its whole input in Kafka: orders of about 175 bytes for 1,000 accounts on
four partitions. It takes part as one process, at least once, with acks of all replicas, and an
idempotent producer where it has one. The job is `job.py`, in Java `kafka_streams/Hop.java`.

The figure is records per second of output as Kafka got it: the output topic has the broker's
time of arrival, the first fifth of the records is left out as warm-up (imports, group join,
Java's compiler), and the others are divided by the time between the end of that fifth and the
last record. Starting a process is not in it. Rates being rates, contenders have as many records
as keep them busy for some seconds; how many is in the result.

`cpu_us_per_record` is what a record costs the contender's process in microseconds of processor,
all its threads together, over the same part: what the rate would be limited by on a machine with
cores to spare, and less moved by what else runs than the rate is.

A run counts only if every order came out exactly once, each as it should be decided, and the
last total of each account is the right one.

What the variants are stands in the docstrings of `workers/`. In short: `raw_aiokafka` is a loop
by hand over record batches, with its state in a dict; `bytewax` has no changelog and writes
snapshots to SQLite; `kafka_streams` and `quix_streams` gather changes between commits, `ours`
and `raw_aiokafka` per batch, `stock_faust` not at all.
"""

import asyncio
import statistics
from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson
from aiokafka import TopicPartition

from benchmarks import contenders, job
from benchmarks.contenders import Contender, Running
from benchmarks.harness import Plan, Sample, interleaved, outcome, spread
from benchmarks.job import PARTITIONS
from connectors.kafka.client import consumer, producer
from streams.clock import monotonic
from streams.errors import IncompleteError
from streams.partitioner import partition_of
from streams.settings import Settings

GOALS = {
    "stock_faust": 20.0,
    "quix_streams": 1.5,
    "bytewax": 1.5,
    "kafka_streams": 1.5,
    "raw_aiokafka": 0.6,
}
#: Records of a run: some seconds of work. Each number has an input topic of its own.
RECORDS = {
    "ours": 150_000,
    "ours_consumer_thread": 150_000,
    "stock_faust": 10_000,
    "quix_streams": 50_000,
    "bytewax": 150_000,
    "kafka_streams": 400_000,
    "raw_aiokafka": 150_000,
}
QUICK_RECORDS = {"ours": 10_000, "stock_faust": 1_000, "raw_aiokafka": 10_000}
WARM_UP = 0.2
BOUND_S = 120.0
POLL_S = 0.2
BATCH_BYTES = 500_000

#: What an output has to say of an order: status, count, notional.
Decided = tuple[str, int, str]


def run(plan: Plan) -> dict[str, Any]:
    """Measure all contenders; the quick form leaves out those that need a download."""
    taking_part = contenders.of_product()
    if not plan.quick:
        taking_part += contenders.of_rivals(plan, ("quix_streams", "bytewax", "kafka_streams"))
        taking_part.append(contenders.threaded())
    records = QUICK_RECORDS if plan.quick else RECORDS
    asyncio.run(contenders.create_topics(plan.settings, [contenders.COUNTED_BY_OURS]))
    for many in sorted(set(records.values())):
        plan.say(f"producing {many:,} orders")
        asyncio.run(fill(plan.settings, many))
    expected = decided(max(records.values()))
    samples = interleaved(
        {
            one.name: partial(measure, plan, one, expected[: records[one.name]])
            for one in taking_part
        },
        plan.repeats,
        plan.say,
    )
    threaded = samples.pop("ours_consumer_thread", [])
    extra = {
        "records": dict(records),
        "cpu_us_per_record": {name: _cpu_us(found) for name, found in samples.items()},
        "variants": {"ours_consumer_thread": spread(threaded)} if threaded else {},
    }
    return outcome("hop", "records/s", samples, goals=GOALS, extra=extra)


def measure(plan: Plan, contender: Contender, expected: Sequence[Decided]) -> dict[str, Any]:
    """Let a contender work through its input; return its rate and what a record costs it."""
    many = len(expected)
    with contenders.fresh_chain(plan, contender, 1, source=_input(many)) as chain:
        with contenders.running(plan, contender, chain) as running:
            looks = asyncio.run(_wait_for(plan.settings, running, many))
        figure = asyncio.run(_rate(plan.settings, running, expected))
    return {"figure": figure, "cpu_us": cpu_us(looks, many)}


def cpu_us(looks: Sequence[tuple[int, float]], many: int) -> float | None:
    """Return microseconds of processor per record behind the warm-up; None after a short run.

    `looks` are how many records were out, and the seconds of processor used by then.
    """
    steady = [look for look in looks if look[0] >= many * WARM_UP]
    if len(steady) < 2 or steady[0][0] == steady[-1][0]:
        return None
    (first, before), (last, after) = steady[0], steady[-1]
    return (after - before) / (last - first) * 1e6


def _cpu_us(samples: Sequence[Sample]) -> float | None:
    found = [one["cpu_us"] for one in samples if isinstance(one, dict) and one["cpu_us"]]
    return round(statistics.median(found), 1) if found else None


def decided(many: int) -> list[Decided]:
    """Return what has to come out for each order, by its number."""
    known: dict[str, job.Totals] = {}
    found: list[Decided] = []
    for one in job.orders(many):
        checked, totals = job.apply(one, known.get(one.account, job.NOTHING))
        known[one.account] = totals
        found.append((checked.status, checked.count, str(checked.notional)))
    return found


def _input(many: int) -> str:
    return f"hop-in-{many}"


async def fill(settings: Settings, many: int) -> None:
    """Create an input topic and put the orders on it, each account's in order."""
    topic = _input(many)
    await contenders.create_topics(settings, [topic])
    async with producer(settings) as client:
        open_batches: dict[int, Any] = {}
        sent = []
        for one in job.orders(many):
            key, value = one.account.encode(), job.sent(one)
            partition = partition_of(key, PARTITIONS)
            batch = open_batches.setdefault(partition, client.create_batch())
            if batch.append(key=key, value=value, timestamp=None) is None:
                sent.append(await client.send_batch(batch, topic, partition=partition))
                open_batches[partition] = client.create_batch()
                open_batches[partition].append(key=key, value=value, timestamp=None)
        for partition, batch in open_batches.items():
            sent.append(await client.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*sent)


async def _wait_for(settings: Settings, running: Running, many: int) -> list[tuple[int, float]]:
    """Return when as many records came out, with what was seen; raise IncompleteError if not."""
    looks: list[tuple[int, float]] = []
    tps = _partitions(running)
    deadline = monotonic() + BOUND_S
    async with consumer(settings) as client:
        while (count := sum((await client.end_offsets(tps)).values())) < many:
            running.check()
            looks.append((count, running.cpu_s()))
            if monotonic() > deadline:
                raise IncompleteError(
                    f"{running.contender.name}: {count} of {many} records came out "
                    f"in {BOUND_S:.0f} s"
                )
            await asyncio.sleep(POLL_S)
        return [*looks, (count, running.cpu_s())]


async def _rate(settings: Settings, running: Running, expected: Sequence[Decided]) -> float:
    """Check every output; return the rate behind the warm-up."""
    times: list[int] = []
    missing = set(range(len(expected)))
    wrong = 0
    async with consumer(settings) as client:
        tps = _partitions(running)
        client.assign(tps)
        ends = await client.end_offsets(tps)
        await client.seek_to_beginning(*tps)
        while len(times) < sum(ends.values()):
            for records in (await client.getmany(timeout_ms=1_000)).values():
                times += [record.timestamp for record in records]
                for record in records:
                    found = orjson.loads(record.value)
                    number = int(found["order_id"][2:])
                    said = (found["status"], found["count"], found["notional"])
                    wrong += said != expected[number] or number not in missing
                    missing.discard(number)
    if missing or wrong:
        raise IncompleteError(
            f"{running.contender.name}: of {len(expected)} orders {len(missing)} are missing and "
            f"{wrong} came out twice or wrong"
        )
    return rate(times)


def rate(times_ms: Sequence[int]) -> float:
    """Return records per second behind the warm-up, from each record's time of arrival.

    Raises IncompleteError if all of them came in the millisecond in which the warm-up ended.
    """
    ordered = sorted(times_ms)
    warm = ordered[int(len(ordered) * WARM_UP)]
    counted = len(ordered) - bisect_right(ordered, warm)
    if not counted:
        raise IncompleteError(f"{len(ordered)} records are too few to measure a rate by")
    return counted / ((ordered[-1] - warm) / 1_000)


def _partitions(running: Running) -> list[TopicPartition]:
    return [TopicPartition(running.chain.topics[1], number) for number in range(PARTITIONS)]
