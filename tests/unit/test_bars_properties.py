"""What holds for every tape: shuffles, batches, restarts, daylight saving, half days, corrections.

Bars are compared with those that `bars_world.straight` computes from the prints in the plainest
way: by group, without a clock, a state or a smaller bar.
"""

import random
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streams
from streams.domain.bars.conditions import ALL, rights
from streams.domain.bars.frames import frame_of
from streams.domain.bars.spans import Spans
from streams.domain.ticks import tick_of_row
from streams.models.market import Trade
from tests.builders import SECOND, trade
from tests.unit.bars_world import CALENDAR, OPEN_NS, World, at, ns, said, straight

SAMPLE = Path(streams.__file__).parent / "data" / "ticks_sample.parquet"
SPANS = Spans(CALENDAR)
#: Days around the changes of the clocks, half days, holidays, a weekend, a plain day.
DAYS = (
    "2026-03-06",  # the Friday before daylight saving
    "2026-03-09",  # the Monday after
    "2026-10-30",
    "2026-11-02",  # the Monday after its end
    "2026-11-25",
    "2026-11-27",  # a half day, after Thanksgiving
    "2026-12-24",  # a half day
    "2026-11-17",
)


def bounds(frame: str, spans: Spans = SPANS) -> Any:
    """Return what gives start, end and trading day of a moment's bar."""
    return lambda ts_ns: spans.span(frame_of(frame), ts_ns)[:3]


@st.composite
def tapes(draw: st.DrawFn) -> list[Trade]:
    """Return prints of two symbols on one day, in order, numbered."""
    begin = ns(
        f"{draw(st.sampled_from(DAYS))}T{draw(st.sampled_from(('03:58', '09:27', '12:57')))}"
    )
    steps = draw(st.lists(st.integers(0, 40 * SECOND), min_size=1, max_size=40))
    found, ts = [], begin
    for number, step in enumerate(steps):
        ts += step
        price = Decimal(draw(st.integers(4_900, 5_100))).scaleb(-2)
        size = str(draw(st.integers(1, 900)))
        symbol = draw(st.sampled_from(("AIG", "IBM")))
        found.append(
            trade(symbol, str(price), size=size, ts_event_ns=ts, seq=number + 1, exchange="N")
        )
    return found


def closed(world: World) -> set[tuple[Any, ...]]:
    """Let all intraday bars close, and return the newest of each."""
    world.wait(0)
    world.wait(4_000)
    return {said(bar) for bar in world.newest().values()}


def day_of(frames: str, prints: list[Trade]) -> World:
    """Return a world whose clock is at the first print."""
    return World(frames, keep_s=86_400, now_ns=prints[0].ts_event_ns)


@settings(deadline=None)
@given(tapes(), st.sampled_from(("1s 1m 5m 1h", "1m 15m 30m", "5m 1h", "30s 1h")))
def test_bars_are_those_of_the_prints(prints: list[Trade], frames: str) -> None:
    """In every frame, whatever the day and the part of the session, made of smaller ones or not."""
    world = day_of(frames, prints)
    for one in prints:
        world.take(one)
    wanted = set()
    for frame in frames.split():
        wanted |= straight(prints, frame, bounds(frame))
    assert closed(world) == wanted
    assert all(bar.rev == 1 for bar in world.published)


@settings(deadline=None)
@given(tapes(), st.integers(0, 2**32), st.lists(st.integers(1, 40), max_size=5))
def test_shuffles_within_the_grace_change_nothing(
    prints: list[Trade], seed: int, cuts: list[int]
) -> None:
    """Nor does how the prints are cut into batches, nor restarts between them, nor repetitions."""
    chance = random.Random(seed)
    wanted = day_of("1s 1m 5m", prints)
    wanted.take(*prints)
    shuffled = sorted(prints, key=lambda one: one.ts_event_ns + chance.randrange(2 * SECOND))
    shuffled += chance.sample(shuffled, len(shuffled) // 4)
    world = day_of("1s 1m 5m", prints)
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), len(shuffled)], strict=True):
        world.take(*shuffled[first:last])
        world.restart()
    assert closed(world) == closed(wanted)
    revisions = [(said(bar), bar.rev) for bar in world.newest().values()]
    assert revisions
    assert all(rev == 1 for _, rev in revisions)


@settings(deadline=None)
@given(tapes(), st.integers(0, 2**32))
def test_late_prints_end_where_timely_ones_do(prints: list[Trade], seed: int) -> None:
    """In any order at all: the newest revisions are the bars; no revision says the same twice."""
    shuffled = prints.copy()
    random.Random(seed).shuffle(shuffled)
    world = day_of("1m 5m", prints)
    world.take(*shuffled)
    assert closed(world) == straight(prints, "1m", bounds("1m")) | straight(
        prints, "5m", bounds("5m")
    )
    by_bar: dict[Any, list[Any]] = {}
    for bar in world.published:
        by_bar.setdefault((bar.symbol, bar.frame, bar.ts_start_ns), []).append((bar.rev, said(bar)))
    for found in by_bar.values():
        assert [rev for rev, _ in found] == list(range(1, len(found) + 1))
        assert all(one != two for (_, one), (_, two) in pairwise(found))


@settings(deadline=None)
@given(tapes(), st.data())
def test_corrections_leave_the_bars_of_a_corrected_tape(prints: list[Trade], data: Any) -> None:
    """Cancels and corrections, of each other too, in any order: as if it had been so at first."""
    truth = {one.seq: one for one in prints}
    sent = prints.copy()
    for number, original in enumerate(data.draw(st.lists(st.sampled_from(prints), max_size=6))):
        canceled = data.draw(st.booleans())
        price = Decimal(data.draw(st.integers(4_900, 5_100))).scaleb(-2)
        changes = {"seq": 10_000 + number, "correction_of": original.seq, "canceled": canceled}
        sent.append(original.model_copy(update={"price": price, **changes}))
        truth.pop(original.seq, None)
        if not canceled:
            truth[original.seq] = original.model_copy(update={"price": price})
    random.Random(data.draw(st.integers(0, 2**32))).shuffle(sent)
    world = day_of("1m 5m", prints)
    world.take(*sent)
    standing = list(truth.values())
    wanted = straight(standing, "1m", bounds("1m")) | straight(standing, "5m", bounds("5m"))
    assert {one for one in closed(world) if one[-1]} == wanted


@settings(deadline=None)
@given(tapes())
def test_sums_of_bars_are_the_sums_of_the_tape(prints: list[Trade]) -> None:
    """Volume and money of every frame, to the last digit: no print in two bars, or in none."""
    world = day_of("1s 1m 1h", prints)
    world.take(*prints)
    closed(world)
    for frame in ("1s", "1m", "1h"):
        bars = world.newest(frame).values()
        assert sum(bar.volume for bar in bars) == sum(one.size for one in prints)
        assert sum(bar.notional for bar in bars) == sum(one.price * one.size for one in prints)


@pytest.mark.parametrize("day", DAYS)
def test_a_day_is_covered_once(day: str) -> None:
    """The bars of a frame follow each other without gap or overlap, and end with their session."""
    whole = SPANS.day(ns(f"{day}T12:00"))
    for frame in ("1m", "15m", "1h"):
        at_ns, spans = whole.begin_ns, []
        while at_ns < whole.end_ns:
            span = SPANS.span(frame_of(frame), at_ns)
            assert (span.start_ns, span.date) == (at_ns, day)
            spans.append(span)
            at_ns = span.end_ns
        regular = [span for span in spans if span.regular]
        assert regular[0].start_ns == whole.open_ns
        assert regular[-1].end_ns == whole.close_ns
        assert at_ns == whole.end_ns


SESSIONS = [
    ("2026-11-17", "2026-11-16T20:00", "2026-11-17T20:00", "from the end of the day before"),
    ("2026-11-16", "2026-11-13T20:00", "2026-11-16T20:00", "a Monday has the weekend"),
    ("2026-11-27", "2026-11-25T20:00", "2026-11-27T17:00", "a half day, and the holiday before"),
    ("2026-03-09", "2026-03-06T20:00", "2026-03-09T20:00", "an hour less in it"),
    ("2026-11-02", "2026-10-30T20:00", "2026-11-02T20:00", "an hour more"),
]


@pytest.mark.parametrize(
    ("day", "begin", "end"), [pytest.param(*row[:3], id=row[3]) for row in SESSIONS]
)
def test_a_trading_day(day: str, begin: str, end: str) -> None:
    """Reaches from the end of the session before it to its own end."""
    span = SPANS.span(frame_of("1d"), ns(f"{day}T12:00"))
    assert span[:3] == (ns(begin), ns(end), day)


def test_the_bars_of_the_sample_day() -> None:
    """8,051 prints of three symbols: equal to bars computed straight from those that count."""
    rows = pq.read_table(SAMPLE).to_pylist()
    prints = [tick_of_row(row, n + 1) for n, row in enumerate(rows) if row["kind"] == "trade"]
    plain = [one for one in prints if rights(one.conditions) == ALL]
    assert len(plain) > 7_900
    world = World("1s 1m 5m", now_ns=prints[0].ts_event_ns)
    for first in range(0, len(plain), 500):
        world.take(*plain[first : first + 500])  # type: ignore[arg-type]
    wanted = set()
    for frame in ("1s", "1m", "5m"):
        wanted |= straight(plain, frame, bounds(frame))  # type: ignore[arg-type]
    assert closed(world) == wanted
    assert len(wanted) == 1_000


def test_a_shift_moves_the_bars_with_the_market() -> None:
    """Bars of ticks moved by a shift are those of the ticks, moved."""
    shift = 123_456_789_012_345
    moved = Spans(CALENDAR, shift)
    for frame in ("1m", "1h", "1d"):
        plain = SPANS.span(frame_of(frame), OPEN_NS + 77 * SECOND)
        found = moved.span(frame_of(frame), OPEN_NS + 77 * SECOND + shift)
        assert found[:2] == (plain.start_ns + shift, plain.end_ns + shift)


def test_a_day_bar_is_made_of_the_hours() -> None:
    """Closed by the first print of the next day that is past the grace."""
    world = World("1m 1h 1d")
    prints = [at(600 * number, str(50 + number % 7)) for number in range(39)]
    world.take(*prints)
    world.take(at(0, ts_event_ns=ns("2026-11-17T20:00:03"), seq=10**9))
    (bar,) = world.newest("1d").values()
    assert said(bar) in straight(prints, "1d", bounds("1d"))


# --- counted frames ---------------------------------------------------------------------------


def cut(prints: list[Trade], frame: str) -> list[tuple[Any, ...]]:
    """Return what the full bars of a counted frame hold: symbol, start, volume, prints."""
    kind, size = frame_of(frame)[1:]
    weights = {"prints": lambda _: 1, "shares": lambda one: one.size}
    weigh = weights.get(kind, lambda one: one.size * one.price)
    found = []
    for symbol in ("AIG", "IBM"):
        bar: list[Trade] = []
        mine = sorted((p for p in prints if p.symbol == symbol), key=lambda p: p.ts_event_ns)
        for one, after in pairwise([*mine, None]):
            assert one is not None
            bar.append(one)
            last = after is None or after.ts_event_ns != one.ts_event_ns
            if last and sum(weigh(each) for each in bar) >= size:
                prices = [each.price for each in sorted(bar, key=lambda p: (p.ts_event_ns, p.seq))]
                volume = sum(each.size for each in bar)
                figures = prices[0], max(prices), min(prices), prices[-1], volume, len(bar)
                found.append((symbol, bar[0].ts_event_ns, one.ts_event_ns + 1, *figures))
                bar = []
    return sorted(found)


def told(world: World, frame: str) -> list[tuple[Any, ...]]:
    """Return the same of the bars that were published."""
    return sorted(
        (
            *(bar.symbol, bar.ts_start_ns, bar.ts_end_ns),
            *(bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades),
        )
        for bar in world.newest(frame).values()
    )


COUNTED = ("1t", "3t", "1000v", "40000n")


@settings(deadline=None)
@given(tapes(), st.integers(0, 2**32))
def test_counted_bars_are_cut_in_market_order(prints: list[Trade], seed: int) -> None:
    """Prints, shares, money: shuffled within the grace, and with a restart after every print."""
    chance = random.Random(seed)
    world = day_of("1s " + " ".join(COUNTED), prints)
    for one in sorted(prints, key=lambda one: one.ts_event_ns + chance.randrange(2 * SECOND)):
        world.take(one)
        world.restart()
    closed(world)
    for frame in COUNTED:
        assert told(world, frame) == cut(prints, frame)


@settings(deadline=None)
@given(tapes(), st.integers(0, 2**32))
def test_late_prints_are_in_one_counted_bar(prints: list[Trade], seed: int) -> None:
    """In any order: every print in a bar that covers its time, and none in two."""
    shuffled = prints.copy()
    random.Random(seed).shuffle(shuffled)
    world = day_of("1m 1t", prints)
    world.take(*shuffled)
    closed(world)
    bars = sorted(world.newest("1t").values(), key=lambda bar: (bar.symbol, bar.ts_start_ns))
    assert sum(bar.trades for bar in bars) == len(prints)
    assert sum(bar.notional for bar in bars) == sum(one.price * one.size for one in prints)
    for one, after in pairwise(bars):
        assert one.symbol != after.symbol or one.ts_end_ns <= after.ts_start_ns
    for one in prints:
        (covering,) = (
            bar
            for bar in bars
            if bar.symbol == one.symbol and bar.ts_start_ns <= one.ts_event_ns < bar.ts_end_ns
        )
        assert covering.low is not None
        assert covering.high is not None
        assert covering.low <= one.price <= covering.high


def test_a_cancel_restates_a_counted_bar() -> None:
    """The bars stay where they were cut."""
    world = World("1s 2t")
    world.take(*(at(number, str(50 + number)) for number in range(6)), at(30))
    world.published.clear()
    world.take(at(1, "51", seq=90_000, correction_of=1_001, canceled=True))
    (bar,) = (bar for bar in world.published if bar.frame == "2t")
    assert (bar.rev, bar.ts_start_ns, bar.trades, bar.high) == (2, OPEN_NS, 1, 50)


def test_a_counted_bar_ends_with_its_day() -> None:
    """The first print of the next trading day closes it, short as it is."""
    world = World("1m 100t")
    world.take(at(0, "50"), at(1, "51"), at(0, ts_event_ns=ns("2026-11-18T09:30"), seq=10**9))
    world.wait(0)
    world.wait(100)
    (bar,) = world.newest("100t").values()
    assert (bar.trades, bar.session, bar.close) == (2, "2026-11-17", 51)
