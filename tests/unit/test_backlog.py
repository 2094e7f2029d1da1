"""What was fetched and waits: in order, nothing twice, bounded by what is taken."""

from types import SimpleNamespace
from typing import Any

from faust.types import TP

from streams.transport.backlog import Backlog

ONE, TWO = TP("orders", 0), TP("orders", 1)


def fetched(*offsets: int) -> list[Any]:
    """Return records of ten bytes each."""
    return [SimpleNamespace(offset=offset, key=b"k" * 4, value=b"v" * 6) for offset in offsets]


def offsets(records: list[Any]) -> list[int]:
    """Return where records lie."""
    return [record.offset for record in records]


def test_fetches_are_joined_and_taken_in_order() -> None:
    """Three fetches, two deliveries."""
    backlog = Backlog()
    for first in (0, 2, 4):
        backlog.add(ONE, fetched(first, first + 1), 0)
    assert offsets(backlog.take(ONE, 5)) == [0, 1, 2, 3, 4]
    assert (offsets(backlog.take(ONE, 5)), backlog.take(ONE, 5)) == ([5], [])


def test_what_is_below_the_due_offset_or_came_before_is_left_out() -> None:
    """A fetch may begin below the position, and may bring again what waits already."""
    backlog = Backlog()
    backlog.add(ONE, fetched(3, 4, 5), 4)
    backlog.add(ONE, fetched(4, 5, 6), 4)
    assert offsets(backlog.take(ONE, 10)) == [4, 5, 6]


def test_offsets_that_do_not_exist_are_no_gap() -> None:
    """Compaction and markers leave holes."""
    backlog = Backlog()
    backlog.add(ONE, fetched(3, 9), 0)
    backlog.add(ONE, fetched(20), 10)
    assert offsets(backlog.take(ONE, 10)) == [3, 9, 20]


def test_it_knows_what_waits_and_how_much() -> None:
    """By partition; nothing is left of one that was taken or dropped."""
    backlog = Backlog()
    backlog.add(ONE, fetched(0, 1, 2), 0)
    backlog.add(TWO, fetched(7), 0)
    assert (backlog.waiting(), backlog.bytes_of(ONE)) == ([ONE, TWO], 30)
    backlog.take(ONE, 2)
    assert backlog.bytes_of(ONE) == 10
    backlog.take(ONE, 2)
    assert (backlog.waiting(), backlog.bytes_of(ONE)) == ([TWO], 0)
    backlog.clear()
    assert (backlog.waiting(), backlog.bytes_of(TWO), backlog.take(TWO, 1)) == ([], 0, [])
