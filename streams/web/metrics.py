"""What a worker measures of itself, in Prometheus's text format, read when it is asked for.

The names are part of what is promised: `docs/operations.md` lists them.
"""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.registry import Collector

from streams.transport import ends
from streams.transport.watchdog import gather
from streams.web.health import live, ready_report

__all__ = ["CONTENT_TYPE", "exposition"]

PREFIX = "orderflow_"
#: Of each agent: the metric, the runner's attribute, what it counts.
AGENT = (
    ("agent_records", "records", "Records that the agent has taken up."),
    ("agent_redelivered", "redelivered", "Records that its table already included."),
    ("agent_dead_letters", "dead_letters", "Records that it sent to the dead letters."),
)
#: Of each partition: the metric, the fact, what it says.
PARTITION = (
    ("partition_lag", "lag", "Records that are not worked through."),
    ("partition_floor", "floor", "Offset below which everything is durable."),
    ("partition_committed", "committed", "Offset that was committed last."),
)


async def exposition(app: Any) -> bytes:
    """Return the metrics of a worker as they are now."""
    late_s = (await live())["loop_lag_ms"] / 1000
    registry = CollectorRegistry()
    registry.register(_Now([*_agents(app), *_partitions(app), *_worker(app, late_s)]))
    return generate_latest(registry)


class _Now(Collector):
    """Metrics whose values are known already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        """Return them."""
        return self._metrics


def _agents(app: Any) -> Iterator[Metric]:
    for name, attribute, text in AGENT:
        counter = CounterMetricFamily(PREFIX + name, text, labels=["agent"])
        for runner in app.batched.runners:
            counter.add_metric([runner.name], getattr(runner, attribute))
        yield counter
    units = GaugeMetricFamily(
        PREFIX + "units_in_flight",
        "Units of work that Kafka has yet to acknowledge.",
        None,
        ["agent"],
    )
    waits = GaugeMetricFamily(
        PREFIX + "agent_waits", "1 while the agent waits for something far away.", None, ["agent"]
    )
    for runner in app.batched.runners:
        units.add_metric([runner.name], runner.in_flight())
        waits.add_metric([runner.name], bool(runner.waits_for))
    yield from (units, waits)


def _partitions(app: Any) -> Iterator[Metric]:
    facts = gather(app, app.watchdog.ends)
    for name, attribute, text in PARTITION:
        gauge = GaugeMetricFamily(PREFIX + name, text, labels=["topic", "partition"])
        for (topic, partition), known in sorted(facts.partitions.items()):
            if (value := getattr(known, attribute)) is not None:
                gauge.add_metric([topic, str(partition)], value)
        yield gauge


def _worker(app: Any, late_s: float) -> Iterator[Metric]:
    late = "Seconds by which the event loop woke the last probe too late."
    yield GaugeMetricFamily(PREFIX + "event_loop_late_seconds", late, late_s)
    ready = "1 while the worker does its work."
    yield GaugeMetricFamily(PREFIX + "worker_ready", ready, ready_report(app)["ready"])
    held = GaugeMetricFamily(
        PREFIX + "watchdog_seconds",
        "For how long what the watchdog looks for has been so; it ends the process at its limit.",
        None,
        ["watchdog"],
    )
    for watch, seconds in app.watchdog.judge.held_s.items():
        held.add_metric([watch.value], seconds)
    ended = CounterMetricFamily(
        PREFIX + "worker_ends",
        "Ends of this worker's processes that they had a reason for, by cause.",
        labels=["cause"],
    )
    for cause, count in sorted(ends.read(app.conf.datadir).counts.items()):
        ended.add_metric([cause], count)
    yield from (held, ended)
