"""Connections to Kafka outside the agents: for the command line, set-up and tests.

Each context manager gives up after `CONNECT_S` seconds with one error that says what to do, in
place of the client library's own retries and log lines. Keys go to partitions as in every Kafka
client (murmur2), so an account is on one partition whoever wrote it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError

from streams.errors import NotFoundError, ServiceUnavailableError
from streams.settings import Settings
from streams.topics import MAX_RECORD_BYTES

CONNECT_S = 5.0
CLIENT_ID = "orderflow"

# A handler that does nothing keeps the library's lines off stderr where no logging was set up
# (Python's last resort prints them otherwise); where it was set up, they go there as ever.
logging.getLogger("aiokafka").addHandler(logging.NullHandler())


@asynccontextmanager
async def producer(
    settings: Settings, transactional_id: str | None = None
) -> AsyncIterator[AIOKafkaProducer]:
    """Open a producer: idempotent, acks of all replicas, large batches.

    With a `transactional_id` it writes in transactions, and its first one ends what any other
    producer of that name may have under way.
    """
    client = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap,
        client_id=CLIENT_ID,
        acks="all",
        enable_idempotence=True,
        compression_type=None if settings.compression == "none" else settings.compression,
        max_batch_size=MAX_RECORD_BYTES // 2,
        max_request_size=MAX_RECORD_BYTES * 4,
        request_timeout_ms=30_000,
        transactional_id=transactional_id,
    )
    async with _opened(settings, client.start, client.stop):
        yield client


@asynccontextmanager
async def consumer(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a consumer that belongs to no group and commits nothing."""
    client = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap,
        client_id=CLIENT_ID,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=100,
    )
    async with _opened(settings, client.start, client.stop):
        yield client


@asynccontextmanager
async def admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Open an admin client."""
    client = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap, client_id=CLIENT_ID)
    async with _opened(settings, client.start, client.close):
        yield client


async def partitions_of(client: Any, topic: str) -> list[int]:
    """Return a topic's partitions, asked of the cluster by a producer's or consumer's `client`.

    All topics are asked for, because asking for one by name may create it on brokers that
    create topics by themselves. Raises NotFoundError for an unknown topic.
    """
    metadata = await client.fetch_all_metadata()
    found = metadata.partitions_for_topic(topic)
    if not found:
        raise NotFoundError(f"topic {topic} does not exist; `./orderflow topics apply` creates it")
    return sorted(found)


@asynccontextmanager
async def _opened(
    settings: Settings,
    start: Callable[[], Awaitable[Any]],
    stop: Callable[[], Awaitable[Any]],
) -> AsyncIterator[None]:
    """Start a client within `CONNECT_S` seconds, and stop it whatever happens."""
    try:
        await asyncio.wait_for(start(), CONNECT_S)
    except (KafkaError, TimeoutError, OSError) as error:
        await stop()
        raise _unreachable(settings, error) from error
    try:
        yield
    finally:
        await stop()


def _unreachable(settings: Settings, error: BaseException) -> ServiceUnavailableError:
    if isinstance(error, KafkaConnectionError):
        why = "nothing answers there"
    else:
        why = str(error) or f"no answer within {CONNECT_S:g} s"
    return ServiceUnavailableError(f"Kafka at {settings.kafka_bootstrap} is not reachable: {why}")
