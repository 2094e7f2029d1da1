"""The bars agent: when a bar is final, what restates it, what is set aside, what is kept."""

from decimal import Decimal
from typing import Any

import pytest

from streams.models.market import Bar, Trade
from tests.unit.bars_world import MINUTE, OPEN_NS, World, at, ns, said

D = Decimal


def ohlcv(bar: Bar) -> tuple[Any, ...]:
    """Return the figures of a bar."""
    return bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades


def test_a_bar_is_final_two_seconds_after_its_end() -> None:
    """Right-open: the print of 09:31:00 is in the next one; stamped by start and end."""
    world = World("1m")
    assert world.take(at(0, "50"), at(30, "52"), at(59.999, "51")) == []
    assert world.take(at(60, "49"), at(61.999, "49")) == []
    (bar,) = world.take(at(62, "49"))
    assert ohlcv(bar) == (50, 52, 50, 51, 300, 3)
    assert (bar.ts_start_ns, bar.ts_end_ns) == (OPEN_NS, OPEN_NS + MINUTE)
    assert (bar.status, bar.rev, bar.session, bar.vwap) == ("final", 1, "2026-11-17", 51)


def test_vwap_is_rounded_once_from_exact_sums() -> None:
    """Sum of price x size by sum of size; both sums are in the bar, to the last digit."""
    world = World("1m")
    world.take(at(0, "10.000000001", "3"), at(1, "10.000000002", "0.000000001"))
    (bar,) = world.wait(70)
    assert bar.notional == D("30.000000013000000002")
    assert bar.vwap == D("10.000000001")


def test_a_silent_symbol_closes_by_our_time() -> None:
    """Venue time goes on with ours from the last print; nothing is made where nothing traded."""
    world = World("1m")
    world.take(at(30))
    assert world.wait(31.9) == []
    (bar,) = world.wait(0.1)
    assert bar.trades == 1
    assert world.wait(600) == []


def test_old_ticks_are_not_closed_by_the_clock_on_the_wall() -> None:
    """A replay of another year stands at its own time."""
    world = World("1m", now_ns=OPEN_NS + 10**17)
    world.take(at(30))
    assert world.wait(1) == []
    assert len(world.wait(31)) == 1


def test_other_symbols_behind_are_waited_for() -> None:
    """A silent symbol is not closed while its partition is still at an earlier time."""
    world = World("1m", now_ns=OPEN_NS + 10**17)
    world.take(at(59), at(10, symbol="IBM"))
    world.now_ns += 20 * 10**9
    world.take(at(11, symbol="IBM"))  # the worker catches up: time stands at 59 s
    assert world.wait(2.9) == []
    assert [bar.symbol for bar in world.wait(0.2)] == ["AIG"]


def test_a_late_print_is_a_revision() -> None:
    """With the next number, up through all frames that were final; the others take it as it is."""
    world = World("1m 5m 1h")
    world.take(at(10, "50"), at(70, "51"), at(310, "52"))
    world.published.clear()
    world.take(at(20, "60"))
    assert [(bar.frame, bar.rev, bar.status) for bar in world.published] == [
        ("1m", 2, "revised"),
        ("5m", 2, "revised"),
    ]
    assert ohlcv(world.published[1]) == (50, 60, 50, 51, 300, 3)


def test_a_late_print_of_an_empty_minute_makes_its_bar() -> None:
    """It is the first of it, so it is final at once."""
    world = World("1m 5m")
    world.take(at(10, "50"), at(200, "51"), at(310, "52"))
    world.published.clear()
    world.take(at(100, "60"), at(311))
    made = [(bar.frame, bar.rev, bar.ts_start_ns - OPEN_NS) for bar in world.published]
    assert made == [("1m", 1, MINUTE), ("5m", 2, 0)]


def test_a_print_that_is_too_late_is_set_aside() -> None:
    """Its bar and those above stand; nothing is lost in silence."""
    world = World("1m", keep_s=120)
    world.take(at(0), at(179.9))
    assert len(world.take(at(59, "70"))) == 1
    world.take(at(180), at(100))  # the second one does not set the clock back
    assert world.take(at(59.5, "70")) == []
    assert [letter.code for letter in world.dead] == ["LATE_TRADE"]


BAD = [
    (at(1, "0", seq=5, correction_of=4), "BAD_PRINT", "no price"),
    (at(1, size="-5", seq=5, correction_of=4), "BAD_PRINT", "no size"),
    (at(200_000, seq=5, correction_of=4), "FUTURE", "more than a day ahead"),
    (at(1, ts_event_ns=1), "NO_SESSION", "of no year that has sessions"),
    (at(1, seq=5, correction_of=5), "BAD_PRINT", "a correction of itself"),
    (at(1, canceled=True), "BAD_PRINT", "a cancel of nothing"),
]


@pytest.mark.parametrize(("one", "code"), [pytest.param(*r[:2], id=r[2]) for r in BAD])
def test_what_can_be_in_no_bar_is_set_aside(one: Trade, code: str) -> None:
    """And changes nothing."""
    world = World("1m")
    world.take(at(0), one)
    (bar,) = world.wait(70)
    assert (bar.trades, [letter.code for letter in world.dead]) == (1, [code])


@pytest.mark.parametrize("one", [at(1, "0"), at(1, size="-5"), at(200_000)])
def test_what_the_checks_refuse_is_in_no_bar_and_no_letter(one: Trade) -> None:
    """The prices agent counts it."""
    world = World("1m")
    world.take(at(0), one)
    (bar,) = world.wait(70)
    assert (bar.trades, world.dead) == (1, [])


def test_repetitions_count_once() -> None:
    """By time, number and exchange, in the same batch, a later one, and after the bar is final."""
    world = World("1m")
    first = at(1, "50")
    world.take(first, first)
    world.take(first, at(1, "51", exchange="Q"), at(1, "52", seq=2_000))
    (bar,) = world.wait(70)
    assert bar.trades == 3
    assert world.take(first) == []
    assert world.state["AIG"].duplicates == 3  # type: ignore[union-attr]


def test_prints_without_a_number_all_count() -> None:
    """Nothing tells a repetition from an equal print; at equal times the later is the close."""
    world = World("1m")
    world.take(at(1, "50", seq=0), at(1, "51", seq=0), at(1, "50.5", seq=0))
    (bar,) = world.wait(70)
    assert ohlcv(bar) == (50, 51, 50, D("50.5"), 300, 3)


CONDITIONS = [
    ("", (1, 1, 1, 1), "none"),
    ("@ F", (1, 1, 1, 1), "regular, intermarket sweep"),
    ("@ I", (0, 0, 0, 1), "an odd lot counts for volume alone"),
    ("@ Z", (0, 1, 0, 1), "sold out of sequence is no open and no close"),
    ("@4", (0, 1, 0, 1), "derivatively priced likewise"),
    ("W", (0, 0, 0, 1), "average price"),
    ("M", (0, 0, 0, 0), "the official close is no trade"),
    ("9", (1, 1, 1, 0), "the corrected consolidated close has no volume"),
    ("@ ZI", (0, 0, 0, 1), "two conditions: what both let through"),
    ("T", (0, 0, 0, 1), "extended hours, reported in regular ones"),
    ("20000020", (1, 1, 1, 1), "bits: intermarket sweep, trade through exempt"),
    ("4000000", (0, 0, 0, 0), "bits: the official open"),
    ("20000200", (0, 1, 0, 1), "bits: derivatively priced"),
    ("80000000", (0, 0, 0, 1), "bits: an odd lot"),
]


@pytest.mark.parametrize(
    ("conditions", "sets"), [pytest.param(*r[:2], id=f"{r[0]} {r[2]}") for r in CONDITIONS]
)
def test_what_a_print_may_set(conditions: str, sets: tuple[int, ...]) -> None:
    """Open, high, close, volume, of a bar with an earlier and a later ordinary print."""
    world = World("1m")
    world.take(at(1, "90", conditions=conditions), at(2, "50"), at(3, "95", conditions=conditions))
    (bar,) = world.wait(70)
    found = bar.open == 90, bar.high == 95, bar.close == 95, bar.volume == 300
    assert tuple(int(one) for one in found) == sets


def test_extended_hours_prints_set_prices_before_the_open() -> None:
    """In bars of their own hours; the day's prices are those of regular hours, its volume all."""
    world = World("1m 1h 1d")
    world.take(at(-3_590, "40", seq=1, conditions="@ T"), at(10, "50"), at(20, "51"))
    world.take(trade_after_the_end())
    found = {frame: ohlcv(bar) for (_, frame, _), bar in world.newest().items()}
    assert [bar.open for bar in world.published if bar.frame == "1h"] == [40, 50]
    assert found["1d"] == (50, 51, 50, 51, 300, 3)


def trade_after_the_end() -> Trade:
    """Return a print of the next trading day."""
    return at(0, ts_event_ns=ns("2026-11-18T04:00:05"), seq=10**9)


def test_a_suspicious_print_counts_for_nothing() -> None:
    """The source's own mark."""
    world = World("1m")
    world.take(at(1, "50"), at(2, "500", suspicious=True))
    (bar,) = world.wait(70)
    assert ohlcv(bar) == (50, 50, 50, 50, 100, 1)


# --- corrections ------------------------------------------------------------------------------

HIGH = at(20, "60", seq=20_001)


def test_a_cancel_restates_what_the_print_had_made() -> None:
    """The high goes back to what the others make of it, in every frame."""
    world = World("1m 5m")
    world.take(at(10, "50"), HIGH, at(30, "51"), at(310))
    world.published.clear()
    world.take(at(20, "60", seq=90_001, correction_of=20_001, canceled=True))
    assert [(bar.frame, bar.rev, ohlcv(bar)) for bar in world.published] == [
        ("1m", 2, (50, 51, 50, 51, 200, 2)),
        ("5m", 2, (50, 51, 50, 51, 200, 2)),
    ]


def test_a_correction_stands_where_the_print_stood() -> None:
    """A corrected first print is the open; of several corrections the last one holds."""
    world = World("1m")
    first = at(0, "60", seq=1)
    world.take(first, at(0, "50", seq=2), at(310))
    world.take(at(0, "55", "10", seq=90_002, correction_of=90_001))
    world.take(at(0, "54", "10", seq=90_001, correction_of=1))
    (bar,) = (bar for bar in world.newest().values() if bar.ts_start_ns == OPEN_NS)
    assert ohlcv(bar) == (55, 55, 50, 50, 110, 2)


def test_a_bar_whose_only_print_is_canceled_says_so() -> None:
    """A revision without trades; who has the bar has to hear of it."""
    world = World("1m 5m")
    world.take(HIGH, at(310))
    world.published.clear()
    world.take(at(20, "60", seq=90_001, correction_of=20_001, canceled=True))
    assert [(bar.rev, ohlcv(bar)) for bar in world.published] == 2 * [
        (2, (None, None, None, None, 0, 0))
    ]


def test_a_cancel_that_comes_first_is_waited_for() -> None:
    """The print never counts, and nothing is published of it."""
    world = World("1m")
    world.take(at(20, "60", seq=90_001, correction_of=20_001, canceled=True), HIGH)
    assert world.wait(100) == []


# --- twice ------------------------------------------------------------------------------------


def test_a_redelivered_print_changes_nothing() -> None:
    """Even one that has no number."""
    world = World("1m")
    one = at(1, seq=0)
    world.take(one)
    world.take(one, redelivered=True)
    (bar,) = world.wait(70)
    assert bar.trades == 1


def test_a_worker_that_starts_publishes_the_last_minute_again() -> None:
    """Equal to what was published before: nobody knows whether it arrived."""
    world = World("1m")
    world.take(at(0), at(62))
    before = list(world.published)
    world.restart()
    assert world.wait(0.5) == before
    assert world.wait(0.5) == []


def test_rows_are_deleted_when_nothing_can_be_restated() -> None:
    """A day of prints leaves the rows of the last quarter of an hour, and of larger bars."""
    world = World()
    for minute in range(390):
        world.take(at(60 * minute), at(60 * minute + 30))
    prints = [key for key in world.state if "|p|" in key]
    minutes = [key for key in world.state if "|b|1m|" in key]
    assert (len(prints), len(minutes)) == (16, 19)
    assert len(world.state) < 60


def test_changed_frames_begin_anew() -> None:
    """Rows of the old frames go; the clock stays."""
    world = World("1m")
    world.take(at(0), at(62))
    world.frames = "5m"
    world.restart()
    world.take(at(70))
    assert {key.split("|")[1] for key in world.state if "|" in key} == {"p"}
    assert [bar.frame for bar in world.wait(300)] == ["5m"]


def test_the_bars_do_not_depend_on_where_a_worker_was_killed() -> None:
    """A restart after every print gives the bars of a worker that never stopped."""
    prints = [at(7 * number % 400 + number / 10, str(50 + number % 9)) for number in range(150)]
    through, killed = World("1s 1m 5m"), World("1s 1m 5m")
    through.take(*prints)
    for one in prints:
        killed.take(one)
        killed.restart()
    for world in (through, killed):
        world.wait(0)
        world.wait(900)
    assert through.newest().keys() == killed.newest().keys()
    assert {said(bar) for bar in through.newest().values()} == {
        said(bar) for bar in killed.newest().values()
    }


def test_the_clock_goes_on_from_the_newest_print_that_is_stored() -> None:
    """A symbol's own row is not stored with every print."""
    world = World("1m")
    world.take(at(0), at(62))
    world.take(at(65))
    world.restart()
    world.wait(0)
    assert [bar.rev for bar in world.wait(57)] == [1]


def test_what_changes_nothing_is_no_revision() -> None:
    """A late print that may set nothing."""
    world = World("1m 5m")
    world.take(at(0), at(310))
    assert world.take(at(5, "500", suspicious=True)) == []
