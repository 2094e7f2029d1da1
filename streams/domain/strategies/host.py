"""The strategies of one partition: which run on which symbol, and what a record is to them.

A host takes records one by one, collects signals and rows, and hands them over in `store`. Which
strategies there are is settled anew whenever settings and controls say something else.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from streams.domain.build import evolve
from streams.domain.strategies.config import Config, Configs
from streams.domain.strategies.pair import (
    DISABLED,
    NOT_CONFIGURED,
    Cause,
    Clock,
    Known,
    Pace,
    Pair,
    begun,
)
from streams.domain.strategies.protocol import Callback
from streams.domain.strategies.rows import (
    SIGNALS_PREFIX,
    TIMER_PREFIX,
    Rows,
    SignalsRow,
    StrategiesRecord,
    StrategyRow,
    cause_key,
    pair_key,
    timer_key,
)
from streams.models.signals import Signal

#: How long signals are kept, to be said again when their record is delivered again.
KEEP_NS = 600 * 1_000_000_000


class Host:
    """The strategies of one partition. `owns` says whether a symbol is on it."""

    def __init__(
        self, known: Known, clock: Clock, budget_s: float, owns: Callable[[str], bool]
    ) -> None:
        self._known = known
        self._clock = clock
        self._budget_s = budget_s
        self._owns = owns
        self._configs: Configs = MappingProxyType({})
        self._wanted: frozenset[Callback] = frozenset()
        self._pairs: dict[str, dict[str, Pair]] = {}
        self._touched: dict[str, Pair] = {}
        self._signals: list[Signal] = []
        self._again: list[StrategyRow] = []
        self._kept: dict[str, int] = {}

    def load(self, state: Iterable[tuple[str, StrategiesRecord]]) -> None:
        """Take up what is stored. How each stands is published again, and so is the timer's."""
        for key, row in state:
            if isinstance(row, StrategyRow):
                pair = Pair(row, Pace(self._budget_s))
                self._pairs.setdefault(row.symbol, {})[row.strategy] = pair
                if row.status == "running":
                    pair.attach(self._known, row.state)
                self._touch(pair)
                self._again.append(row)
            elif key.startswith(SIGNALS_PREFIX):
                self._kept[key] = 0
                if key.startswith(TIMER_PREFIX):
                    self._signals += row.signals

    def settle(self, configs: Configs) -> None:
        """Begin, end and begin anew what has to, if there are other strategies than before."""
        if configs is self._configs:
            return
        self._configs = configs
        self._wanted = frozenset(
            callback
            for config in configs.values()
            if config.said.enabled and config.said.implementation in self._known
            for callback in self._known[config.said.implementation].wants
        )
        named = {
            symbol
            for config in configs.values()
            for symbol in config.said.symbols
            if self._owns(symbol)
        }
        for symbol in sorted(named | self._pairs.keys()):
            self._settle(symbol)

    def _settle(self, symbol: str) -> None:
        before = self._pairs.get(symbol, {})
        wanted = {
            name: config
            for name, config in self._configs.items()
            if config.is_ours and config.covers(symbol)
        }
        self._pairs[symbol] = {
            name: self._settled(before.get(name), wanted.get(name), symbol)
            for name in sorted(before.keys() | wanted.keys())
        }
        for pair in self._pairs[symbol].values():
            self._touch(pair)

    def _touch(self, pair: Pair) -> None:
        self._touched[pair_key(pair.row.symbol, pair.row.strategy)] = pair

    def _settled(self, pair: Pair | None, config: Config | None, symbol: str) -> Pair:
        if config is None:
            if pair is None:
                raise AssertionError("neither runs nor is wanted")
            if not (pair.row.unwanted and pair.row.text == NOT_CONFIGURED):
                pair.stop(NOT_CONFIGURED, unwanted=True)
            return pair
        if pair is None or _begins_anew(pair.row, config):
            before = pair.row if pair is not None else None
            return begun(config, symbol, before, Pace(self._budget_s), self._known)
        version = config.said.version
        if not config.said.enabled:
            if not pair.row.unwanted:
                pair.stop(DISABLED, unwanted=True)
        elif pair.row.controls_version == version:
            return pair
        if pair.row.controls_version != version:
            pair.row = evolve(pair.row, controls_version=version)
            pair.changed = pair.told = True
        return pair

    def wants(self, callback: Callback) -> bool:
        """Return whether any strategy that there is wants to be told of such events."""
        return callback in self._wanted

    def take(self, rows: Rows, callback: Callback, event: Any, cause: Cause, at_ns: int) -> None:
        """Tell the strategies of an event's symbol, one after the other."""
        made: list[Signal] = []
        for pair in self._of(event.symbol or "").values():
            if callback not in pair.wants:
                continue
            if callback == "fill" and event.strategy != pair.row.strategy:
                continue
            if callback in _ONCE and not pair.is_new(callback, event):
                continue
            decisions = pair.call(callback, (event,), at_ns, self._clock)
            made += pair.signals(decisions, cause, at_ns, rows.now_ns)
            if pair.changed:
                self._touch(pair)
        if made:
            self._keep(rows, cause_key(cause.topic, cause.offset), made)

    def _of(self, symbol: str) -> Mapping[str, Pair]:
        if symbol not in self._pairs:
            if not symbol or not self._owns(symbol):
                return {}
            self._settle(symbol)
        return self._pairs[symbol]

    def again(self, rows: Rows, cause: Cause) -> None:
        """Say again what was decided on a record that is in the table already."""
        row = rows.get(cause_key(cause.topic, cause.offset))
        if isinstance(row, SignalsRow):
            self._signals += row.signals

    def on_time(self, rows: Rows) -> None:
        """Tell the strategies that want it what time it is; let old signals go."""
        if self.wants("timer"):
            for pair in [pair for pairs in self._pairs.values() for pair in pairs.values()]:
                if "timer" in pair.wants:
                    self._on_time(rows, pair)
        for key, since_ns in list(self._kept.items()):
            if not since_ns:  # of before: the record may not have come again yet
                self._kept[key] = rows.now_ns
            elif rows.now_ns - since_ns > KEEP_NS:
                del self._kept[key]
                rows.delete(key)

    def _on_time(self, rows: Rows, pair: Pair) -> None:
        self._touch(pair)
        decisions = pair.call("timer", (), rows.now_ns, self._clock)
        cause = Cause("", 0, pair.row.version)
        made = pair.signals(decisions, cause, rows.now_ns, rows.now_ns)
        if made:
            self._keep(rows, timer_key(pair.row), made)

    def _keep(self, rows: Rows, key: str, made: Sequence[Signal]) -> None:
        self._signals += made
        self._kept[key] = rows.now_ns
        rows.put(key, SignalsRow(signals=tuple(made)))

    def store(self, rows: Rows) -> tuple[list[Signal], list[StrategyRow]]:
        """Store what changed; return the signals, and the rows that are to be published."""
        told, self._again = self._again, []
        touched, self._touched = self._touched, {}
        for key, pair in touched.items():
            if pair.changed:
                version, row = pair.row.version, pair.stored(rows.now_ns)
                rows.put(key, row)
                told += [row] if row.version != version else []
        signals, self._signals = self._signals, []
        return signals, told


_ONCE = frozenset({"bar", "indicator", "fill"})


def _begins_anew(row: StrategyRow, config: Config) -> bool:
    """Return whether a strategy starts from nothing: it is another one, or is to be tried again."""
    said = config.said
    if not said.enabled:
        return False
    other = row.implementation != said.implementation or row.params != said.params
    return (
        other or row.unwanted or (row.status != "running" and row.controls_version != said.version)
    )
