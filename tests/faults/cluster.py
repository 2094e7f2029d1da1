"""Three Kafka nodes, each broker and controller in one: any one of them may be lost under load.

Topics have three replicas, and a write counts when two of them have it. The nodes run from the
jars and the Java of the embedded Kafka, on three ports of this machine.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from connectors.kafka.client import admin
from streams.dev import kafka
from streams.dev.children import SERVICE_RANK, Child, Children
from streams.dev.ports import HOST, free_ports
from streams.dev.service import NotReadyError, Service
from streams.dev.stack import Running, Stack
from streams.errors import OrderflowError
from streams.settings import Settings
from tests.faults.faults import Fault, kill_several
from tests.faults.harness import Harness

NODES = ("kafka-1", "kafka-2", "kafka-3")
START_S = 120.0
IN_SYNC_S = 120.0
POLL_S = 0.2


def cluster_settings() -> dict[str, Any]:
    """Return the settings of a pipeline on three nodes."""
    ports = free_ports(len(NODES))
    return {
        "kafka_bootstrap": ",".join(f"{HOST}:{port}" for port in ports),
        "replication": len(NODES),
        "kafka_heap": "256m",
    }


class Cluster:
    """Implements `harness.Services` with three Kafka nodes."""

    def __init__(self, settings: Settings, children: Children) -> None:
        self._children = children
        self._stack = Stack(settings, children, lambda _progress: None)
        self._others: dict[str, Running] = {}
        self._nodes: dict[str, Child] = {}
        self._settings = {
            name: settings.model_copy(
                update={"kafka_bootstrap": address, "data_dir": settings.data_dir / name}
            )
            for name, address in zip(NODES, settings.kafka_bootstrap.split(","), strict=True)
        }
        voters = zip(range(1, 4), free_ports(len(NODES)), strict=True)
        self._controllers = dict(voters)
        self._id = kafka.new_cluster_id(secrets.token_bytes)

    def start_all(self) -> None:
        """Start the nodes side by side, and the others."""
        names = (*NODES, "clickhouse", "valkey")
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(self.start, names))

    def start(self, name: str) -> None:
        """Start one that does not run; return when it answers."""
        if name in NODES:
            self._start_node(name)
        elif name not in self._others or self._others[name].child.exit_code is not None:
            self._others[name] = self._stack.start_one(name)

    def kill(self, name: str) -> None:
        """End one at once."""
        process = self._child(name).process
        process.kill()
        process.wait()

    def stop(self, name: str) -> None:
        """End one in order."""
        process = self._child(name).process
        process.terminate()
        process.wait(timeout=40.0)

    def pid(self, name: str) -> int:
        """Return the process id of one."""
        return self._child(name).process.pid

    def _child(self, name: str) -> Child:
        return self._nodes[name] if name in NODES else self._others[name].child

    def _start_node(self, name: str) -> None:
        if name in self._nodes and self._nodes[name].exit_code is None:
            return
        settings = self._settings[name]
        folder = settings.data_dir / kafka.NAME
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cluster-id").write_text(self._id)
        service = kafka.prepare(settings, lambda _text: None, self._properties(name))
        child = self._nodes[name] = self._children.start(
            name,
            service.argv,
            env=service.env,
            log=service.log,
            rank=SERVICE_RANK,
            grace_s=service.stop_grace_s,
        )
        deadline = time.monotonic() + START_S
        while not _answers(service):
            assert child.exit_code is None, f"{name} ended as it started; log: {service.log}"
            assert time.monotonic() < deadline, f"{name} does not answer; log: {service.log}"
            time.sleep(POLL_S)

    def _properties(self, name: str) -> Mapping[str, object]:
        number = NODES.index(name) + 1
        client = f"PLAINTEXT://{self._settings[name].kafka_bootstrap}"
        own = f"CONTROLLER://{HOST}:{self._controllers[number]}"
        voters = [f"{node}@{HOST}:{port}" for node, port in self._controllers.items()]
        return {
            "node.id": number,
            "controller.quorum.voters": ",".join(voters),
            "listeners": f"{client},{own}",
            "default.replication.factor": 3,
            "min.insync.replicas": 2,
            "offsets.topic.replication.factor": 3,
            "transaction.state.log.replication.factor": 3,
            "transaction.state.log.min.isr": 2,
            "share.coordinator.state.topic.replication.factor": 3,
            "share.coordinator.state.topic.min.isr": 2,
        }


def _answers(service: Service) -> bool:
    try:
        service.probe()
    except NotReadyError:
        return False
    return True


@asynccontextmanager
async def lose_node(h: Harness, random: Random) -> AsyncIterator[None]:
    """Kill a node; start it again, and wait until it has what the others have."""
    name = random.choice(NODES)
    h.say(f"kill {name}")
    await h.kill_service(name)
    h.counts["broker_restarts"] += 1
    try:
        yield
    finally:
        await h.start_service(name)
        await in_sync(h)


@asynccontextmanager
async def stop_node(h: Harness, random: Random) -> AsyncIterator[None]:
    """End a node in order; start it again, and wait until it has what the others have."""
    name = random.choice(NODES)
    await h.stop_service(name)
    h.counts["broker_restarts"] += 1
    try:
        yield
    finally:
        await h.start_service(name)
        await in_sync(h)


@asynccontextmanager
async def lose_each_node(h: Harness, random: Random) -> AsyncIterator[None]:
    """Kill one node after another, each when the one before has caught up."""
    for name in random.sample(NODES, len(NODES)):
        await h.kill_service(name)
        h.counts["broker_restarts"] += 1
        await asyncio.sleep(random.uniform(2.0, 5.0))
        await h.start_service(name)
        await in_sync(h)
    yield


@asynccontextmanager
async def lose_node_and_workers(h: Harness, random: Random) -> AsyncIterator[None]:
    """Kill a node and workers at the same time."""
    async with lose_node(h, random), kill_several(h, random):
        yield


async def in_sync(h: Harness) -> None:
    """Return when every partition has all its replicas in sync; fail after `IN_SYNC_S`."""
    deadline = time.monotonic() + IN_SYNC_S
    while behind := await _behind(h.settings):
        assert time.monotonic() < deadline, f"not in sync: {behind[:5]}"
        await asyncio.sleep(POLL_S)


async def _behind(settings: Settings) -> list[str]:
    """Return the partitions that lack a replica."""
    try:
        async with admin(settings) as client:
            topics = await client.describe_topics()
    except OrderflowError as error:
        return [str(error)]
    return [
        f"{topic['topic']}/{one['partition']}"
        for topic in topics
        for one in topic["partitions"]
        if len(one["isr"]) < len(one["replicas"])
    ]


FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("lose a node", lose_node, (3.0, 8.0)),
        Fault("stop a node", stop_node, (1.0, 4.0)),
        Fault("lose each node", lose_each_node),
        Fault("lose a node and workers", lose_node_and_workers, (2.0, 5.0)),
    )
}
