"""An indicators agent over a state in memory, and indicators computed in the plainest way."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

from agents.indicators import Indicators
from streams.domain.indicators.asked import Asked
from streams.domain.indicators.rows import SeriesRow
from streams.domain.indicators.rules import Rule
from streams.models.market import Bar
from streams.models.signals import Indicator
from streams.topics import INDICATORS, MARKET_BARS
from tables.indicators import INDICATORS_TABLE
from tests.builders import NOW_NS, SECOND, bar, record
from tests.fakes import DeadLetter, MemoryUnit

MINUTE = 60 * SECOND
ADAPTER = INDICATORS_TABLE.adapter()

#: Values of an indicator after a bar, by indicator, frame and start of the bar.
Known = dict[tuple[str, str, str, int], dict[str, float]]


def none_of(name: str, numbers: tuple[float, ...]) -> Rule:
    """Know no function of others."""
    raise ValueError(f"{name} is not there")


def at(number: int, close: str | None = "50", **fields: Any) -> Bar:
    """Return the bar of so many minutes after a moment, made right after its end."""
    start = NOW_NS + number * MINUTE
    prices = {"open": close, "high": close, "low": close, "close": close}
    times = {
        "ts_start_ns": start,
        "ts_end_ns": start + MINUTE,
        "ts_init_ns": start + MINUTE + 2 * SECOND,
    }
    money = {"notional": str(100 * float(close or 50))}
    given = {**prices, **times, **money, **fields}
    given["status"] = "final" if given.get("rev", 1) == 1 else "revised"
    return bar(given.pop("frame", "1m"), **given)


@dataclass
class World:
    """One partition of the agent: bars in, indicators out, and what is kept over a restart.

    Each call of `take` is a unit of work.
    """

    asked: str = "1m: sma(2) obv"
    others: Callable[[str, tuple[float, ...]], Rule] = none_of
    now_ns: int = NOW_NS
    state: dict[str, SeriesRow] = field(default_factory=dict)
    published: list[Indicator] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    offset: int = 0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start an agent anew, over the state as it comes back from its changelog."""
        for key, row in self.state.items():
            self.state[key] = ADAPTER.validate_json(ADAPTER.dump_json(row))
        self.agent = Indicators(Asked(self.asked, self.others))

    def take(self, *bars: Bar, redelivered: bool = False) -> list[Indicator]:
        """Give the agent a batch."""
        self.now_ns += SECOND
        unit: MemoryUnit[SeriesRow] = MemoryUnit(state=self.state, now_ns=self.now_ns)
        for one in bars:
            self.offset += not redelivered
            given = record(one, MARKET_BARS, self.offset, redelivered=redelivered)
            self.agent.step(unit, given)
        self.agent.on_batch_end(unit)
        told: list[Indicator] = unit.values(INDICATORS)
        self.published += told
        self.dead += unit.dead_letters
        return told

    def newest(self) -> Known:
        """Return what holds: of each value that with the highest revision, if there is one."""
        return newest(self.published)


def newest(told: Sequence[Indicator]) -> Known:
    """Return what holds of all that was told."""
    found = {
        (one.symbol, one.name, one.frame, one.ts_start_ns): one.values
        for one in sorted(told, key=lambda one: one.rev)
    }
    return {key: values for key, values in found.items() if values}


def said(told: Sequence[Indicator]) -> list[tuple[Any, ...]]:
    """Return what was told in short: indicator, minute, revision, values."""
    return [
        (one.name, (one.ts_start_ns - NOW_NS) // MINUTE, one.rev, *one.values.values())
        for one in told
    ]


# The plainest way: lists of closes in, one value (or none) for each out.

Line = list[float | None]


def plain_sma(closes: Sequence[float], period: int) -> Line:
    """Mean of the last closes."""
    return [
        math.fsum(closes[at - period + 1 : at + 1]) / period if at >= period - 1 else None
        for at in range(len(closes))
    ]


def plain_ema(values: Sequence[float | None], period: int) -> Line:
    """Exponential mean of the values that there are, begun with a mean."""
    found: Line = [None] * len(values)
    begin = next((at for at, one in enumerate(values) if one is not None), len(values))
    given = [one for one in values if one is not None]
    for at in range(period - 1, len(given)):
        before = found[begin + at - 1]
        if before is None:
            found[begin + at] = math.fsum(given[:period]) / period
        else:
            found[begin + at] = before + 2 / (period + 1) * (given[at] - before)
    return found


def plain_wilder(values: Sequence[float], period: int) -> Line:
    """Wilder's mean."""
    found: Line = [None] * len(values)
    for at in range(period - 1, len(values)):
        before = found[at - 1] if at else None
        if before is None:
            found[at] = math.fsum(values[:period]) / period
        else:
            found[at] = before + (values[at] - before) / period
    return found


def plain(name: str, bars: Sequence[Bar]) -> list[tuple[float, ...] | None]:
    """Return an indicator of bars that all have prices and volume."""
    closes = [float(one.close or 0) for one in bars]
    moves = [new - old for old, new in pairwise(closes)]
    if name == "sma(5)":
        return [_one(value) for value in plain_sma(closes, 5)]
    if name == "ema(4)":
        return [_one(value) for value in plain_ema(closes, 4)]
    if name == "bbands(5,2)":
        return [
            None if mean is None else _bands(mean, statistics.pstdev(closes[at - 4 : at + 1]))
            for at, mean in enumerate(plain_sma(closes, 5))
        ]
    if name == "macd(3,6,4)":
        fast = [*[None] * min(3, len(closes)), *plain_ema(closes[3:], 3)]
        pairs = zip(fast, plain_ema(closes, 6), strict=True)
        line = [None if a is None or b is None else a - b for a, b in pairs]
        signal = plain_ema(line, 4)
        return [
            None if a is None or b is None else (a, b, a - b)
            for a, b in zip(line, signal, strict=True)
        ]
    if name == "rsi(4)":
        rises = plain_wilder([max(one, 0) for one in moves], 4)
        falls = plain_wilder([max(-one, 0) for one in moves], 4)
        pairs = zip(rises, falls, strict=True)
        return [None, *(None if a is None or b is None else (_share(a, b),) for a, b in pairs)]
    if name == "atr(4)":
        return [None, *(_one(value) for value in plain_wilder(_ranges(bars), 4))]
    if name == "obv":
        total, found = float(bars[0].volume), [float(bars[0].volume)]
        for move, one in zip(moves, bars[1:], strict=True):
            total += float(one.volume) * ((move > 0) - (move < 0))
            found.append(total)
        return [(value,) for value in found]
    return [(_vwap(bars[: at + 1]),) for at in range(len(bars))]


def _one(value: float | None) -> tuple[float, ...] | None:
    return None if value is None else (value,)


def _bands(mean: float, deviation: float) -> tuple[float, ...]:
    return mean + 2 * deviation, mean, mean - 2 * deviation


def _share(rise: float, fall: float) -> float:
    return 100 * rise / (rise + fall) if rise + fall else 0.0


def _ranges(bars: Sequence[Bar]) -> list[float]:
    found = []
    for before, one in pairwise(bars):
        high = max(float(one.high or 0), float(before.close or 0))
        low = min(float(one.low or 0), float(before.close or 0))
        found.append(high - low)
    return found


def _vwap(bars: Sequence[Bar]) -> float:
    day = [one for one in bars if one.session == bars[-1].session]
    return float(
        sum(Fraction(one.notional) for one in day) / sum(Fraction(one.volume) for one in day)
    )
