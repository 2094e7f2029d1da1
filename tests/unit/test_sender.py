"""The sender: record batches that topics take, in order, with bounded memory."""

import asyncio
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.partitioner import partition_of
from streams.transport.sender import (
    CHANGES_BATCH_BYTES,
    FRAMING_BYTES,
    OUTPUT_BATCH_BYTES,
    Out,
    Sender,
    size_of,
)
from tests.unit.test_publisher import settled

#: What the topics are created with; a record batch above it is refused.
TOPIC_BYTES = 1_000_000


class Producer:
    """A producer that keeps record batches; `acks` acknowledge them."""

    def __init__(self) -> None:
        self.batches: list[BatchBuilder] = []
        self.acks: list[asyncio.Future[object]] = []

    def create_batch(self) -> BatchBuilder:
        """Return an empty batch, as aiokafka does: its size limit, no compression."""
        return BatchBuilder(CHANGES_BATCH_BYTES, 0)

    async def send_batch(
        self, batch: BatchBuilder, topic: str, *, partition: int
    ) -> "asyncio.Future[object]":
        """Keep a batch."""
        assert (topic, partition) == ("t", 0)
        await asyncio.sleep(0)  # the real one waits for room here
        self.batches.append(batch)
        self.acks.append(asyncio.get_running_loop().create_future())
        return self.acks[-1]


def sender_on(producer: Producer, **options: Any) -> Sender:
    """Return a sender over a producer in memory."""
    return Sender(cast(AIOKafkaProducer, producer), **{"guard": lambda: None} | options)


SIZES = [
    ([10] * 5, OUTPUT_BATCH_BYTES, [5], "small ones together"),
    ([333_000] * 3, OUTPUT_BATCH_BYTES, [2, 1], "three that are more than a topic takes"),
    ([999_000, 10], OUTPUT_BATCH_BYTES, [1, 1], "one that is large alone"),
    ([10, 999_000], OUTPUT_BATCH_BYTES, [1, 1], "the same behind a small one"),
    ([333_000] * 20, CHANGES_BATCH_BYTES, [20], "changes stay together"),
    ([333_000] * 26, CHANGES_BATCH_BYTES, [24, 2], "up to what a changelog takes"),
]


@pytest.mark.parametrize(("sizes", "limit", "counts", "reason"), SIZES)
async def test_records_are_cut_into_batches_that_fit(
    sizes: list[int], limit: int, counts: list[int], reason: str
) -> None:
    """As few as possible; a single record goes alone, whatever its size."""
    producer = Producer()
    records = [Out(b"k", b"x" * size, [("name", b"value")]) for size in sizes]
    futures = await sender_on(producer).send("t", 0, records, 1, limit)
    assert [batch.record_count() for batch in producer.batches] == counts
    assert len(futures) == len(counts)
    if limit == OUTPUT_BATCH_BYTES:
        assert all(len(batch._build()) < TOPIC_BYTES for batch in producer.batches)


def test_the_size_of_a_record_is_not_underestimated() -> None:
    """Against the client's own batch, whose first 61 bytes are its head."""
    for key, value, headers in (
        (b"", b"", []),
        (None, None, [("h", b"")]),
        (b"k" * 100, b"v" * 70_000, [("name" * 9, b"v" * 300)] * 5),
    ):
        batch = Producer().create_batch()
        batch.append(timestamp=1, key=key, value=value, headers=headers)
        assert batch.size() - 61 <= size_of(key, value, headers)
    assert FRAMING_BYTES < 100


async def test_too_much_unacknowledged_waits() -> None:
    """The call returns when acknowledgements have come."""
    producer = Producer()
    sender = sender_on(producer, max_outstanding=1_000)
    await sender.send("t", 0, [Out(b"k", b"x" * 2_000)], 1)
    waiting = asyncio.create_task(sender.send("t", 0, [Out(b"k", b"y")], 1))
    await settled()
    assert (waiting.done(), len(producer.batches)) == (False, 1)
    producer.acks[0].set_result(None)
    await waiting
    assert len(producer.batches) == 2


async def test_a_worker_that_must_not_write_sends_nothing() -> None:
    """The guard is asked before each record batch."""

    def guard() -> None:
        if producer.batches:
            raise InterruptedError

    producer = Producer()
    with pytest.raises(InterruptedError):
        await sender_on(producer, guard=guard).send("t", 0, [Out(b"k", b"x" * 600_000)] * 2, 1)
    assert len(producer.batches) == 1


async def test_calls_keep_their_order() -> None:
    """The second call's records come after all of the first one's."""
    producer = Producer()
    sender = sender_on(producer)
    first = [Out(b"k", b"1" * 600_000)] * 3
    await asyncio.gather(sender.send("t", 0, first, 1), sender.send("t", 0, [Out(b"k", b"2")], 1))
    assert [batch.record_count() for batch in producer.batches] == [1, 1, 1, 1]
    assert len(producer.batches[-1]._build()) < 1_000


#: Hashes from the tests of Kafka's own client (`UtilsTest.testMurmur2`).
JAVA = [
    (b"21", -973_932_308),
    (b"foobar", -790_332_482),
    (b"a-little-bit-long-string", -985_981_536),
    (b"a-little-bit-longer-string", -1_486_304_829),
    (b"abc", 479_470_107),
]


@pytest.mark.parametrize(("key", "hashed"), JAVA)
@pytest.mark.parametrize("partitions", [1, 4, 12])
def test_keys_go_where_every_kafka_client_puts_them(
    key: bytes, hashed: int, partitions: int
) -> None:
    """Java's client takes murmur2 without its sign, modulo the partitions."""
    assert partition_of(key, partitions) == (hashed & 0x7FFFFFFF) % partitions
