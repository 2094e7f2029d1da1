"""A bars agent over a state in memory, and bars computed straight from prints to compare with."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from agents.bars import Bars
from connectors.calendar import ExchangeCalendar
from streams.domain.bars.frames import Plans
from streams.domain.bars.rows import BarsRecord
from streams.domain.controls import ControlSet
from streams.models.market import Bar, Trade
from streams.topics import MARKET_BARS, MARKET_TRADES
from tests.builders import SECOND, record, trade
from tests.fakes import DeadLetter, MemoryUnit

NEW_YORK = ZoneInfo("America/New_York")
MINUTE = 60 * SECOND
CALENDAR = ExchangeCalendar()
CALENDAR.load()


def ns(text: str) -> int:
    """Return a New York time as nanoseconds UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * SECOND


#: A Tuesday in a regular session.
OPEN_NS = ns("2026-11-17T09:30")


def at(seconds: float, price: str = "50.00", size: str = "100", **fields: Any) -> Trade:
    """Return a print so many seconds after the open, numbered by its time unless given."""
    ts = OPEN_NS + round(seconds * SECOND)
    seq = 1 + round(seconds * 1_000)
    given = {"price": price, "size": size, "ts_event_ns": ts, "seq": seq, "exchange": "N"}
    return trade(**given | fields)


@dataclass
class World:
    """One partition of the agent: prints in, bars out, and what is kept over a restart."""

    frames: str = "1m 5m 1h 1d"
    keep_s: int = 900
    now_ns: int = OPEN_NS
    state: dict[str, BarsRecord] = field(default_factory=dict)
    published: list[Bar] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    offset: int = 0
    applied: int = 0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start an agent anew over the state."""
        plans, keep_ns = Plans(self.frames), self.keep_s * SECOND
        self.agent = Bars(plans, keep_ns, CALENDAR, ControlSet)
        self.agent.on_assigned(0, sorted(self.state.items()))

    def _unit(self) -> MemoryUnit[BarsRecord]:
        return MemoryUnit(state=self.state, now_ns=self.now_ns)

    def _done(self, unit: MemoryUnit[BarsRecord]) -> list[Bar]:
        bars: list[Bar] = unit.values(MARKET_BARS)
        self.published += bars
        self.dead += unit.dead_letters
        return bars

    def take(self, *prints: Trade, redelivered: bool = False) -> list[Bar]:
        """Give the agent a batch; our time goes on with that of the prints."""
        newest = max((one.ts_event_ns for one in prints), default=0)
        if newest < self.now_ns + 3_600 * SECOND:
            self.now_ns = max(self.now_ns, newest)
        records = []
        for one in prints:
            records.append(record(one, MARKET_TRADES, self.offset, redelivered=redelivered))
            self.offset += not redelivered
        unit = self._unit()
        self.agent.fold(unit, records)
        return self._done(unit)

    def wait(self, seconds: float) -> list[Bar]:
        """Let time go by without a print."""
        self.now_ns += round(seconds * SECOND)
        unit = self._unit()
        self.agent.on_timer(unit)
        return self._done(unit)

    def newest(self, frame: str = "") -> dict[tuple[str, str, int], Bar]:
        """Return the newest revision of each bar that was published."""
        found: dict[tuple[str, str, int], Bar] = {}
        for bar in self.published:
            key = bar.symbol, bar.frame, bar.ts_start_ns
            if not frame or bar.frame == frame:
                known = found.get(key)
                if known is None or bar.rev >= known.rev:
                    found[key] = bar
        return found


def said(bar: Bar) -> tuple[Any, ...]:
    """Return what a bar says, without revision and time of making."""
    return (
        *(bar.symbol, bar.frame, bar.session, bar.ts_start_ns, bar.ts_end_ns),
        *(bar.open, bar.high, bar.low, bar.close, bar.volume, bar.vwap, bar.trades),
    )


#: start, end, trading day of the bar of a moment.
Bounds = Callable[[int], tuple[int, int, str]]


def straight(prints: Iterable[Trade], frame: str, bounds: Bounds) -> set[tuple[Any, ...]]:
    """Return the bars of prints that all count, computed in the plainest way."""
    groups: dict[tuple[str, int, int, str], list[Trade]] = defaultdict(list)
    for one in prints:
        groups[(one.symbol, *bounds(one.ts_event_ns))].append(one)
    return {
        (symbol, frame, session, start, end, *_figures(found))
        for (symbol, start, end, session), found in groups.items()
    }


def _figures(prints: Sequence[Trade]) -> tuple[Any, ...]:
    ordered = sorted(prints, key=lambda one: (one.ts_event_ns, one.seq, one.exchange))
    prices = [one.price for one in ordered]
    volume = sum((one.size for one in ordered), Decimal(0))
    money = sum((one.price * one.size for one in ordered), Decimal(0))
    vwap = (money / volume).quantize(Decimal("0.000000001"))
    return prices[0], max(prices), min(prices), prices[-1], volume, vwap, len(ordered)
