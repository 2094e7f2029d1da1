"""The limit: a loop by hand over aiokafka, each symbol's open bar in a dict and nowhere else.

It decodes as ours does. It has no changelog, waits for nothing, and forgets all when it ends.
"""

import asyncio
import signal
import time
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks import bars_job
from benchmarks.bars_job import Open
from benchmarks.job import Chain
from benchmarks.workers.raw_aiokafka import COMMIT_S, FETCH_MAX_WAIT_MS
from streams.transport.codec import encode
from streams.transport.quick import trades

MAX_RECORDS = 2_000


async def run(chain: Chain) -> None:
    """Run until a signal ends it."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    source, target = chain.topics
    safe: dict[str, Any] = {"acks": "all", "enable_idempotence": True}
    producer = AIOKafkaProducer(bootstrap_servers=chain.bootstrap, **safe)
    consumer = AIOKafkaConsumer(
        source,
        bootstrap_servers=chain.bootstrap,
        group_id=chain.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
    )
    await producer.start()
    await consumer.start()
    known: dict[str, Open] = {}
    pending: list[Any] = []
    committed = time.monotonic()
    try:
        while not stop.is_set():
            fetched = await consumer.getmany(timeout_ms=250, max_records=MAX_RECORDS)
            for records in fetched.values():
                for tick in trades([record.value for record in records]):
                    known[tick.symbol], bar = bars_job.apply(tick, known.get(tick.symbol))
                    if bar is not None:
                        key = bar.symbol.encode()
                        pending.append(await producer.send(target, encode(bar), key))
            if time.monotonic() - committed > COMMIT_S:
                await asyncio.gather(*pending)
                pending.clear()
                await consumer.commit()
                committed = time.monotonic()
    finally:
        await consumer.stop()
        await producer.stop()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(run(Chain.from_environment()))
