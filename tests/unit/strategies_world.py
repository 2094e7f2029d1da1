"""A strategies agent over a state in memory, and strategies that do what a test wants."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from agents.strategies import EVENTS, Strategies, StrategiesDeps
from streams.domain.controls import ControlSet
from streams.domain.strategies.protocol import AnyStrategy, Callback, Context, Deaf, Decision
from streams.domain.strategies.registry import BUILT_IN
from streams.domain.strategies.rows import StrategiesRecord, StrategyRow, pair_key
from streams.models.base import Part
from streams.models.controls import AnyControl, StrategyControl
from streams.models.market import Bar
from streams.models.signals import Signal, StrategyState
from streams.topics import (
    INDICATORS,
    MARKET_BARS,
    MARKET_QUOTES,
    MARKET_TRADES,
    SIGNALS,
    STRATEGIES_FILLS,
    STRATEGIES_UPDATES,
    TopicSpec,
)
from tests.builders import NOW_NS, SECOND, bar, record
from tests.fakes import MemoryUnit

TOPICS: Mapping[str, TopicSpec] = {
    EVENTS[topic.name][0]: topic
    for topic in (MARKET_TRADES, MARKET_QUOTES, MARKET_BARS, INDICATORS, STRATEGIES_FILLS)
}


class Count(Part):
    """How many events there were."""

    events: int = 0


class ProbeParams(Part):
    """One word that a test chooses."""

    word: str = "go"


#: What a probe does with an event: (callback, event or None, context) to decisions.
Act = Callable[[str, Any, Context[ProbeParams]], Sequence[Decision]]


class Probe(Deaf[Count, ProbeParams]):
    """A strategy that counts what it is told of, and does what the test wants with it."""

    state = Count
    params = ProbeParams

    def __init__(self, act: Act, *wants: Callback) -> None:
        self.act = act
        self.wants: frozenset[Callback] = frozenset(wants or ("bar",))

    def _do(
        self, name: str, state: Count, event: Any, context: Context[ProbeParams]
    ) -> tuple[Count, Sequence[Decision]]:
        return Count(events=state.events + 1), self.act(name, event, context)

    def on_trade(self, state: Count, trade: Any, context: Any) -> Any:
        """Count it."""
        return self._do("trade", state, trade, context)

    def on_quote(self, state: Count, quote: Any, context: Any) -> Any:
        """Count it."""
        return self._do("quote", state, quote, context)

    def on_bar(self, state: Count, bar: Any, context: Any) -> Any:
        """Count it."""
        return self._do("bar", state, bar, context)

    def on_indicator(self, state: Count, indicator: Any, context: Any) -> Any:
        """Count it."""
        return self._do("indicator", state, indicator, context)

    def on_fill(self, state: Count, fill: Any, context: Any) -> Any:
        """Count it."""
        return self._do("fill", state, fill, context)

    def on_timer(self, state: Count, context: Any) -> Any:
        """Count it."""
        return self._do("timer", state, None, context)


def long(price: str = "50") -> tuple[Decision]:
    """Return the decision to be long."""
    return (Decision(Decimal(1), Decimal(price), "because"),)


@dataclass
class World:
    """One partition of the agent: records in, signals and states out; a clock that tests turn."""

    settings: Mapping[str, Mapping[str, Any]]
    known: Mapping[str, AnyStrategy] = field(default_factory=lambda: BUILT_IN)
    owned: Callable[[str], bool] = bool
    now_ns: int = NOW_NS
    seconds: float = 0.0
    state: dict[str, StrategiesRecord] = field(default_factory=dict)
    controls: ControlSet = field(default_factory=ControlSet)
    signals: list[Signal] = field(default_factory=list)
    told: list[StrategyState] = field(default_factory=list)
    offset: int = 0
    _version: int = 0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start an agent anew over the state."""
        self.agent = Strategies(
            StrategiesDeps(
                self.settings,
                lambda: self.controls,
                self.known,
                lambda symbol: 0 if self.owned(symbol) else 1,
                lambda: self.seconds,
                budget_s=0.01,
            )
        )
        self.agent.on_assigned(0, sorted(self.state.items()))

    def control(self, name: str, **fields: Any) -> None:
        """Set the control of a strategy while everything runs."""
        self._version += 1
        control: AnyControl = StrategyControl(scope=name, version=self._version, **fields)
        self.controls = self.controls.with_records([control])

    def tell(
        self, callback: str, *events: Any, offset: int | None = None, again: bool = False
    ) -> list[Signal]:
        """Give the agent a batch of one topic's records; `again`: they are redelivered."""
        first = self.offset if offset is None else offset
        topic = TOPICS[callback]
        records = [
            record(event, topic, first + number, redelivered=again)
            for number, event in enumerate(events)
        ]
        if offset is None:
            self.offset += len(events)
        unit = self._unit()
        self.agent.fold(unit, records)
        return self._done(unit)

    def bars(self, *closes: str, **fields: Any) -> list[Signal]:
        """Give the agent a batch of bars with these closes, each a minute after the one before."""
        return self.tell("bar", *(self.bar(close, **fields) for close in closes))

    def bar(self, close: str, **fields: Any) -> Bar:
        """Return the next bar."""
        self.now_ns += 60 * SECOND
        times = {"ts_start_ns": self.now_ns - 60 * SECOND, "ts_end_ns": self.now_ns}
        return bar(**{"close": close, **times, **fields})

    def wait(self, seconds: float = 1) -> list[Signal]:
        """Let time go by without a record."""
        self.now_ns += round(seconds * SECOND)
        unit = self._unit()
        self.agent.on_timer(unit)
        return self._done(unit)

    def row(self, strategy: str = "a", symbol: str = "AIG") -> StrategyRow:
        """Return what is stored of a strategy."""
        row = self.state[pair_key(symbol, strategy)]
        assert isinstance(row, StrategyRow)
        return row

    def events(self, strategy: str = "a", symbol: str = "AIG") -> int:
        """Return how many events a probe has been told of since it began."""
        return Count.model_validate_json(self.row(strategy, symbol).state).events

    def _unit(self) -> MemoryUnit[StrategiesRecord]:
        return MemoryUnit(state=self.state, now_ns=self.now_ns)

    def _done(self, unit: MemoryUnit[StrategiesRecord]) -> list[Signal]:
        assert unit.dead_letters == []
        for row in self.state.values():  # what is stored can be read again
            assert type(row).model_validate_json(row.model_dump_json()) == row
        for each in unit.emitted:
            assert each.partition_key == each.value.symbol
        made: list[Signal] = unit.values(SIGNALS)
        self.signals += made
        self.told += unit.values(STRATEGIES_UPDATES)
        return made


def probes(
    *names: str, act: Act = lambda *_: (), wants: Sequence[Callback] = ("bar",), **fields: Any
) -> World:
    """Return a world in which these strategies run a probe on AIG."""
    settings = {name: {"implementation": "probe", "symbols": "AIG", **fields} for name in names}
    return World(settings, {"probe": Probe(act, *wants)})
