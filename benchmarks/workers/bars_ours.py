"""Ours: the product's bars agent, transport and root, with one agent in the worker.

`ORDERFLOW_BARS` says which frames; the topics are those of the run.
"""

from collections.abc import Callable
from typing import Any, cast

import streams.app
from agents.bars import Bars
from benchmarks.job import Chain
from benchmarks.workers import faust_app
from connectors.calendar import ExchangeCalendar
from streams.domain.bars.frames import SECOND_NS, Plans
from streams.domain.controls import ControlSet
from streams.main import configure_logging, tune
from streams.services import Services
from streams.settings import Settings
from streams.topics import MARKET_BARS, MARKET_TRADES, TopicSpec
from streams.wiring import AGENTS, AgentSpec
from tables.bars import BARS

GRAPH = tuple(spec for spec in AGENTS if spec.name == "bars")


class BarServices:
    """What the bars agent needs, without rules and prices."""

    role = "market"
    started = True
    controls = ControlSet()
    cache = type("Cache", (), {"away": False})

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.calendar = ExchangeCalendar()

    async def start(self, _partitions: int) -> None:
        """Load the calendar."""
        self.calendar.load()

    async def stop(self) -> None:
        """Stop nothing."""

    def copying(self) -> Callable[[], Any] | None:
        """Return no task."""
        return None

    def agent(self, _spec: AgentSpec) -> Bars:
        """Build the agent."""
        keep_ns = self.settings.bars_keep_s * SECOND_NS
        return Bars(Plans(self.settings.bars), keep_ns, self.calendar, lambda: self.controls)


def changelogs(chain: Chain) -> list[str]:
    """Return the changelog topics that the chain needs."""
    return [BARS.changelog(chain.group)]


def main() -> None:
    """Run until a signal ends it."""
    chain = Chain.from_environment()
    names = {MARKET_TRADES.name: chain.topics[0], MARKET_BARS.name: chain.topics[1]}

    def topic_name(spec: TopicSpec, _namespace: str) -> str:
        return names.get(spec.name, spec.name)

    root: Any = streams.app
    root.agents_of = lambda _role: GRAPH
    root.topic_name = topic_name
    root.reported_by = lambda _spec: frozenset({MARKET_TRADES.name})
    root.group_id = lambda _settings, _role: chain.group
    settings = Settings().model_copy(update={"namespace": chain.group})
    configure_logging("warning")
    tune()
    app = streams.app.build_app(settings, "market", cast(Services, BarServices(settings)))
    faust_app.run(app)


if __name__ == "__main__":
    main()
