"""Send orders at given rates and measure how long each is on its way: a process of its own.

Open loop: each order has an intended time of sending, which depends on the rate alone, and its
latency is counted from then, also when the sender was late. So a contender that stalls cannot
slow its own load down and hide what waited. Timers of the event loop fire within a millisecond;
that is in every figure, and the same for all.

It writes its result as JSON to standard output, a list of latencies in microseconds per rate.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks import job
from benchmarks.job import PARTITIONS, Chain

#: Until a contender has passed its first order on.
READY_S = 60.0
#: Until the last order of a rate has arrived.
DRAIN_S = 60.0


@dataclass
class Arrivals:
    """What has arrived: the latency of each order, by its number, in microseconds."""

    latency_us: dict[int, int] = field(default_factory=dict)
    twice: int = 0

    async def follow(self, consumer: Any) -> None:
        """Take in records for ever."""
        while True:
            fetched = await consumer.getmany(timeout_ms=1_000)
            now_ns = time.time_ns()
            for records in fetched.values():
                for record in records:
                    order = orjson.loads(record.value)
                    self.twice += (number := int(order["order_id"][2:])) in self.latency_us
                    self.latency_us[number] = (now_ns - order["ts_event_ns"]) // 1_000


class Load:
    """Sends numbered orders and waits for them."""

    def __init__(self, producer: Any, topic: str, arrivals: Arrivals) -> None:
        self.producer = producer
        self.topic = topic
        self.arrivals = arrivals
        self.numbers = 0

    async def until_ready(self) -> None:
        """Send an order now and then until all that were sent have arrived."""
        deadline = time.monotonic() + READY_S
        while not self.arrivals.latency_us:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing came through within {READY_S:.0f} s")
            await self._send(time.time_ns())
            await asyncio.sleep(0.2)
        await self._arrived(0)

    async def at(self, rate: float, seconds: float) -> list[int]:
        """Send at a rate for a time; return each order's latency in microseconds."""
        first = self.numbers
        start_ns = time.time_ns() + 20_000_000
        for number in range(round(rate * seconds)):
            intended_ns = start_ns + round(number / rate * 1e9)
            early_s = (intended_ns - time.time_ns()) / 1e9
            if early_s > 0:
                await asyncio.sleep(early_s)
            await self._send(intended_ns)
        await self._arrived(first)
        return [self.arrivals.latency_us[number] for number in range(first, self.numbers)]

    async def _send(self, intended_ns: int) -> None:
        one = job.order(self.numbers, intended_ns)
        self.numbers += 1
        await self.producer.send(self.topic, job.sent(one), key=one.account.encode())

    async def _arrived(self, first: int) -> None:
        deadline = time.monotonic() + DRAIN_S
        missing = set(range(first, self.numbers))
        while missing := missing - self.arrivals.latency_us.keys():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(missing)} of {self.numbers - first} orders did not come")
            await asyncio.sleep(0.05)


async def run(chain: Chain, rates: list[tuple[float, float]]) -> list[list[int]]:
    """Go through the rates, each (orders per second, seconds); the first one is the warm-up."""
    producer = AIOKafkaProducer(bootstrap_servers=chain.bootstrap, acks=1, linger_ms=0)
    consumer = AIOKafkaConsumer(bootstrap_servers=chain.bootstrap, fetch_max_wait_ms=500)
    consumer.assign([TopicPartition(chain.topics[-1], number) for number in range(PARTITIONS)])
    await producer.start()
    await consumer.start()
    arrivals = Arrivals()
    following = asyncio.create_task(arrivals.follow(consumer))
    try:
        await consumer.seek_to_beginning()
        load = Load(producer, chain.topics[0], arrivals)
        await load.until_ready()
        found = [await load.at(rate, seconds) for rate, seconds in rates]
    finally:
        following.cancel()
        await consumer.stop()
        await producer.stop()
    if arrivals.twice:
        raise ValueError(f"{arrivals.twice} orders came twice")
    return found


if __name__ == "__main__":
    uvloop.install()
    print(json.dumps(asyncio.run(run(Chain.from_environment(), json.loads(sys.argv[1])))))
