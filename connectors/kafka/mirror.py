"""A compacted topic kept whole in memory, by every worker for itself.

For what is small and everyone needs: the controls and the last prices. A mirror belongs to no
consumer group and commits nothing. It has read the topic to its end before `start` returns, so a
worker never decides on a part of the rules; from then on it follows, and when Kafka is away what
it last knew still holds.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import ValidationError

from connectors.kafka.client import partitions_of
from streams.settings import Settings
from streams.topics import TopicSpec, topic_name

log = structlog.get_logger(__name__)

#: Takes the values of some records, in the order they were written.
Apply = Callable[[list[Any]], None]

POLL_MS = 250


class Mirror:
    """Follows one topic and hands its values on."""

    def __init__(self, settings: Settings, topic: TopicSpec, apply: Apply) -> None:
        self._settings = settings
        self._topic = topic
        self._name = topic_name(topic, settings.namespace)
        self._apply = apply
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the topic to its end, then go on following it in the background."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=POLL_MS,
        )
        await consumer.start()
        self._consumer = consumer
        numbers = await partitions_of(consumer._client, self._name)  # noqa: SLF001 - it shows no metadata
        partitions = [TopicPartition(self._name, number) for number in numbers]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            await self._poll(consumer)
        self._task = asyncio.get_running_loop().create_task(self._follow(consumer))

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await self._poll(consumer)

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        fetched = await consumer.getmany(timeout_ms=POLL_MS)
        raw = [record.value for records in fetched.values() for record in records]
        values = [value for value in map(self._decode, raw) if value is not None]
        if values:
            self._apply(values)

    def _decode(self, raw: bytes | None) -> Any:
        if raw is None:
            return None
        try:
            return self._topic.adapter.validate_json(raw)
        except ValidationError as error:
            # The record is in the dead letters by way of the history; the rule before it holds.
            log.warning("mirror_record_refused", topic=self._name, error=str(error)[:300])
            return None

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
        if self._consumer is not None:
            await self._consumer.stop()
