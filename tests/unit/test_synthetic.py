"""Synthetic ticks: the seed decides everything, and the checks find nothing in them."""

import hashlib
from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from streams.domain.sessions import Session
from streams.domain.synthetic import SECOND_NS, Numbers, Span, spans_of, synthetic_ticks
from streams.domain.tick_checks import TickChecks, TickLimits
from streams.domain.ticks import Tick
from streams.models.market import Quote, Trade
from tests.builders import NOW_NS

HOUR = 3_600 * SECOND_NS
OPEN = NOW_NS - HOUR
PRICES = {"AIG": Decimal("49.05"), "BAC": Decimal("13.91")}


def session(day: int) -> Session:
    """Return one of sessions that follow each other daily."""
    opens = OPEN + day * 24 * HOUR
    length = 13 * HOUR // 2
    return Session(f"day {day}", opens - 5 * HOUR, opens, opens + length, opens + length + 4 * HOUR)


def ticks(seed: int = 7, seconds: int = 5, rate: int = 1000, start_ns: int = OPEN) -> list[Tick]:
    """Return ticks of two symbols from the open on."""
    spans = spans_of((session(day) for day in range(9)), start_ns, seconds)
    return list(synthetic_ticks(seed, ("AIG", "BAC"), rate, spans, PRICES))


def digest(found: list[Tick]) -> str:
    """Return a hash of everything in them."""
    return hashlib.sha256(b"".join(one.model_dump_json().encode() for one in found)).hexdigest()


def test_splitmix64() -> None:
    """The first numbers of seed 1234567, as the algorithm's authors give them."""
    numbers = Numbers(1234567)
    assert [numbers.next() for _ in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_the_seed_decides_everything() -> None:
    """The same seed gives the same ticks, for ever; another seed others."""
    assert digest(ticks(seconds=1)) == digest(ticks(seconds=1))
    assert digest(ticks(seconds=1)) != digest(ticks(seconds=1, seed=8))
    assert ticks(seconds=1) == ticks(seconds=2)[:1000]  # more of the same market


def test_as_many_as_asked_for() -> None:
    """Rate times seconds, in time order, numbered from 1, both kinds and symbols."""
    found = ticks()
    times = [one.ts_event_ns for one in found]
    assert len(found) == 5000
    assert times == sorted(times)
    assert OPEN <= times[0] <= times[-1] < OPEN + 5 * SECOND_NS
    assert [one.seq for one in found] == list(range(1, 5001))
    assert set(Counter(one.symbol for one in found)) == {"AIG", "BAC"}
    share = sum(isinstance(one, Trade) for one in found) / len(found)
    assert 0.25 < share < 0.35


@effort(max_examples=20, deadline=None)
@given(st.integers(0, 2**64), st.integers(1, 1000))
def test_every_tick_is_valid_and_holds_the_checks(seed: int, rate: int) -> None:
    """Whatever the seed and rate: no crossed or locked quote, no far print, no bad number."""
    checks = {symbol: TickChecks(TickLimits()) for symbol in PRICES}
    for one in ticks(seed, seconds=1, rate=rate)[:200]:
        type(one).model_validate(one.model_dump())
        check = checks[one.symbol]
        assert (check.trade(one) if isinstance(one, Trade) else check.quote(one)) is None


def test_a_night_is_a_gap_and_nothing_comes_in_it() -> None:
    """Seconds count within regular hours; what does not fit goes on at the next open."""
    close = session(0).close_ns
    spans = spans_of((session(day) for day in range(3)), close - SECOND_NS, 3)
    assert spans == [
        Span(session(0), close - SECOND_NS, close),
        Span(session(1), session(1).open_ns, session(1).open_ns + 2 * SECOND_NS),
    ]
    found = ticks(seconds=3, rate=100, start_ns=close - SECOND_NS)
    assert len(found) == 300
    assert not [one for one in found if close <= one.ts_event_ns < session(1).open_ns]


@pytest.mark.parametrize(("place", "wider"), [(OPEN, True), (OPEN + 13 * HOUR // 4, False)])
def test_the_open_is_wilder_than_the_middle_of_the_day(place: int, wider: bool) -> None:
    """By the mean spread of 181.90: about 9 cents and about 3."""
    spans = [Span(session(0), place, place + SECOND_NS)]
    found = list(synthetic_ticks(7, ("IBM",), 2000, spans, {"IBM": Decimal("181.90")}))
    spreads = [q.ask - q.bid for q in found if isinstance(q, Quote) and q.ask and q.bid]
    assert (sum(spreads) / len(spreads) > Decimal("0.08")) is wider
