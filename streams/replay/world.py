"""The agents of a replay with the rules and prices that they know: no stack, no live state."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from streams.domain.controls import ControlSet
from streams.models.controls import AnyControl, Instrument, Limits, Routing, SessionShift
from streams.models.market import LastPrice
from streams.ports import Agent
from streams.replay.blocks import Places
from streams.replay.engine import CHUNK, Engine, Watcher
from streams.services import Services
from streams.settings import Settings
from streams.wiring import AGENTS, AgentSpec

#: Agents that speak to what is outside: brokers across a network, the history.
OUTSIDE = frozenset({"sender", "history"})
MS = 1_000_000
#: The venue is compared with the tracker live; here one process has both.
NEVER_S = 1e9


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds in a run; the same rules and ticks give the same results.

    `latency_ms`: how long after its decision an order or a cancel reaches the venue. Above 0, so
    that what was decided on a tick cannot trade at that tick. `controls` stand beside the defaults;
    routing is always to the virtual venue, and sessions are those of the ticks' own time.
    """

    latency_ms: float = 1.0
    slippage_bps: str = "0"
    bars: str = "1m 5m 1h 1d"
    bars_keep_s: int = 900
    indicators: str = ""
    strategies: dict[str, dict[str, Any]] = field(default_factory=dict)
    signal_max_age_s: float = 60.0
    seed: int = 7
    controls: tuple[AnyControl, ...] = ()


class _Services(Services):
    """Services of agents of which each symbol has a partition, and all accounts have one."""

    def __init__(self, settings: Settings, places: Places) -> None:
        super().__init__(settings, "orders")
        self._places = places
        self.stopwatch = _no_time  # how long a strategy takes here must not change what it does

    def partition_of_symbol(self, symbol: str) -> int:
        """Return the partition of a symbol."""
        return self._places.of(symbol)


def _no_time() -> float:
    return 0.0


class World:
    """The agents of one run."""

    def __init__(self, rules: Rules, settings: Settings) -> None:
        self.places = Places()
        self.services = _Services(_own(settings, rules), self.places)
        latency_ns = round(rules.latency_ms * MS)
        self.services.venue = replace(
            self.services.venue,
            latency_ns=latency_ns,
            cancel_latency_ns=latency_ns,
            slippage_bps=Decimal(rules.slippage_bps),
        )
        self.services.controls = controls_of(rules)
        self.services.calendar.load()

    def priced(self, price: LastPrice) -> None:
        """Let all agents know a newest price."""
        self.services.prices[price.symbol] = price

    def symbol(self, name: str) -> None:
        """Let a symbol be traded that the controls say nothing about."""
        controls = self.services.controls
        if controls.instrument(name) is None:
            instrument = Instrument(scope=name, symbol=name, version=1)
            self.services.controls = controls.with_records([instrument])

    def agents(self) -> list[tuple[AgentSpec, Agent[Any]]]:
        """Return the agents, in the order of the wiring."""
        built = [(spec, self.services.agent(spec)) for spec in AGENTS if spec.name not in OUTSIDE]
        return [(spec, agent) for spec, agent in built if isinstance(agent, Agent)]

    def engine(self, watcher: Watcher, chunk: int = CHUNK) -> Engine:
        """Return an engine over these agents."""
        return Engine(self.agents(), watcher, self.places, chunk=chunk)


def controls_of(rules: Rules) -> ControlSet:
    """Return the controls of a run: the first ones of a pipeline, and the given ones."""
    kept = [one for one in rules.controls if not isinstance(one, Routing | SessionShift)]
    first: list[AnyControl] = [Limits(version=1), Routing(version=1)]
    return ControlSet().with_records([*first, *_newer(kept)])


def _newer(controls: Iterable[AnyControl]) -> list[AnyControl]:
    """Return controls whose versions are above those of the defaults."""
    return [one if one.version > 1 else one.model_copy(update={"version": 2}) for one in controls]


def _own(settings: Settings, rules: Rules) -> Settings:
    """Return settings of which nothing live is left."""
    changed: dict[str, Any] = {
        "partitions": 1,
        "rest_broker_url": "",
        "namespace": "replay",
        "reconcile_every_s": NEVER_S,
        "virtual_seed": rules.seed,
        "bars": rules.bars,
        "bars_keep_s": rules.bars_keep_s,
        "indicators": rules.indicators,
        "strategies": rules.strategies,
        "signal_max_age_s": rules.signal_max_age_s,
    }
    return settings.model_copy(update=changed)
