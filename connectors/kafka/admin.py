"""Create the topics of the registry and the tables' changelogs, and compare what exists.

Nothing is ever deleted or changed: a topic that differs is reported, and stays as it is.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from connectors.kafka.client import admin, consumer
from connectors.kafka.client import partitions_of as partitions_in
from streams.clock import monotonic
from streams.errors import NotFoundError, ServiceUnavailableError, UsageError
from streams.settings import Settings
from streams.topics import MAX_CHANGES_BYTES, TOPICS, TopicSpec, partitions_of, topic_name
from tables.base import TableSpec

LEADERS_S = 30.0
CREATE_TIMEOUT_MS = 30_000

Action = Literal["created", "unchanged", "differs", "missing"]


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is in Kafka. `differences` are lines like `retention.ms: 1, registry: 2`."""

    name: str
    action: Action
    partitions: int
    replication: int
    key: str
    written_by: str
    doc: str
    config: Mapping[str, str]
    differences: tuple[str, ...] = ()


def changelog_spec(table: TableSpec) -> TopicSpec:
    """Return the topic of a table's changelog; its partitions are those of the source topics."""
    return TopicSpec(
        table.changelog(),
        table.key,
        table.value,
        table.written_by,
        f"Changelog of the table `{table.name}`.",
        cleanup="compact",
        config={"max.message.bytes": str(MAX_CHANGES_BYTES)},
    )


def all_specs(tables: Iterable[TableSpec] = ()) -> tuple[TopicSpec, ...]:
    """Return every topic of the pipeline: the registry, then the tables' changelogs."""
    return TOPICS + tuple(changelog_spec(table) for table in tables)


async def apply_topics(
    settings: Settings, tables: Sequence[TableSpec] = (), *, leaders_s: float = LEADERS_S
) -> list[TopicState]:
    """Create the topics that are missing and wait until every partition has a leader.

    New topics get as many partitions as their like already have, `settings.partitions` on a
    cluster without any; so a changed setting cannot tear apart topics that must agree. Raises
    UsageError if those that exist disagree, ServiceUnavailableError if a leader is missing
    after `leaders_s` seconds.
    """
    specs = all_specs(tables)
    async with admin(settings) as client:
        before = await _partition_counts(client)
        count = _common_partitions(settings, specs, before)
        missing = [spec for spec in specs if topic_name(spec, settings.namespace) not in before]
        await _create(client, settings, missing, count)
        await _wait_for_leaders(client, settings, specs, leaders_s)
        if missing:
            await _wait_for_answers(settings, missing)
        created = {spec.name for spec in missing}
        return await _states(client, settings, specs, created)


async def describe_topics(settings: Settings, tables: Sequence[TableSpec] = ()) -> list[TopicState]:
    """Return how each topic of the pipeline stands; missing ones have 0 partitions."""
    async with admin(settings) as client:
        return await _states(client, settings, all_specs(tables), set())


def _common_partitions(
    settings: Settings, specs: Iterable[TopicSpec], existing: Mapping[str, int]
) -> int:
    """Return the partition count shared by the existing topics, or else the setting's."""
    counts = {
        name: existing[name]
        for spec in specs
        if not spec.single_partition and (name := topic_name(spec, settings.namespace)) in existing
    }
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        raise UsageError(
            f"topics that must have equal partition counts have different ones ({listed}); "
            "move them to one count, or use a fresh namespace (ORDERFLOW_NAMESPACE)"
        )
    return next(iter(counts.values()), settings.partitions)


async def _create(
    client: AIOKafkaAdminClient, settings: Settings, specs: Sequence[TopicSpec], count: int
) -> None:
    if not specs:
        return
    new = [
        NewTopic(
            topic_name(spec, settings.namespace),
            partitions_of(spec, count),
            settings.replication,
            topic_configs=spec.kafka_config(),
        )
        for spec in specs
    ]
    try:
        response = await client.create_topics(new, timeout_ms=CREATE_TIMEOUT_MS)
    except KafkaError as error:
        raise ServiceUnavailableError(f"creating topics failed: {error}") from error
    for name, code, *text in response.topic_errors:
        # Another process may have created it since we looked.
        if code not in (0, TopicAlreadyExistsError.errno):
            why = (text and text[0]) or for_code(code).__name__
            raise UsageError(
                f"Kafka refused to create {name}: {why}; see the settings partitions, replication"
            )


async def _wait_for_leaders(
    client: AIOKafkaAdminClient, settings: Settings, specs: Iterable[TopicSpec], limit_s: float
) -> None:
    """Return when the metadata shows a leader for every partition of every topic."""
    wanted = {topic_name(spec, settings.namespace) for spec in specs}
    deadline = monotonic() + limit_s
    while True:
        topics = await _metadata(client)
        led = {topic["topic"] for topic in topics if _has_leaders(topic)}
        if wanted <= led:
            return
        if monotonic() > deadline:
            raise ServiceUnavailableError(
                f"no leader within {limit_s:g} s for {', '.join(sorted(wanted - led))}"
            )
        await asyncio.sleep(0.1)


async def _wait_for_answers(settings: Settings, specs: Iterable[TopicSpec]) -> None:
    """Return when the leaders themselves answer: the metadata names them a moment earlier."""
    names = [topic_name(spec, settings.namespace) for spec in specs]
    async with consumer(settings) as client:
        # The consumer has no public call that asks for all topics without creating one.
        found = {name: await partitions_in(client._client, name) for name in names}  # noqa: SLF001
        partitions = [TopicPartition(name, number) for name in names for number in found[name]]
        try:
            await client.end_offsets(partitions)
        except KafkaError as error:
            raise ServiceUnavailableError(f"a new topic does not answer: {error}") from error


def _has_leaders(topic: Mapping[str, Any]) -> bool:
    return bool(topic["partitions"]) and all(
        part["error_code"] == 0 and part["leader"] >= 0 for part in topic["partitions"]
    )


async def _metadata(client: AIOKafkaAdminClient) -> list[dict[str, Any]]:
    try:
        topics: list[dict[str, Any]] = await client.describe_topics()
    except KafkaError as error:
        raise ServiceUnavailableError(f"Kafka's metadata cannot be read: {error}") from error
    return [topic for topic in topics if not topic.get("is_internal")]


async def _partition_counts(client: AIOKafkaAdminClient) -> dict[str, int]:
    return {topic["topic"]: len(topic["partitions"]) for topic in await _metadata(client)}


async def _states(
    client: AIOKafkaAdminClient,
    settings: Settings,
    specs: Sequence[TopicSpec],
    created: set[str],
) -> list[TopicState]:
    metadata = {topic["topic"]: topic for topic in await _metadata(client)}
    names = [topic_name(spec, settings.namespace) for spec in specs]
    configs = await _configs(client, [name for name in names if name in metadata])
    return [
        _state(spec, name, metadata.get(name), configs.get(name, {}), spec.name in created)
        for spec, name in zip(specs, names, strict=True)
    ]


def _state(
    spec: TopicSpec,
    name: str,
    found: Mapping[str, Any] | None,
    config: Mapping[str, str],
    created: bool,
) -> TopicState:
    partitions = found["partitions"] if found else []
    differences = tuple(
        f"{key}: {config.get(key)}, registry: {value}"
        for key, value in spec.kafka_config().items()
        if found and config.get(key) != value
    )
    if found and spec.single_partition and len(partitions) != 1:
        differences += (f"partitions: {len(partitions)}, registry: 1",)
    action: Action = "differs" if differences else "unchanged"
    return TopicState(
        name,
        "missing" if not found else "created" if created and not differences else action,
        len(partitions),
        len(partitions[0]["replicas"]) if partitions else 0,
        spec.key,
        spec.written_by,
        spec.doc,
        {key: config[key] for key in spec.kafka_config() if key in config},
        differences,
    )


async def _configs(client: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return each topic's configuration as Kafka has it, broker defaults included."""
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    try:
        responses = await client.describe_configs(resources)
    except KafkaError as error:
        raise ServiceUnavailableError(f"topic settings cannot be read: {error}") from error
    found: dict[str, dict[str, str]] = {}
    for response in responses:
        for code, text, _kind, name, entries in response.resources:
            if code:
                raise NotFoundError(f"topic {name}: {text or for_code(code).__name__}")
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found
