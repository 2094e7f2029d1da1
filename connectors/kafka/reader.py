"""Read a topic without a consumer group: from a place to the end as it was, or onwards.

Nothing is committed, so reading disturbs no worker.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from connectors.kafka.client import consumer, partitions_of
from streams.errors import ServiceUnavailableError
from streams.settings import Settings

POLL_MS = 200
POLL_RECORDS = 2_000


@dataclass(frozen=True, slots=True)
class Stored:
    """One record as it lies in Kafka."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class LastRecords:
    """Start so that the topic's newest `count` records come, by Kafka's timestamp."""

    count: int


@dataclass(frozen=True, slots=True)
class SinceTime:
    """Start at the first records with a Kafka timestamp at or after `timestamp_ms`."""

    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class AtOffsets:
    """Start at these offsets (partition -> offset); other partitions are left out."""

    offsets: Mapping[int, int]


Start = Literal["beginning", "end"] | LastRecords | SinceTime | AtOffsets


async def read_topic(
    settings: Settings,
    topic: str,
    *,
    start: Start = "beginning",
    follow: bool = False,
    limit: int | None = None,
) -> AsyncGenerator[Stored, None]:
    """Yield a topic's records: those there are now, and with `follow` those to come.

    `topic` is the name in Kafka, namespace included; `limit` is 1 or more. Order holds within a
    partition; across partitions only `LastRecords` sorts, by time. Raises NotFoundError for an
    unknown topic and ServiceUnavailableError if Kafka is away.
    """
    async with consumer(settings) as client:
        try:
            async for record in _read(client, topic, start, follow, limit):
                yield record
        except KafkaError as error:
            raise ServiceUnavailableError(f"reading {topic} failed: {error}") from error


async def _read(
    client: AIOKafkaConsumer, topic: str, start: Start, follow: bool, limit: int | None
) -> AsyncIterator[Stored]:
    count = 0
    async for record in _unlimited(client, topic, start, follow):
        yield record
        count += 1
        if count == limit:
            return


async def _unlimited(
    client: AIOKafkaConsumer, topic: str, start: Start, follow: bool
) -> AsyncIterator[Stored]:
    """Yield the records up to the ends as they are now, then with `follow` what comes after."""
    # The consumer has no public call that asks for all topics without creating one.
    numbers = await partitions_of(client._client, topic)  # noqa: SLF001
    partitions = [
        TopicPartition(topic, number)
        for number in numbers
        if not isinstance(start, AtOffsets) or number in start.offsets
    ]
    if not partitions:
        return
    client.assign(partitions)
    ends: dict[TopicPartition, int] = await client.end_offsets(partitions)
    for partition, offset in (await _first_offsets(client, partitions, ends, start)).items():
        client.seek(partition, offset)

    if isinstance(start, LastRecords):
        found = [record async for record in _until(client, ends)]
        found.sort(key=lambda record: record.timestamp_ms)
        for record in found[max(0, len(found) - start.count) :]:
            yield record
    else:
        async for record in _until(client, ends):
            yield record
    while follow:
        for record in await _poll(client):
            yield record


async def _first_offsets(
    client: AIOKafkaConsumer,
    partitions: list[TopicPartition],
    ends: Mapping[TopicPartition, int],
    start: Start,
) -> dict[TopicPartition, int]:
    """Return the offset of each partition to begin with."""
    if start == "end":
        return dict(ends)
    first: dict[TopicPartition, int] = await client.beginning_offsets(partitions)
    if isinstance(start, AtOffsets):
        return {tp: max(first[tp], start.offsets[tp.partition]) for tp in partitions}
    if isinstance(start, LastRecords):
        return {tp: max(first[tp], ends[tp] - start.count) for tp in partitions}
    if isinstance(start, SinceTime):
        found = await client.offsets_for_times(dict.fromkeys(partitions, start.timestamp_ms))
        return {tp: found[tp].offset if found.get(tp) else ends[tp] for tp in partitions}
    return first


async def _until(
    client: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]
) -> AsyncIterator[Stored]:
    """Yield records below `ends`, then return with every partition positioned at or after them.

    Positions are compared, not offsets of records: compaction leaves gaps at the end.
    """
    open_ends = dict(ends)
    while True:
        for partition in list(open_ends):
            if await client.position(partition) >= open_ends[partition]:
                client.pause(partition)
                del open_ends[partition]
        if not open_ends:
            break
        for record in await _poll(client):
            if record.offset < ends[TopicPartition(record.topic, record.partition)]:
                yield record
    for partition, end in ends.items():
        client.seek(partition, end)
        client.resume(partition)


async def _poll(client: AIOKafkaConsumer) -> list[Stored]:
    fetched: dict[TopicPartition, list[Any]] = await client.getmany(
        timeout_ms=POLL_MS, max_records=POLL_RECORDS
    )
    return [
        Stored(
            record.topic,
            record.partition,
            record.offset,
            record.timestamp,
            record.key,
            record.value,
            tuple(record.headers),
        )
        for records in fetched.values()
        for record in records
    ]
