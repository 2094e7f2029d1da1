"""Plain clients: what any program in any language sees of the pipeline. None of our code.

Records go in and come out through aiokafka, views are asked over HTTP, the history through
clickhouse-connect. Names of topics and databases carry the namespace of the settings.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import aiohttp
import clickhouse_connect
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from streams.settings import Settings

T = TypeVar("T")

#: No test waits longer than this for anything; on an idle machine it takes a second or two.
BOUND_S = 60.0
POLL_S = 0.1
LOAD_BATCH_BYTES = 256 * 1024


class Raw(NamedTuple):
    """A record as a plain client sends it. Without a partition the key decides."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None


class Place(NamedTuple):
    """Where a record lies."""

    partition: int
    offset: int


class Answer(NamedTuple):
    """What a view answered."""

    status: int
    kind: str
    body: Any
    headers: dict[str, str]


async def wait_until(
    ask: Callable[[], Awaitable[T]], holds: Callable[[T], object], bound_s: float = BOUND_S
) -> T:
    """Ask again and again until the answer is as wanted, and return it; fail with the last one."""
    deadline = time.monotonic() + bound_s
    while True:
        answer = await ask()
        if holds(answer):
            return answer
        assert time.monotonic() < deadline, f"not so within {bound_s:g} s; last: {answer!r}"
        await asyncio.sleep(POLL_S)


def topic_of(settings: Settings, name: str) -> str:
    """Return a topic's name in Kafka."""
    return f"{settings.namespace}.{name}"


async def produce(settings: Settings, name: str, records: Iterable[Raw]) -> list[Place]:
    """Send records in order with acknowledgement, and return where each one lies."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap,
        acks="all",
        enable_idempotence=True,
        max_batch_size=LOAD_BATCH_BYTES,
        max_request_size=16 * 1024 * 1024,
        linger_ms=5,
    )
    await producer.start()
    try:
        sent = [
            await producer.send(
                topic_of(settings, name),
                record.value,
                key=record.key,
                partition=record.partition,
                headers=list(record.headers),
            )
            for record in records
        ]
        stored = await asyncio.gather(*sent)
    finally:
        await producer.stop()
    return [Place(one.partition, one.offset) for one in stored]


async def read(
    settings: Settings, name: str, partitions: Iterable[int] | None = None
) -> "list[ConsumerRecord[bytes, bytes]]":
    """Return all records of a topic as it ends now, by partition and offset."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap, enable_auto_commit=False, fetch_max_wait_ms=50
    )
    await consumer.start()
    try:
        tps = await _partitions(consumer, topic_of(settings, name), partitions)
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        ends = await consumer.end_offsets(tps)
        found: list[ConsumerRecord[bytes, bytes]] = []
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
    finally:
        await consumer.stop()
    return sorted(found, key=lambda record: (record.partition, record.offset))


async def _partitions(
    consumer: AIOKafkaConsumer, topic: str, wanted: Iterable[int] | None
) -> list[TopicPartition]:
    numbers = wanted
    while not numbers:
        await consumer._client.force_metadata_update()
        await consumer._client.add_topic(topic)
        numbers = consumer.partitions_for_topic(topic)
    return [TopicPartition(topic, number) for number in sorted(numbers)]


async def ends(settings: Settings, *names: str) -> dict[str, dict[int, int]]:
    """Return the end offset of each partition of some topics."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap)
    await consumer.start()
    try:
        found: dict[str, dict[int, int]] = {}
        for name in names:
            tps = await _partitions(consumer, topic_of(settings, name), None)
            offsets = await consumer.end_offsets(tps)
            found[name] = {tp.partition: offset for tp, offset in offsets.items()}
        return found
    finally:
        await consumer.stop()


async def count(settings: Settings, name: str) -> int:
    """Return how many records a topic has had."""
    return sum((await ends(settings, name))[name].values())


async def committed(settings: Settings, group: str, name: str) -> dict[int, int]:
    """Return the offsets a consumer group has committed on a topic; absent where none is."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(topic_of(settings, group))
    except GroupCoordinatorNotAvailableError:
        return {}  # the first group of a cluster is about to be made
    finally:
        await admin.close()
    topic = topic_of(settings, name)
    return {tp.partition: meta.offset for tp, meta in offsets.items() if tp.topic == topic}


async def get(port: int, path: str) -> Answer:
    """Ask a view; a worker that is not there answers with status 0."""
    timeout = aiohttp.ClientTimeout(total=20)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://127.0.0.1:{port}{path}") as answer,
        ):
            body = await answer.json(content_type=None)
            return Answer(answer.status, answer.content_type, body, dict(answer.headers))
    except (aiohttp.ClientError, TimeoutError) as error:
        return Answer(0, "", repr(error), {})


async def query(settings: Settings, sql: str, **params: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a statement on the history."""
    database = f"{settings.namespace.replace('-', '_')}_{settings.clickhouse_database}"

    def ask() -> list[tuple[Any, ...]]:
        with clickhouse_connect.get_client(
            host=settings.clickhouse_host, port=settings.clickhouse_port, database=database
        ) as client:
            return [tuple(row) for row in client.query(sql, parameters=params).result_rows]

    return await asyncio.to_thread(ask)
