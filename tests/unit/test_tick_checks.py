"""Checks of ticks: what each reason is given for, and what is remembered."""

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.dev.reference import ROOT
from streams.domain.conditions import is_known
from streams.domain.matching.book import Book
from streams.domain.matching.config import VenueConfig
from streams.domain.tick_checks import NOTED, SAYS, SECOND_NS, TickChecks, TickLimits
from streams.models.market import Quote, TickReason, Trade
from tests.builders import NOW_NS, quote, trade

R = TickReason
MS = 1_000_000


def checks(**limits: Any) -> TickChecks:
    """Return checks that have seen nothing."""
    return TickChecks(TickLimits(**limits))


def later(ms: int) -> dict[str, Any]:
    """Return a time so many milliseconds after the first tick, and a number to go with it."""
    return {"ts_event_ns": NOW_NS + ms * MS, "seq": max(ms, 0) + 100}


def one_sided(**fields: Any) -> Quote:
    """Return a quote of the sides that are given."""
    return Quote.model_validate({"symbol": "AIG", "ts_event_ns": NOW_NS} | fields)


PRINTS: list[tuple[dict[str, Any], TickReason | None, str]] = [
    (later(1), None, "a plain one"),
    (later(1) | {"price": "0"}, R.PRICE, "no price"),
    (later(1) | {"price": "-1"}, R.PRICE, "below zero"),
    (later(1) | {"price": "1000000000"}, R.PRICE, "absurd"),
    (later(1) | {"size": "0"}, R.SIZE, "no size"),
    (later(1) | {"size": "-5"}, R.SIZE, "below zero"),
    (later(1) | {"suspicious": True}, R.MARKED, "the source's mark"),
    (later(1) | {"price": "55.00"}, None, "exactly the limit away"),
    (later(1) | {"price": "55.01"}, R.FAR_OFF, "beyond the limit"),
    (later(1) | {"price": "44.99"}, R.FAR_OFF, "beyond it on the other side"),
    ({"seq": 100}, R.DUPLICATE, "the same number at the same time"),
    (later(-1) | {"seq": 99}, R.DUPLICATE, "a number that has passed"),
    (later(-1) | {"seq": 101}, R.OUT_OF_ORDER, "a new number, too old"),
    (later(-5_000) | {"seq": 101}, R.OUT_OF_ORDER, "as old as it may be"),
    (later(-5_001) | {"seq": 101}, R.STALE, "older than that"),
    (later(-5_001) | {"seq": 0}, R.STALE, "the source does not number"),
    ({"seq": 100, "correction_of": 9}, None, "a correction is no repetition"),
    (later(-5_001) | {"correction_of": 9, "price": "90"}, None, "of an old and far print"),
    (later(-5_001) | {"correction_of": 9, "canceled": True}, None, "a cancel of an old one"),
    ({"seq": 0}, None, "nor does this one, and the time is equal"),
    (later(1) | {"conditions": "12,37"}, None, "known conditions"),
    (later(1) | {"conditions": "what?"}, R.UNKNOWN_CONDITION, "unknown ones are noted"),
]


@pytest.mark.parametrize(("fields", "reason", "why"), PRINTS, ids=[row[2] for row in PRINTS])
def test_a_print_after_one_at_50(
    fields: dict[str, Any], reason: TickReason | None, why: str
) -> None:
    """The first print is at 50.00 and has the number 100."""
    found = checks()
    assert found.trade(trade(seq=100)) is None
    assert found.trade(trade(**fields)) is reason


QUOTES: list[tuple[Quote, TickReason | None, str]] = [
    (quote(), None, "a plain one"),
    (quote(bid="50.01"), R.LOCKED, "bid equals ask"),
    (quote(bid="50.02"), R.CROSSED, "bid above ask"),
    (one_sided(bid="50.02", bid_size="1"), R.OUTDATED_SIDE, "crosses the ask that stands"),
    (one_sided(ask="49.98", ask_size="1"), R.OUTDATED_SIDE, "crosses the bid that stands"),
    (one_sided(ask="49.99", ask_size="1"), R.LOCKED, "meets the bid that stands"),
    (quote(bid="-1"), R.PRICE, "below zero"),
    (quote(bid="0"), R.PRICE, "a size without a price"),
    (one_sided(bid="0", bid_size="0"), None, "nothing is bid"),
    (one_sided(bid="49"), R.SIZE, "no size"),
    (quote(bid_size="-1"), R.SIZE, "below zero"),
    (quote(ask_size="0"), R.SIZE, "nothing behind the price"),
    (quote(ts_event_ns=NOW_NS - 1), R.OUT_OF_ORDER, "older than the newest"),
    (quote(ts_event_ns=NOW_NS - 6 * SECOND_NS), R.STALE, "much older"),
]


@pytest.mark.parametrize(("row", "reason", "why"), QUOTES, ids=[row[2] for row in QUOTES])
def test_a_quote_after_one_of_49_99_to_50_01(
    row: Quote, reason: TickReason | None, why: str
) -> None:
    """Both sides stand before; the row may bring one side or both."""
    found = checks()
    assert found.quote(quote()) is None
    assert found.quote(row) is reason


def test_an_outdated_side_is_gone_until_its_next_row() -> None:
    """A second row above the old ask crosses nothing any more."""
    found = checks()
    found.quote(quote())
    assert found.quote(one_sided(bid="50.02", bid_size="1")) is R.OUTDATED_SIDE
    assert found.quote(one_sided(bid="50.03", bid_size="1")) is None
    assert found.quote(one_sided(ask="50.03", ask_size="1")) is R.LOCKED
    assert found.quote(one_sided(ask="49.90", ask_size="1")) is R.OUTDATED_SIDE
    assert found.quote(one_sided(ask="49.80", ask_size="1")) is None


@pytest.mark.parametrize("fields", [{"correction_of": 9}, {"correction_of": 9, "canceled": True}])
def test_a_correction_or_cancel_is_no_print_of_now(fields: dict[str, Any]) -> None:
    """A book takes it for no price, and what came before it in time is still not late."""
    found, book = checks(), Book(VenueConfig())
    assert book.trade(trade(seq=100))
    restated = trade(price="70", **(later(60_000) | fields))
    assert found.trade(restated) is None
    assert found.newest_trade == (0, 0)
    assert (book.trade(restated), book.finding) == (False, None)
    assert (book.last.px, book.print_seq) == (Decimal(50), 100)
    assert book.trade(trade(price="50.10", **later(1)))


def test_prints_and_quotes_are_told_apart() -> None:
    """An old print is not late because a quote is newer: they are different topics."""
    found = checks()
    assert found.quote(quote(**later(60_000))) is None
    assert found.trade(trade()) is None


def test_three_far_prints_that_agree_move_the_reference() -> None:
    """The third is taken, and the old price is then the far one."""
    found = checks()
    prices = ["50", "60", "61", "60.5", "60", "50"]
    reasons = [found.trade(trade(price=p, **later(n))) for n, p in enumerate(prices)]
    assert reasons == [None, R.FAR_OFF, R.FAR_OFF, None, None, R.FAR_OFF]


def test_far_prints_that_do_not_agree_never_do() -> None:
    """Nor do those with a good print between them."""
    found = checks()
    prices = ["50", "60", "90", "60", "90", "10", "60", "61", "50", "60"]
    reasons = [found.trade(trade(price=p, **later(n))) for n, p in enumerate(prices)]
    assert [r for p, r in zip(prices, reasons, strict=True) if p != "50"] == [R.FAR_OFF] * 8


def test_an_old_reference_counts_no_more() -> None:
    """After a quarter of an hour without prints the next one is taken, whatever it says."""
    found = checks()
    found.trade(trade())
    assert found.trade(trade(price="80", **later(900_001))) is None


def test_what_a_book_keeps_is_what_its_checks_go_on_from() -> None:
    """A far print, a late one and a crossing row are found after a restart as before it."""
    config = VenueConfig()
    book = Book(config)
    book.trade(trade(seq=7))
    book.quote(quote(seq=7))
    again = Book(config, book.record("AIG", NOW_NS, 0, 0))
    for tick, reason in [
        (trade(price="60", **later(1)), R.FAR_OFF),
        (trade(seq=7), R.DUPLICATE),
        (one_sided(bid="50.02", bid_size="1", **later(1)), R.OUTDATED_SIDE),
    ]:
        again.trade(tick) if isinstance(tick, Trade) else again.quote(tick)
        assert again.finding is reason


@given(
    st.lists(
        st.builds(
            lambda ms, price, size, seq: trade(
                ts_event_ns=NOW_NS + ms * MS, price=Decimal(price), size=Decimal(size), seq=seq
            ),
            st.integers(0, 10_000),
            st.integers(-10, 200),
            st.integers(-1, 3),
            st.integers(0, 20),
        ),
        max_size=40,
    )
)
def test_what_is_taken_is_in_order_and_possible(prints: list[Trade]) -> None:
    """Whatever comes, taken prints have prices and sizes above zero and times that never fall."""
    found = checks()
    taken = [one for one in prints if found.trade(one) in {None, *NOTED}]
    times = [one.ts_event_ns for one in taken]
    assert times == sorted(times)
    assert all(one.price > 0 and one.size > 0 for one in taken)


@pytest.mark.parametrize(
    ("conditions", "known"),
    [
        ("", True),
        ("@ TI", True),  # as a tape writes them
        ("@,I", True),  # as a list of them
        ("37", True),
        ("12,37", True),
        ("20000020", True),  # trade-through exempt, intermarket sweep
        ("80000000", True),  # odd lot
        ("40000000", False),  # undocumented by the source itself
        ("J", False),
        ("é", False),
        ("late report", False),
    ],
)
def test_conditions_of_three_notations(conditions: str, known: bool) -> None:
    """What none of them reads is unknown, and named in the sample of its count."""
    assert is_known(conditions) is known


def test_every_reason_is_said() -> None:
    """In words for people, and in the docs with what it does."""
    assert set(SAYS) == set(TickReason)
    text = (ROOT / "docs" / "market.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| (yes|no) \|", text, re.MULTILINE))
    assert listed == {one.value: "no" if one in NOTED else "yes" for one in TickReason}
