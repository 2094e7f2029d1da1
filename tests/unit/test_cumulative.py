"""Executions count once, by their ids and by the quantity that the order is filled to."""

import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.cumulative import MAX_SEEN, Covered, broken, count, fill_up

D = Decimal
Report = tuple[str, D, D, D]


def counted(*reports: tuple[str, str, str, str]) -> tuple[Covered, list[str]]:
    """Count executions of (id, quantity, price, cumulative); return how much of each was new."""
    covered, new = Covered(), []
    for exec_id, qty, px, cum in reports:
        covered, one = count(covered, exec_id, D(qty), D(px), D(cum))
        new.append(str(one))
    return covered, new


ROWS = [
    ([("a", "4", "50", "4"), ("b", "6", "51", "10")], ["4", "6"], "in order"),
    ([("b", "6", "51", "10"), ("a", "4", "50", "4")], ["6", "4"], "the later one came first"),
    ([("a", "4", "50", "4"), ("a", "4", "50", "4")], ["4", "0"], "twice, by its id"),
    ([("a", "4", "50", "4"), ("A", "4", "50", "4")], ["4", "0"], "twice, under another id"),
    ([("a", "4", "50", "4"), ("ab", "10", "50", "10")], ["4", "6"], "a part of it was here"),
    ([("b", "2", "50", "6"), ("abc", "10", "50", "10")], ["2", "8"], "its middle was here"),
    ([("a", "12", "50", "10")], ["10"], "more than the order was filled to"),
]


@pytest.mark.parametrize(("reports", "new", "reason"), ROWS)
def test_what_is_new(reports: list[tuple[str, str, str, str]], new: list[str], reason: str) -> None:
    """What an interval covers does not count again."""
    assert counted(*reports)[1] == new, reason


def test_a_report_fills_what_no_execution_covers() -> None:
    """At the price that makes the average right; the execution that follows counts nothing."""
    covered, _ = counted(("a", "4", "50", "4"))
    covered, gaps = fill_up(covered, D("10"), D("50.60"))
    assert [(str(gap.qty), str(gap.px), str(gap.cum)) for gap in gaps] == [
        ("6", "51.000000000", "10")
    ]
    covered, late = count(covered, "b", D("6"), D("51"), D("10"))
    assert (late, covered.qty) == (D(0), D(10))
    assert fill_up(covered, D("10"), D("50.60"))[1] == []


def test_a_report_fills_each_hole() -> None:
    """Below and above what is covered; an older report than what is known fills nothing."""
    covered, _ = counted(("b", "2", "50", "6"))
    covered, gaps = fill_up(covered, D("10"), D("50"))
    assert [(str(gap.qty), str(gap.cum)) for gap in gaps] == [("4", "4"), ("4", "10")]
    assert fill_up(covered, D("7"), D("50"))[1] == []


def test_a_report_without_a_price_counts_nothing() -> None:
    """Shares without a price are not booked."""
    assert fill_up(Covered(), D("10"), None) == (Covered(), [])


def test_after_a_bust_the_ids_alone_tell() -> None:
    """The cumulative numbers begin anew then; what was here before stays known."""
    covered, _ = counted(("a", "10", "50", "10"))
    covered = broken(covered)
    covered, new = count(covered, "b", D("10"), D("51"), D("10"))
    assert new == 10
    assert count(covered, "a", D("10"), D("50"), D("10")).qty == 0
    assert fill_up(covered, D("20"), D("50"))[1] == []


def test_ids_are_bounded() -> None:
    """The newest are known."""
    covered = Covered()
    for number in range(MAX_SEEN + 5):
        covered, _ = count(covered, str(number), D(1), D(50), D(number + 1))
    assert len(covered.seen) == MAX_SEEN
    assert len(covered.intervals) == 1


QTY = st.integers(min_value=1, max_value=10**12).map(lambda units: D(units).scaleb(-9))
PX = st.integers(min_value=1, max_value=10**6).map(lambda cents: D(cents).scaleb(-2))


@given(
    executions=st.lists(st.tuples(QTY, PX), min_size=1, max_size=8),
    seed=st.integers(0, 10**6),
    polls=st.lists(st.integers(0, 7), max_size=4),
)
def test_every_mix_of_stream_and_poll_adds_up_to_the_same(
    executions: list[tuple[D, D]], seed: int, polls: list[int]
) -> None:
    """Shuffled, twice, under a second id, merged by the broker, and polled in between."""
    stream: list[Report] = []
    averages: list[tuple[D, D]] = []
    cum = value = D(0)
    for number, (qty, px) in enumerate(executions):
        cum, value = cum + qty, value + qty * px
        stream.append((f"e{number}", qty, px, cum))
        averages.append((cum, value / cum))
    chance = random.Random(seed)
    told: list[Report | int] = [*stream, *stream, *(p % len(executions) for p in polls)]
    told += [(f"other-{one[0]}", *one[1:]) for one in stream]
    told += [("whole", cum, D(1), cum)] if chance.random() < 0.5 else []
    chance.shuffle(told)
    covered, total = Covered(), D(0)
    for one in told:
        if isinstance(one, int):
            covered, gaps = fill_up(covered, *averages[one])
            total += sum((gap.qty for gap in gaps), D(0))
        else:
            covered, new = count(covered, *one)
            total += new
    assert total == cum
    assert covered.qty == cum
    assert [(one.low, one.high) for one in covered.intervals] == [(D(0), cum)]
