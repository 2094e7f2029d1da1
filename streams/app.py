"""The composition root: settings and a role in, a Faust app out.

The only place that knows every part. It builds the agents of the role with what they need,
puts each behind a `Runner`, and gives the transport its options.
"""

import socket
from pathlib import Path
from typing import Any

import faust
from faust.types import TP

from connectors.kafka.client import partitions_of, producer
from streams.services import Services
from streams.settings import Settings
from streams.topics import BY_NAME, ORDERS_REQUESTED, topic_name
from streams.transport import driver, fatal
from streams.transport.codec import Batch
from streams.transport.journal import Journal
from streams.transport.judge import limits
from streams.transport.options import Fetching, Options
from streams.transport.publisher import PUBLISH_TIMEOUT_S
from streams.transport.runner import Runner
from streams.transport.table import Table, TableManager
from streams.transport.watchdog import Watchdog
from streams.web import progress, views
from streams.web.problems import problems
from streams.wiring import AGENTS, AgentSpec, Role, agents_of, reported_by

#: Never reached: the transport bounds what is delivered. A full queue of Faust's must not be met,
#: because a rebalance that clears it cancels the consumer that waits for room in it.
STREAM_BUFFER_BATCHES = 1_000_000
MAX_FETCH_BYTES = 1024 * 1024
#: The history is asked in seconds, not milliseconds, and every insert costs ClickHouse as much
#: as thousands of rows.
FETCHING: dict[Role, Fetching] = {
    "history": Fetching(min_bytes=MAX_FETCH_BYTES, max_wait_ms=1_000, max_records=5_000)
}


class App(faust.App):
    """A Faust app with the batched transport's options on it."""

    batched: "Batched"
    services: Services
    watchdog: Watchdog

    def _create_directories(self) -> None:
        self.conf.datadir.mkdir(parents=True, exist_ok=True)

    async def on_first_start(self) -> None:
        """Know the rules and prices before the first record is consumed."""
        await super().on_first_start()
        fatal.note_ends_in(self.conf.datadir)
        self.watchdog.start()
        self.batched.journal.attach(self.conf.datadir)
        await self.services.start(await count_partitions(self.services.settings))

    async def on_stop(self) -> None:
        """Stop within a bound, whoever asked for it."""
        self.watchdog.stopping()
        await super().on_stop()

    async def on_shutdown(self) -> None:
        """Close what the services hold open."""
        await super().on_shutdown()
        await self.services.stop()


class Batched(Options):
    """What the transport asks of this app."""

    def __init__(self, settings: Settings, role: Role) -> None:
        self.consumer_thread = settings.consumer_thread
        self.fetching = FETCHING.get(role, Fetching())
        self.runners: list[Runner] = []
        self.journal = Journal()
        self._registry = {topic_name(spec, settings.namespace): spec for spec in BY_NAME.values()}

    def batch(self, tp: TP, records: list[Any], epoch: int, follows: int) -> Batch:
        """Return fetched records as the batch that agents get."""
        spec = self._registry[tp.topic]
        adapter = spec.adapter if spec.value is not None else None
        return Batch(tp.topic, spec.name, tp.partition, records, adapter, epoch, follows)

    async def drain(self) -> None:
        """Wait until all units of work are finished."""
        for runner in self.runners:
            await runner.drain()

    def revoked(self) -> None:
        """Forget what belonged to partitions that were given up."""
        for runner in self.runners:
            runner.revoked()


def group_id(settings: Settings, role: Role) -> str:
    """Return the consumer group of a role."""
    prefix = f"{settings.namespace}." if settings.namespace else ""
    return f"{prefix}orderflow.{role}.v1"


def build_app(settings: Settings, role: Role, services: Services) -> App:
    """Return the Faust app of a role, its agents attached."""
    driver.register()
    app = App(
        group_id(settings, role),
        broker=";".join(f"batched://{host}" for host in settings.kafka_bootstrap.split(",")),
        store="memory://",
        cache="memory://",
        datadir=str(settings.worker_dir(role)),
        env_prefix="ORDERFLOW_FAUST_",
        TableManager=TableManager,
        topic_disable_leader=True,
        topic_allow_declare=False,
        topic_partitions=settings.partitions,
        table_standby_replicas=0,
        stream_buffer_maxsize=STREAM_BUFFER_BATCHES,
        stream_recovery_delay=0.0,
        consumer_max_fetch_size=MAX_FETCH_BYTES,
        producer_compression_type=(
            None if settings.compression == "none" else settings.compression
        ),
        broker_commit_interval=settings.commit_interval_s,
        broker_session_timeout=settings.session_timeout_s,
        consumer_group_instance_id=member_id(settings, role),
        broker_heartbeat_interval=min(3.0, settings.session_timeout_s / 3),
        broker_commit_livelock_soft_timeout=300.0,
        web_host=settings.web_advertised_host or settings.web_host,
        web_bind=settings.web_host,
        web_port=web_port(settings, role),
        web_tables_enabled=False,
        web_stats_enabled=False,
        web_graph_enabled=False,
        web_router_enabled=False,
        web_metrics_enabled=False,
        autodiscover=False,
        web_application_options={"middlewares": [problems]},
    )
    app.batched, app.services = Batched(settings, role), services
    allowed = limits(settings.watchdog_s, settings.commit_interval_s, PUBLISH_TIMEOUT_S)
    app.watchdog = Watchdog(app, allowed)
    folder = settings.worker_dir(role) / "tables"
    for spec in agents_of(role):
        app.batched.runners.append(_runner(app, settings, spec, folder, services))
    if (copying := services.copying()) is not None:
        app.task(copying)
    views.register(app, role)
    progress.register(app, role)
    return app


async def count_partitions(settings: Settings) -> int:
    """Return how many partitions the account topics have."""
    async with producer(settings) as client:
        name = topic_name(ORDERS_REQUESTED, settings.namespace)
        return len(await partitions_of(client.client, name))


def _runner(
    app: App, settings: Settings, spec: AgentSpec, folder: Path, services: Services
) -> Runner:
    table = None
    if spec.table is not None:
        changelog = spec.table.changelog(settings.namespace)
        table = Table(app, spec=spec.table, folder=folder, changelog=changelog)
        app.tables.add(table)
    runner = Runner(
        app,
        spec,
        services.agent(spec),
        reported_by(spec),
        lambda name: topic_name(BY_NAME[name], settings.namespace),
        table,
    )
    runner.journal = app.batched.journal
    runner.attach()
    return runner


def member_id(settings: Settings, role: Role) -> str:
    """Return the name under which a worker comes back to its group and takes its partitions.

    The port is part of it: Kafka gives a member that comes back its old assignment, in which
    Faust finds the address of its views, and it must be the one they now have.
    """
    port = web_port(settings, role)
    return f"{socket.gethostname()}-{role}-{settings.worker_index}-{port}"


def web_port(settings: Settings, role: Role) -> int:
    """Return the port of a worker's web views: the roles in order, then further workers."""
    roles = list(dict.fromkeys(spec.role for spec in AGENTS))
    return settings.web_port + roles.index(role) + len(roles) * settings.worker_index
