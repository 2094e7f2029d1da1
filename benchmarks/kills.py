"""`kills`: the job of `hop` under `kill -9`, and what the state and the output hold in the end.

Every contender works through the same orders. At random moments of its progress, the same ones
for all, its process is killed and started again as it was. When the whole input is consumed, one
last order per account asks what its state has come to, and everything that came out is read.

    lost             accepted orders that the state did not count
    counted_twice    accepted orders that the state counted once too often
    unanswered       orders of which nothing came out
    repeated         outputs beyond the first of an order: at least once means that they come

The figure is the sum of the first three over all rounds; 0 is the only good one. A contender that
does not get through the input again has `stuck` set, and what it left undone counts as lost.

Rivals run with their defaults but for what is said in `workers/`, and for the session time-out,
which is Kafka's least for all, so that a killed member is not waited for. `quix_streams` is at
least once, as it is by default; `quix_streams_exactly_once` has Kafka's transactions.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import count
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from benchmarks import contenders, job
from benchmarks.contenders import Contender, Running
from benchmarks.harness import Plan, Sample, interleaved, outcome
from benchmarks.job import PARTITIONS, Chain
from connectors.kafka.client import admin, consumer, producer
from streams.dev.ports import free_ports
from streams.partitioner import partition_of
from streams.settings import Settings

ORDERS, KILLS = 30_000, 6
QUICK_ORDERS, QUICK_KILLS = 3_000, 2
SEED = 20_240_611
#: Where in a contender's progress it may be killed, and how long after getting there at most.
EARLIEST, LATEST = 0.05, 0.9
LATER_S = 0.3
SESSION_S = 6.0
#: Kafka takes back a transaction that nobody ends after a minute by default.
TRANSACTION_S = 100.0
#: A contender without any progress for so long is stuck; the slowest restart takes a third.
STUCK_S = 60.0
POLL_S = 0.05
_rounds = count()


@dataclass(frozen=True)
class Losses:
    """What one run left behind."""

    orders: int = 0
    kills: int = 0
    lost: int = 0
    counted_twice: int = 0
    unanswered: int = 0
    repeated: int = 0
    stuck: int = 0

    @property
    def figure(self) -> int:
        """Return the number of broken promises."""
        return self.lost + self.counted_twice + self.unanswered


def run(plan: Plan) -> dict[str, Any]:
    """Kill all contenders in turn; the quick form has ours alone: rivals take their time."""
    left_out = {"raw_aiokafka", *(("stock_faust",) if plan.quick else ())}
    taking_part = [one for one in contenders.of_product() if one.name not in left_out]
    if not plan.quick:
        (quix,) = contenders.of_rivals(plan, ("quix_streams",))
        once = {"ORDERFLOW_BENCH_EXACTLY_ONCE": "1"}
        taking_part += [quix, replace(quix, name="quix_streams_exactly_once", settings=once)]
    asyncio.run(contenders.create_topics(plan.settings, [contenders.COUNTED_BY_OURS]))
    found = interleaved(
        {one.name: partial(_sample, plan, one) for one in taking_part}, plan.repeats, plan.say
    )
    result = outcome(
        "kills",
        "orders lost, counted twice or unanswered",
        found,
        better="less",
        goals={},
        extra={"seed": SEED, "counts": _totals(found)},
    )
    # How many times nothing is less than something says nothing.
    return {**result, "ratios": {}, "met": {}}


def _totals(found: Mapping[str, Sequence[Sample]]) -> dict[str, dict[str, int]]:
    names = [field.name for field in fields(Losses)]
    return {
        contender: {
            name: sum(one[name] for one in samples if isinstance(one, dict)) for name in names
        }
        for contender, samples in found.items()
    }


def _sample(plan: Plan, contender: Contender) -> dict[str, Any]:
    losses = measure(plan, contender, next(_rounds))
    return {"figure": losses.figure, **vars(losses)}


def measure(plan: Plan, contender: Contender, number: int) -> Losses:
    """Let a contender work through the orders, kill it on the way, and count what came of them."""
    many, kills = (QUICK_ORDERS, QUICK_KILLS) if plan.quick else (ORDERS, KILLS)
    chance = random.Random(SEED + number)
    moments = sorted(chance.uniform(EARLIEST, LATEST) for _ in range(kills))
    (port,) = free_ports(1)
    with contenders.fresh_chain(plan, contender, 1, session_s=SESSION_S) as chain:
        asyncio.run(produce(plan.settings, chain, list(job.orders(many))))
        for moment in moments:
            with contenders.running(plan, contender, chain, port) as running:
                asyncio.run(_until(plan.settings, running, out=round(moment * many)))
                time.sleep(chance.uniform(0, LATER_S))
                running.kill()
        with contenders.running(plan, contender, chain, port) as running:
            stuck = not asyncio.run(_until(plan.settings, running, consumed=many))
            asyncio.run(produce(plan.settings, chain, last_orders(many)))
            stuck |= not asyncio.run(_until(plan.settings, running, consumed=many + job.ACCOUNTS))
        outputs = asyncio.run(read(plan.settings, chain.topics[1]))
    return replace(losses(many, outputs), kills=kills, stuck=int(stuck))


def last_orders(many: int) -> list[job.Order]:
    """Return an order for each account, behind the others; its output tells the state."""
    seen: dict[str, job.Order] = {}
    for number in count(many):
        one = job.order(number, job.FIRST_TS_NS + number)
        if one.qty * one.limit_price <= job.LIMIT:
            seen.setdefault(one.account, one)
        if len(seen) == job.ACCOUNTS:
            return list(seen.values())
    raise AssertionError("there is an account without an order that passes")


def losses(many: int, outputs: Sequence[Mapping[str, Any]]) -> Losses:
    """Compare what came out with what had to: `many` orders, then the last one of each account."""
    wanted: Counter[str] = Counter()
    for one in job.orders(many):
        wanted[one.account] += one.qty * one.limit_price <= job.LIMIT
    answers = Counter(int(found["order_id"][2:]) for found in outputs)
    counted: dict[str, int] = {}
    for found in outputs:
        if int(found["order_id"][2:]) >= many:
            counted.setdefault(found["account"], found["count"] - 1)
    return Losses(
        orders=many,
        lost=sum(max(0, n - counted.get(account, 0)) for account, n in wanted.items()),
        counted_twice=sum(max(0, counted.get(account, 0) - n) for account, n in wanted.items()),
        unanswered=sum(number not in answers for number in range(many)),
        repeated=sum(times - 1 for times in answers.values()),
    )


async def produce(settings: Settings, chain: Chain, orders: Sequence[job.Order]) -> None:
    """Put orders on the chain's first topic, each account's in order."""
    async with producer(settings) as client:
        sent = []
        for one in orders:
            key = one.account.encode()
            sent.append(
                await client.send(
                    chain.topics[0], job.sent(one), key, partition_of(key, PARTITIONS)
                )
            )
        await asyncio.gather(*sent)


async def read(settings: Settings, topic: str) -> list[dict[str, Any]]:
    """Return all that is on a topic and was not taken back, each partition in order.

    A transaction that a kill left open ends by its time-out; what lies behind it is read then.
    """
    found: list[dict[str, Any]] = []
    async with consumer(settings) as client:
        written = await client.end_offsets(_partitions(topic))
    committed = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap, isolation_level="read_committed"
    )
    async with committed as client:
        tps = _partitions(topic)
        client.assign(tps)
        await client.seek_to_beginning(*tps)
        until = time.monotonic() + TRANSACTION_S
        while any([await client.position(tp) < written[tp] for tp in tps]):
            if time.monotonic() > until:
                break
            for records in (await client.getmany(timeout_ms=1_000)).values():
                found += [orjson.loads(record.value) for record in records]
    return found


async def _until(settings: Settings, running: Running, *, out: int = 0, consumed: int = 0) -> bool:
    """Return True when so much came out and is consumed, False when nothing moves any more."""
    before, moved = (-1, -1), time.monotonic()
    group, (source, target) = running.chain.group, running.chain.topics
    async with consumer(settings) as client, admin(settings) as asking:
        while True:
            came = sum((await client.end_offsets(_partitions(target))).values())
            done = await _consumed(asking, group, source)
            if came >= out and done >= consumed:
                return True
            running.check()
            if (came, done) != before:
                before, moved = (came, done), time.monotonic()
            elif time.monotonic() - moved > STUCK_S:
                return False
            await asyncio.sleep(POLL_S)


async def _consumed(client: AIOKafkaAdminClient, group: str, topic: str) -> int:
    try:
        offsets = await client.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:  # the first group of a new Kafka
        return 0
    return sum(at.offset for tp, at in offsets.items() if tp.topic == topic)


def _partitions(topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in range(PARTITIONS)]
