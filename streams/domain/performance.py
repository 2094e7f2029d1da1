"""What a run of fills came to: profit, drawdown, ratios, turnover, slippage, round trips.

Money is exact. Ratios are floats, because they are statistics: none of them is ever booked.

Returns are those of the equity from one sample to the next; the caller takes samples at equal
steps of market time. Annualised is with the square root of the steps a year; the rate without risk
is taken as 0. A ratio is None where there is too little to say: less than two returns, or none
that differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from math import fsum, sqrt

from streams.domain.decimals import ZERO

#: Samples are taken every minute of regular hours; a year has 252 trading days of 390 minutes.
MINUTES_A_YEAR = 252 * 390
DAYS_A_YEAR = 252


@dataclass(frozen=True, slots=True)
class Traded:
    """One fill. `qty` is signed, a sale is negative. `decided_px`: price when it was asked for."""

    ts_ns: int
    account: str
    symbol: str
    order_id: str
    qty: Decimal
    px: Decimal
    commission: Decimal = ZERO
    strategy: str = ""
    decided_px: Decimal | None = None
    ts_decided_ns: int | None = None


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """From flat to flat, or to the other side. `profit` has commissions taken off."""

    account: str
    symbol: str
    side: str
    qty: Decimal
    opened_ns: int
    closed_ns: int
    profit: Decimal


@dataclass(slots=True)
class _Open:
    """A position that is open: signed quantity, the money it cost so far, the most it was."""

    qty: Decimal
    flow: Decimal
    most: Decimal
    opened_ns: int


@dataclass(slots=True)
class Book:
    """Positions and profit, fill by fill. All accounts of a run together are one book."""

    cash: Decimal = ZERO
    commission: Decimal = ZERO
    traded: Decimal = ZERO
    trips: list[RoundTrip] = field(default_factory=list)
    _open: dict[tuple[str, str], _Open] = field(default_factory=dict)

    def take(self, fill: Traded) -> None:
        """Book a fill."""
        value = fill.qty * fill.px
        self.cash -= value + fill.commission
        self.commission += fill.commission
        self.traded += abs(value)
        key = fill.account, fill.symbol
        held = self._open.get(key)
        if held is None or (held.qty > 0) == (fill.qty > 0):
            self._add(key, held, fill, fill.qty, fill.commission)
            return
        closes = min(abs(fill.qty), abs(held.qty)).copy_sign(fill.qty)
        share = fill.commission * closes / fill.qty
        held.qty += closes
        held.flow -= closes * fill.px + share
        if not held.qty:
            self._close(key, held, fill)
            if fill.qty != closes:
                self._add(key, None, fill, fill.qty - closes, fill.commission - share)

    def positions(self) -> dict[str, Decimal]:
        """Return what is held of each symbol, over all accounts."""
        found: dict[str, Decimal] = {}
        for (_, symbol), held in self._open.items():
            found[symbol] = found.get(symbol, ZERO) + held.qty
        return found

    def profit(self, marks: "dict[str, Decimal]") -> Decimal:
        """Return the profit so far with what is held valued at these prices."""
        held = self.positions()
        return self.cash + sum((held[one] * marks[one] for one in held if one in marks), ZERO)

    def _add(
        self,
        key: tuple[str, str],
        held: _Open | None,
        fill: Traded,
        qty: Decimal,
        commission: Decimal,
    ) -> None:
        if held is None:
            held = self._open[key] = _Open(ZERO, ZERO, ZERO, fill.ts_ns)
        held.qty += qty
        held.flow -= qty * fill.px + commission
        held.most = max(held.most, abs(held.qty))

    def _close(self, key: tuple[str, str], held: _Open, fill: Traded) -> None:
        side = "short" if fill.qty > 0 else "long"
        trip = RoundTrip(*key, side, held.most, held.opened_ns, fill.ts_ns, held.flow)
        self.trips.append(trip)
        del self._open[key]


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The largest fall of the equity below what it had been: money, share, from when to when."""

    money: Decimal
    share: float
    peak_ns: int | None = None
    trough_ns: int | None = None


def max_drawdown(equity: Sequence[tuple[int, Decimal]]) -> Drawdown:
    """Return the largest drawdown in money of samples (time, equity)."""
    worst = Drawdown(ZERO, 0.0)
    peak: tuple[int, Decimal] | None = None
    for ts, value in equity:
        if peak is None or value > peak[1]:
            peak = ts, value
        fall = peak[1] - value
        if fall > worst.money:
            share = float(fall / peak[1]) if peak[1] > 0 else 0.0
            worst = Drawdown(fall, share, peak[0], ts)
    return worst


def returns_of(equity: Sequence[Decimal]) -> list[float]:
    """Return the return of each step; one from an equity of 0 or below is left out."""
    return [float(after / before) - 1.0 for before, after in pairwise(equity) if before > 0]


def sharpe(returns: Sequence[float], steps_a_year: float) -> float | None:
    """Return mean over standard deviation (of a sample, n - 1), annualised."""
    if len(returns) < 2:
        return None
    mean = fsum(returns) / len(returns)
    spread = sqrt(fsum((one - mean) ** 2 for one in returns) / (len(returns) - 1))
    return None if spread == 0 else mean / spread * sqrt(steps_a_year)


def sortino(returns: Sequence[float], steps_a_year: float) -> float | None:
    """Return mean over the root of the mean square of losses (of all steps), annualised."""
    if len(returns) < 2:
        return None
    below = sqrt(fsum(min(one, 0.0) ** 2 for one in returns) / len(returns))
    return None if below == 0 else fsum(returns) / len(returns) / below * sqrt(steps_a_year)


@dataclass(frozen=True, slots=True)
class Slippage:
    """What fills cost against the price when they were asked for; positive is worse."""

    money: Decimal
    bps: float | None
    fills: int


def slippage(fills: Sequence[Traded]) -> Slippage:
    """Return the slippage of the fills whose price at the decision is known."""
    known = [one for one in fills if one.decided_px is not None]
    asked = sum((abs(one.qty) * (one.decided_px or ZERO) for one in known), ZERO)
    cost = sum((one.qty * (one.px - (one.decided_px or ZERO)) for one in known), ZERO)
    return Slippage(cost, float(cost / asked) * 10_000 if asked else None, len(known))


@dataclass(frozen=True, slots=True)
class TripFigures:
    """Round trips in figures; `win_rate` is of those with a profit above 0."""

    count: int
    wins: int
    win_rate: float | None
    average_win: Decimal | None
    average_loss: Decimal | None
    profit_factor: float | None
    average_s: float | None


def trip_figures(trips: Sequence[RoundTrip]) -> TripFigures:
    """Return the figures of round trips."""
    wins = [one.profit for one in trips if one.profit > 0]
    losses = [one.profit for one in trips if one.profit < 0]
    won, lost = sum(wins, ZERO), -sum(losses, ZERO)
    spans = [one.closed_ns - one.opened_ns for one in trips]
    return TripFigures(
        len(trips),
        len(wins),
        len(wins) / len(trips) if trips else None,
        won / len(wins) if wins else None,
        -lost / len(losses) if losses else None,
        float(won / lost) if lost else None,
        sum(spans) / len(spans) / 1e9 if spans else None,
    )
