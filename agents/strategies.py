"""Run the strategies: tell them what happens to their symbols, publish what they decide.

In      market.trades, market.quotes, market.bars, indicators, strategies.fills; all by symbol
Out     signals, key symbol: each decision, with the record that it was made on
        strategies.updates, key strategy|symbol on the symbol's partition: how each one stands,
        once per batch in which that changed
State   table `strategies`: each strategy's state on each symbol, and signals for ten minutes after
        they were made; written here only
Twice   a redelivered record tells no strategy anything; what was decided on it is published again
        with the same ids. A worker that starts publishes again how each strategy stands, and what
        the timer decided. Of a bar or an indicator the first revision counts, once
Bad     nothing: what a strategy raises, returns or takes too long for becomes its status. A record
        on another partition than its symbol's is told to none
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams.domain.build import make
from streams.domain.controls import ControlSet
from streams.domain.strategies.config import Configs, configs_of
from streams.domain.strategies.host import Host
from streams.domain.strategies.pair import Cause, Clock, Known
from streams.domain.strategies.protocol import Callback
from streams.domain.strategies.rows import StrategiesRecord, StrategyRow
from streams.models.signals import StrategyState
from streams.ports import BulkAgent, Record, Unit
from streams.topics import (
    INDICATORS,
    MARKET_BARS,
    MARKET_QUOTES,
    MARKET_TRADES,
    SIGNALS,
    STRATEGIES_FILLS,
    STRATEGIES_UPDATES,
)

#: What a topic's records are to a strategy, and which of their times is the market's now.
EVENTS: Mapping[str, tuple[Callback, str]] = {
    MARKET_TRADES.name: ("trade", "ts_event_ns"),
    MARKET_QUOTES.name: ("quote", "ts_event_ns"),
    MARKET_BARS.name: ("bar", "ts_end_ns"),
    INDICATORS.name: ("indicator", "ts_end_ns"),
    STRATEGIES_FILLS.name: ("fill", "ts_event_ns"),
}
#: So many records at once where nobody wants them, and where each is a call.
UNHEARD, HEARD = 2_000, 100
HOUR_NS = 3_600 * 1_000_000_000


@dataclass(frozen=True)
class StrategiesDeps:
    """What the agent asks. `settings` are the strategies of the setting, by name."""

    settings: Mapping[str, Mapping[str, Any]]
    controls: Callable[[], ControlSet]
    known: Known
    partition_of: Callable[[str], int]
    clock: Clock
    budget_s: float


class Strategies(BulkAgent[StrategiesRecord]):
    """The strategies agent."""

    def __init__(self, deps: StrategiesDeps) -> None:
        self._deps = deps
        self._hosts: dict[int, Host] = {}
        self._controls: ControlSet | None = None
        self._configs: Configs = {}

    def at_once(self, topic: str) -> int:
        """Return many records where no strategy wants them, few where each is a call."""
        callback, _ = EVENTS[topic]
        heard = any(host.wants(callback) for host in self._hosts.values())
        return HEARD if heard else UNHEARD

    def fold(self, unit: Unit[StrategiesRecord], records: Sequence[Record]) -> None:
        """Tell the strategies of records, and store what that changed."""
        host = self._host(unit)
        if records and (records[0].redelivered or host.wants(EVENTS[records[0].topic][0])):
            callback, time = EVENTS[records[0].topic]
            for record in records:
                cause = Cause(record.topic, record.partition, record.offset)
                if record.redelivered:
                    host.again(unit, cause)
                else:
                    host.take(unit, callback, record.value, cause, getattr(record.value, time))
        _store(unit, host)

    def on_timer(self, unit: Unit[StrategiesRecord]) -> None:
        """Tell those that want it the time; begin and end strategies without a record, too."""
        host = self._host(unit)
        host.on_time(unit)
        _store(unit, host)

    def quiet_until(self, partition: int, ts_ns: int) -> int:
        """Return that ticks which no strategy wants bring nothing about."""
        host = self._hosts.get(partition)
        hears = host is not None and (host.wants("trade") or host.wants("quote"))
        return ts_ns if hears else ts_ns + HOUR_NS

    def idle_until(self, partition: int, ts_ns: int) -> int:
        """Return that time is nothing to strategies that do not want it; old signals can wait."""
        host = self._hosts.get(partition)
        return ts_ns if host is not None and host.wants("timer") else ts_ns + HOUR_NS

    def on_assigned(self, partition: int, state: Iterable[tuple[str, StrategiesRecord]]) -> None:
        """Take up what is stored of a partition; it runs on with the first unit."""
        self._hosts.pop(partition, None)
        self._host_of(partition).load(state)

    def on_revoked(self, partition: int) -> None:
        """Forget a partition."""
        self._hosts.pop(partition, None)

    def _host(self, unit: Unit[StrategiesRecord]) -> Host:
        """Return a partition's host, settled by the rules of now."""
        controls = self._deps.controls()
        if controls is not self._controls:
            found = configs_of(self._deps.settings, controls)
            self._configs = found if found != self._configs else self._configs
            self._controls = controls
        host = self._host_of(unit.partition)
        host.settle(self._configs)
        return host

    def _host_of(self, partition: int) -> Host:
        host = self._hosts.get(partition)
        if host is None:
            deps = self._deps
            host = self._hosts[partition] = Host(
                deps.known,
                deps.clock,
                deps.budget_s,
                lambda symbol: deps.partition_of(symbol) == partition,
            )
        return host


def _store(unit: Unit[StrategiesRecord], host: Host) -> None:
    signals, rows = host.store(unit)
    for signal in signals:
        unit.emit(SIGNALS, signal.symbol, signal)
    for row in rows:
        key = f"{row.strategy}|{row.symbol}"
        unit.emit(STRATEGIES_UPDATES, key, _published(row), partition_key=row.symbol)


def _published(row: StrategyRow) -> StrategyState:
    """Return what others see of a row."""
    return make(StrategyState, **{name: getattr(row, name) for name in StrategyState.model_fields})
