"""What the demo sends: ticks at their moved times, orders near the prices of their moment."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice

import pytest

from streams.demo.plan import (
    CHUNK,
    PREROLL_NS,
    Tape,
    accounts_of,
    fitting_accounts,
    planned_orders,
    run_name,
    shift_to,
)
from streams.domain.ticks import Tick, shifted
from streams.load import LoadRecord
from tests.builders import NOW_NS, SECOND, quote, trade

PRICES = {"AIG": Decimal("49.05"), "BAC": Decimal("13.91")}


def tick(second: int, price: str = "50.00", symbol: str = "AIG", **fields: object) -> Tick:
    """Return a trade so many seconds after the first one."""
    return trade(symbol, price, ts_event_ns=NOW_NS + second * SECOND, **fields)


def load(seed: int = 7, orders: int = 700, rate: float = 100.0) -> list[LoadRecord]:
    """Return a load of two accounts at constant prices."""
    return list(planned_orders(seed, orders, ("A1", "A2"), rate, lambda _: PRICES))


def test_each_tick_is_taken_once_when_its_time_has_come() -> None:
    """Bounds are inclusive, and what has been looked at is still there to take."""
    tape = Tape([tick(0), tick(1), tick(1), tick(3)])
    assert tape.first_ns == NOW_NS
    assert tape.prices(NOW_NS + 9 * SECOND)
    taken = [len(tape.take(NOW_NS + second * SECOND)) for second in (-1, 0, 1, 2, 3, 4)]
    assert taken == [0, 1, 2, 0, 1, 0]
    assert tape.ended


def test_a_tape_is_read_only_as_far_as_asked() -> None:
    """Ten minutes of ticks are not decoded before the first order can go out."""
    read: list[int] = []

    def source() -> Iterator[Tick]:
        for second in range(100):
            read.append(second)
            yield tick(second)

    tape = Tape(source())
    tape.take(NOW_NS + 4 * SECOND)
    assert read == [0, 1, 2, 3, 4, 5]
    assert not tape.ended


def test_prices_are_the_last_trades_of_each_symbol() -> None:
    """Taken or not; quotes and prints marked by their source count for nothing."""
    tape = Tape(
        [
            tick(0, "50.00"),
            tick(1, "14.00", "BAC"),
            tick(2, "51.00"),
            tick(3, "99.00", suspicious=True),
            quote(bid="70.00", ask="71.00", ts_event_ns=NOW_NS + 4 * SECOND),
            tick(5, "52.00"),
        ]
    )
    expected = (
        (0, {"AIG": "50.00"}),  # BAC has not traded yet
        (1, {"AIG": "50.00", "BAC": "14.00"}),
        (4, {"AIG": "51.00", "BAC": "14.00"}),
        (9, {"AIG": "52.00", "BAC": "14.00"}),  # after the end the last ones hold
    )
    for second, prices in expected:
        tape.take(NOW_NS + (second - 1) * SECOND)
        found = tape.prices(NOW_NS + second * SECOND)
        assert found == {symbol: Decimal(price) for symbol, price in prices.items()}


def test_the_shift_puts_the_first_seconds_before_now() -> None:
    """The first tick is as old as the pre-roll is long, at any hour of any day."""
    for now_ns in (NOW_NS, NOW_NS + 13 * 3_600 * SECOND + 1):
        first = tick(0)
        moved = shifted(first, shift_to(first.ts_event_ns, now_ns))
        assert now_ns - moved.ts_event_ns == PREROLL_NS


def test_a_load_has_as_many_new_orders_as_asked() -> None:
    """Changes, repetitions and garbage come on top; the last record is a new order."""
    for orders in (1, 300, 700):
        records = load(orders=orders)
        assert sum(record.expected.new_order for record in records) == orders
        assert records[-1].expected.new_order
    ids = [r.expected.order_id for r in load() if r.expected.new_order]
    assert len(ids) == len(set(ids))


def test_a_seed_gives_the_same_load_and_another_seed_other_ids() -> None:
    """The mix is a function of the seed and the prices."""
    assert load(7) == load(7)
    assert not {r.expected.order_id for r in load(7) if r.expected.order_id} & {
        r.expected.order_id for r in load(8)
    }


def test_each_chunk_is_made_of_the_prices_of_its_moment() -> None:
    """Prices are asked for when a chunk is due, seconds after the first order."""
    asked: list[float] = []

    def prices(after_s: float) -> dict[str, Decimal]:
        asked.append(after_s)
        return PRICES

    count = sum(1 for _ in islice(planned_orders(7, 10_000, ("A1",), 250.0, prices), 2 * CHUNK + 1))
    assert count == 2 * CHUNK + 1
    assert asked == [0.0, CHUNK / 250, 2 * CHUNK / 250]


def test_a_run_has_accounts_of_its_own() -> None:
    """Names follow from the start time, numbers are of equal width."""
    run = run_name(NOW_NS)
    assert run == "demo-261118-153000"
    assert run_name(NOW_NS + SECOND) != run
    assert accounts_of(run, 10)[::9] == (f"{run}-01", f"{run}-10")


@pytest.mark.parametrize(
    ("orders", "accounts"),
    [(1, 4), (20, 4), (2_000, 400), (1_000_000, 1_000)],  # never fewer, never more
)
def test_accounts_grow_with_the_orders(orders: int, accounts: int) -> None:
    """So that orders are not mostly refused for meeting the account's own."""
    assert fitting_accounts(orders) == accounts
