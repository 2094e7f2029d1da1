"""Synthetic ticks: quotes and prints of a made-up market, the same for the same seed for ever.

The middle of each symbol's market is a random walk in time: its steps grow with the root of the
time between ticks, so a night between two sessions is a gap. Volatility and spread are higher at
the open and the close. Prices are whole cents, quotes have both sides, prints are at the bid or
the ask. All in integers, with a generator of numbers that is written here: another version of
Python gives the same ticks.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import isqrt

from streams.domain.build import make
from streams.domain.sessions import Session
from streams.domain.ticks import Tick
from streams.models.market import Quote, Trade

SECOND_NS = 1_000_000_000
_CENT = 10_000_000  # in billionths
#: Volatility of 20 % a year as billionths in the root of a second of 252 days of 6.5 hours.
VOLATILITY = 82_360
_ROOT_OF_SECOND = isqrt(SECOND_NS)
_SPREAD_PER_10000 = 2
_TRADES_PERCENT = 30
_EXCHANGES = ("N", "Q", "P", "Z", "K")
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a session in which ticks come."""

    session: Session
    start_ns: int
    end_ns: int


@dataclass(slots=True)
class Numbers:
    """SplitMix64: 64 random bits at a time, from a seed."""

    state: int

    def next(self) -> int:
        """Return the next number, 0 inclusive to 2**64 exclusive."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self.state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)


@dataclass(slots=True)
class _Walk:
    """A symbol's market: its middle in billionths, and when it last moved."""

    symbol: str
    middle: int
    ts_ns: int = field(default=0)

    def move(self, ts_ns: int, tension: int, bits: int) -> None:
        """Step to a time; `tension` is in thousandths, the sum of 64 bits is nearly normal."""
        if self.ts_ns:
            deviations = bits.bit_count() - 32  # in quarters of a standard deviation
            share = VOLATILITY * deviations * isqrt(ts_ns - self.ts_ns) * tension
            step = self.middle * share // (SECOND_NS * 4 * _ROOT_OF_SECOND * 1000)
            self.middle = max(self.middle + step, 100 * _CENT)
        self.ts_ns = ts_ns


def spans_of(sessions: Iterable[Session], start_ns: int, seconds: int) -> list[Span]:
    """Return the stretches of regular hours from a time on that last so long together."""
    left = seconds * SECOND_NS
    spans: list[Span] = []
    for session in sessions:
        begin = max(start_ns, session.open_ns)
        end = min(session.close_ns, begin + left)
        if begin < end:
            spans.append(Span(session, begin, end))
            left -= end - begin
        if left <= 0:
            break
    return spans


def synthetic_ticks(
    seed: int,
    symbols: Sequence[str],
    rate: int,
    spans: Iterable[Span],
    prices: Mapping[str, Decimal],
) -> Iterator[Tick]:
    """Yield `rate` ticks a second, in time order, numbered from 1.

    Markets begin at `prices`; the seed makes up those of other symbols, from 20.00 to 219.99.
    """
    numbers = Numbers(seed & _MASK)
    walks = [_Walk(symbol, _first_price(symbol, prices, numbers)) for symbol in symbols]
    slot = max(SECOND_NS // rate, 1)
    seq = 0
    for span in spans:
        for place in range((span.end_ns - span.start_ns) * rate // SECOND_NS):
            draw = numbers.next()
            ts_ns = span.start_ns + place * SECOND_NS // rate + draw % slot
            walk = walks[(draw >> 32) % len(walks)]
            tension = _tension(span.session, ts_ns)
            walk.move(ts_ns, tension, numbers.next())
            seq += 1
            yield _tick(walk, tension, seq, numbers.next())


def _first_price(symbol: str, prices: Mapping[str, Decimal], numbers: Numbers) -> int:
    made_up = Decimal(2_000 + numbers.next() % 20_000).scaleb(-2)
    return int(prices.get(symbol, made_up) * SECOND_NS)


def _tension(session: Session, ts_ns: int) -> int:
    """Return 1000 in the middle of the session, rising to 3000 at its open and close."""
    length = session.close_ns - session.open_ns
    off = 1000 * (2 * (ts_ns - session.open_ns) - length) // length
    return 1000 + 2 * off * off // 1000


def _tick(walk: _Walk, tension: int, seq: int, draw: int) -> Tick:
    middle = walk.middle // _CENT
    spread = 1 + middle * _SPREAD_PER_10000 * tension // 10_000_000 + (draw & 1)
    bid = middle - spread // 2
    exchange = _EXCHANGES[(draw >> 1) % len(_EXCHANGES)]
    common = {"symbol": walk.symbol, "ts_event_ns": walk.ts_ns, "seq": seq, "exchange": exchange}
    if (draw >> 8) % 100 < _TRADES_PERCENT:
        price = bid + (spread if draw & 128 else 0)
        return make(Trade, **common, price=_cents(price), size=_lots(draw >> 16, 10))
    return make(
        Quote,
        **common,
        bid=_cents(bid),
        bid_size=_lots(draw >> 16, 20),
        ask=_cents(bid + spread),
        ask_size=_lots(draw >> 32, 20),
    )


def _cents(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)


def _lots(draw: int, most: int) -> Decimal:
    return Decimal(100 * (1 + draw % most))
