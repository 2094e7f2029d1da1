"""Follow a run through the topics, without a consumer group: nothing here disturbs a worker."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from aiokafka import TopicPartition

from connectors.kafka.client import admin, consumer, partitions_of
from connectors.kafka.reader import AtOffsets, Stored, read_topic
from streams.settings import Settings
from streams.topics import TopicSpec, topic_name

#: The next offset of each partition, by the registry's topic name.
Places = Mapping[str, Sequence[int]]


async def ends_of(settings: Settings, topics: Sequence[TopicSpec]) -> Places:
    """Return where each topic ends now."""
    found = {}
    async with consumer(settings) as client:
        for spec in topics:
            name = topic_name(spec, settings.namespace)
            # The consumer has no public call that asks for all topics without creating one.
            numbers = await partitions_of(client._client, name)  # noqa: SLF001
            partitions = [TopicPartition(name, number) for number in numbers]
            ends = await client.end_offsets(partitions)
            found[spec.name] = [ends[partition] for partition in partitions]
    return found


async def follow(
    settings: Settings,
    topics: Sequence[TopicSpec],
    places: Places,
    take: Callable[[TopicSpec, Stored], None],
) -> None:
    """Hand on every record of the topics from these places on, until cancelled."""

    async def one(spec: TopicSpec) -> None:
        start = AtOffsets(dict(enumerate(places[spec.name])))
        name = topic_name(spec, settings.namespace)
        async for record in read_topic(settings, name, start=start, follow=True):
            take(spec, record)

    await asyncio.gather(*(one(spec) for spec in topics))


async def committed(settings: Settings, group: str, topics: Sequence[TopicSpec]) -> Places:
    """Return up to where a consumer group is through with each topic, -1 where it never was."""
    async with admin(settings) as client:
        offsets = await client.list_consumer_group_offsets(group)
    places: dict[str, dict[int, int]] = {}
    for partition, found in offsets.items():
        places.setdefault(partition.topic, {})[partition.partition] = found.offset
    by_name = {spec.name: places.get(topic_name(spec, settings.namespace), {}) for spec in topics}
    return {
        name: [known.get(number, -1) for number in range(max(known, default=-1) + 1)]
        for name, known in by_name.items()
    }


def behind(reached: Places, ends: Places) -> int:
    """Return how many records lie between what was reached and the ends."""
    total = 0
    for name, topic_ends in ends.items():
        known = reached.get(name, ())
        for number, end in enumerate(topic_ends):
            place = known[number] if number < len(known) else 0
            total += max(0, end - max(place, 0))
    return total
