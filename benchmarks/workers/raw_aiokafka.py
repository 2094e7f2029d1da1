"""The limit: a loop by hand over aiokafka, with batches on both sides and no framework.

Per hop one consumer and one task. A fetch of a partition becomes one record batch of changelog
records, one per account that changed, and one of outputs; offsets are committed about twice a
second, when everything before is acknowledged. The state is a dict: it is rebuilt by nobody, and
nothing is kept in order across failures. What a framework adds to safety, it does not have.
"""

import asyncio
import signal
import time
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks import job
from benchmarks.job import Chain, Totals

COMMIT_S = 0.5
MAX_RECORDS = 500
MAX_UNACKNOWLEDGED = 64
FETCH_MAX_WAIT_MS = 20


def changelogs(chain: Chain) -> list[str]:
    """Return the changelog topics that the chain needs."""
    return [changelog(chain, source) for source, _ in chain.hops if chain.state]


def changelog(chain: Chain, source: str) -> str:
    """Return the changelog topic of one hop."""
    return f"{chain.group}-{source}-changelog"


class Hop:
    """One hop of the chain."""

    def __init__(self, chain: Chain, source: str, target: str) -> None:
        self.chain = chain
        self.source = source
        self.target = target
        self.totals: dict[str, Totals] = {}
        self.pending: list[asyncio.Future[Any]] = []
        self.producer = AIOKafkaProducer(
            bootstrap_servers=chain.bootstrap,
            acks="all",
            enable_idempotence=True,
            max_batch_size=900_000,
        )
        self.consumer = AIOKafkaConsumer(
            source,
            bootstrap_servers=chain.bootstrap,
            group_id=f"{chain.group}-{source}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop."""
        await self.producer.start()
        await self.consumer.start()
        committed = time.monotonic()
        try:
            while not stop.is_set():
                fetched = await self.consumer.getmany(timeout_ms=250, max_records=MAX_RECORDS)
                for tp, records in fetched.items():
                    await self.work(tp.partition, records)
                due = time.monotonic() - committed > COMMIT_S
                if due or len(self.pending) > MAX_UNACKNOWLEDGED:
                    await asyncio.gather(*self.pending)
                    self.pending.clear()
                if due:
                    await self.consumer.commit()
                    committed = time.monotonic()
        finally:
            await self.consumer.stop()
            await self.producer.stop()

    async def work(self, partition: int, records: list[Any]) -> None:
        """Send what the records of one partition come to."""
        now_ms = time.time_ns() // 1_000_000
        outputs = self.producer.create_batch()
        changed: dict[bytes, Totals] = {}
        for record in records:
            order = job.decode(record.value)
            known = self.totals.get(order.account, job.NOTHING)
            checked, totals = job.apply(order, known)
            if self.chain.state and totals is not known:
                self.totals[order.account] = changed[record.key] = totals
            outputs.append(key=record.key, value=job.encode(checked), timestamp=now_ms)
        if changed:
            changes = self.producer.create_batch()
            for key, totals in changed.items():
                changes.append(key=key, value=job.encode(totals), timestamp=now_ms)
            await self.send(changes, changelog(self.chain, self.source), partition)
        await self.send(outputs, self.target, partition)

    async def send(self, batch: Any, topic: str, partition: int) -> None:
        """Hand a record batch over; an account has the same partition in every topic."""
        batch.close()
        self.pending.append(await self.producer.send_batch(batch, topic, partition=partition))


async def run(chain: Chain) -> None:
    """Run the chain until a signal ends it."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with asyncio.TaskGroup() as hops:
        for source, target in chain.hops:
            hops.create_task(Hop(chain, source, target).run(stop))


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(run(Chain.from_environment()))
