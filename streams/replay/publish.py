"""A run's records on Kafka and in ClickHouse, under a namespace of the run's own.

`ORDERFLOW_NAMESPACE=replay-<run> ./orderflow query …` and `tail` then show it as they show what is
live. In ClickHouse a record has the partition and the offset that it had in the run, so what names
a place (a signal's cause) finds it there; on Kafka each topic has one partition. Publishing a run
again adds nothing to ClickHouse, and is refused by Kafka's part where its topics hold records.
"""

import asyncio
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import orjson
import pyarrow as pa

from connectors.clickhouse.history import ClickHouseHistory
from connectors.clickhouse.migrate import migrate
from connectors.kafka.admin import apply_topics
from connectors.kafka.producer import batch_producer
from connectors.kafka.reader import read_topic
from streams.errors import UsageError
from streams.ports import Record
from streams.replay.journal import SUFFIX
from streams.settings import Settings
from streams.topics import BY_NAME, DEAD_LETTERS, topic_name

_NAME = re.compile(r"[a-z0-9-]+")
_VALUE = b',"value":'
ROWS = 5_000


def namespaced(settings: Settings, run_id: str) -> Settings:
    """Return the settings of a run's namespace; raises UsageError for a name that is none."""
    if not _NAME.fullmatch(run_id):
        raise UsageError(f"{run_id!r} names no namespace: small letters, digits and `-` alone")
    return settings.model_copy(update={"namespace": f"replay-{run_id}", "partitions": 1})


def publish(folder: Path, settings: Settings) -> dict[str, int]:
    """Publish the records of a run; return how many there were of each topic."""
    return asyncio.run(_publish(folder, namespaced(settings, folder.name)))


async def _publish(folder: Path, settings: Settings) -> dict[str, int]:
    files = {path.name.removesuffix(SUFFIX): path for path in _files(folder)}
    await apply_topics(settings)
    for topic in files:
        await _refuse_if_there(settings, topic)
    await migrate(settings)
    counts = {}
    store = ClickHouseHistory(settings)
    try:
        async with batch_producer(settings) as producer:
            for topic, path in files.items():
                counts[topic] = 0
                records = records_in(path, topic)
                while block := list(islice(records, ROWS)):
                    for one in block:
                        await producer.send(
                            topic_name(BY_NAME[topic], settings.namespace),
                            *(one.key, one.raw),
                            headers=one.headers,
                        )
                    await store.insert(topic, block)
                    counts[topic] += len(block)
    finally:
        await store.close()
    return counts


async def _refuse_if_there(settings: Settings, topic: str) -> None:
    name = topic_name(BY_NAME[topic], settings.namespace)
    if [one async for one in read_topic(settings, name, limit=1)]:
        raise UsageError(f"{name} holds records already; publish the run under another --name")


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "records").glob(f"*{SUFFIX}"))


def records_in(path: Path, topic: str) -> Iterator[Record]:
    """Yield the records of a file, their bytes as they were."""
    spec = BY_NAME[topic]
    with pa.input_stream(str(path), compression="zstd") as stream:
        lines = stream.read().splitlines()
    for line in lines:
        kept = orjson.loads(line)
        if spec is DEAD_LETTERS:
            raw, value = kept["value"].encode(), None
        else:
            raw = line[line.index(_VALUE) + len(_VALUE) : -1]
            value = spec.adapter.validate_json(raw)
        headers = [(name, text.encode()) for name, text in kept.get("headers", {}).items()]
        yield Record(
            *(topic, kept["partition"], kept["offset"], kept["key"].encode(), value, raw),
            timestamp_ms=kept["ts_ns"] // 1_000_000,
            headers=headers,
        )
