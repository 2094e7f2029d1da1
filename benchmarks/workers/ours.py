"""Ours: the product's root, transport and runner, with the agents of the benchmark.

The root is as it is but for the graph, which is rows like those of `streams/wiring.py`, and the
process is tuned as `streams/main.py` does it. Settings come from the environment.
"""

from collections.abc import Callable
from typing import Any, cast

import streams.app
from benchmarks import job
from benchmarks.job import Chain, Order, Totals
from benchmarks.workers import faust_app
from streams.domain.build import evolve
from streams.main import configure_logging, tune
from streams.ports import Agent, Record, Unit
from streams.services import Services
from streams.settings import Settings
from streams.topics import BY_NAME, TopicSpec
from streams.wiring import AgentSpec
from tables.base import TableSpec


class Counter(Agent[Totals]):
    """One hop of the job."""

    def __init__(self, target: TopicSpec) -> None:
        self.target = target

    def step(self, unit: Unit[Totals], record: Record) -> None:
        """Check and count one order; a redelivered one changes nothing.

        Its answer goes out again, with the totals as they now are.
        """
        order: Order = record.value
        known = unit.get(order.account) or job.NOTHING
        checked, totals = job.apply(order, known)
        if record.redelivered:
            checked = evolve(checked, count=known.count, notional=known.notional)
        elif totals is not known:
            unit.put(order.account, totals)
        unit.emit(self.target, order.account, checked)


class Bare(Agent[Totals]):
    """One hop without state."""

    def __init__(self, target: TopicSpec) -> None:
        self.target = target

    def step(self, unit: Unit[Totals], record: Record) -> None:
        """Check one order."""
        order: Order = record.value
        unit.emit(self.target, order.account, job.apply(order, job.NOTHING)[0])


class NoServices:
    """Services of a worker that needs none."""

    role = "orders"
    started = True
    controls = type("Controls", (), {"version": 0})
    cache = type("Cache", (), {"away": False})

    def __init__(self, settings: Settings, state: bool) -> None:
        self.settings = settings
        self.kind = Counter if state else Bare

    async def start(self, _partitions: int) -> None:
        """Start nothing."""

    async def stop(self) -> None:
        """Stop nothing."""

    def copying(self) -> Callable[[], Any] | None:
        """Return no task."""
        return None

    def agent(self, spec: AgentSpec) -> Agent[Any]:
        """Build a hop's agent."""
        return self.kind(spec.writes[0])


def table_name(source: str) -> str:
    """Return the name of the table of the hop that reads `source`."""
    return f"totals-{source}"


def changelogs(chain: Chain) -> list[str]:
    """Return the changelog topics that the chain needs."""
    return [_table(source).changelog() for source, _ in chain.hops if chain.state]


def _table(source: str) -> TableSpec:
    return TableSpec(table_name(source), "account", Totals, f"hop-{source}", "Totals.", "Accounts.")


def _graph(chain: Chain) -> tuple[AgentSpec, ...]:
    specs = {name: TopicSpec(name, "account", Order, "bench", "Orders.") for name in chain.topics}
    BY_NAME.update(specs)
    return tuple(
        AgentSpec(
            f"hop-{source}",
            "orders",
            "One hop.",
            (specs[source],),
            (specs[target],),
            _table(source) if chain.state else None,
        )
        for source, target in chain.hops
    )


def main() -> None:
    """Run the chain until a signal ends it."""
    chain = Chain.from_environment()
    graph = _graph(chain)
    root: Any = streams.app
    root.agents_of = lambda _role: graph
    root.reported_by = lambda spec: frozenset(topic.name for topic in spec.reads)
    root.group_id = lambda _settings, _role: chain.group
    settings = Settings()
    configure_logging("warning")
    tune()
    services = NoServices(settings, chain.state)
    app = streams.app.build_app(settings, "orders", cast(Services, services))
    faust_app.run(app)


if __name__ == "__main__":
    main()
