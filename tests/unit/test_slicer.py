"""The slicer agent: what it sends when, how parents follow from their children."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import TypeAdapter

from agents.slicer import Slicer
from streams.models.orders import Cancel
from streams.topics import ORDERS_EVENTS, SLICES_REQUESTED
from streams.transport.codec import encode
from tables.slices import SLICES
from tests.builders import NOW_NS, SECOND, event, fill, record
from tests.unit.allocating_world import instruments, said, submits
from tests.unit.slicing_world import Slicing, pov, stop, twap


def test_a_twap_sends_equal_slices_and_ends_filled() -> None:
    """One each minute under the spawn rule; the parent's sums are its children's."""
    world = Slicing()
    world.ask(twap())
    for number in range(1, 11):
        assert submits(world.commands) == [(f"p1-E{number}", "buy", 10)]
        world.run()
        world.tick()
        assert world.commands == []  # not before its time
        world.pass_s(60)
    assert world.sums() == ("filled", 100, 100, 0)
    assert (world.parent.children, world.parent.avg_px, world.position) == (10, 50, 100)


def test_what_a_slice_leaves_is_in_the_next_one() -> None:
    """At its end the open child is canceled; its rest goes out with the next slice."""
    world = Slicing()
    world.ask(twap(limit_price="50"))
    world.gate()
    world.fill("p1-E1", 4)
    world.through()
    assert world.sums() == ("working", 10, 4, 96)
    world.pass_s(60)
    assert [type(one) for one in world.commands] == [Cancel]
    world.through()
    assert submits(world.known.values())[-1] == ("p1-E2", "buy", 16)
    assert world.sums() == ("working", 20, 4, 96)


def test_slices_are_rounded_cumulatively() -> None:
    """100 in three slices of lots of seven and one: they add up."""
    world = Slicing()
    world.ask(twap(end_ns=NOW_NS + 180 * SECOND))
    for _ in range(3):
        world.run()
        world.pass_s(60)
    assert [qty for _, _, qty in submits(world.known.values())] == [33, 33, 34]
    lots = Slicing(instruments(AIG="7"))
    lots.ask(twap(qty="70", end_ns=NOW_NS + 180 * SECOND))
    for _ in range(3):
        lots.run()
        lots.pass_s(60)
    assert [qty for _, _, qty in submits(lots.known.values())] == [21, 21, 28]


def test_at_the_end_what_is_open_is_canceled() -> None:
    """The parent is expired; missed slices were caught up before."""
    world = Slicing()
    world.ask(twap(limit_price="50"))
    world.through()
    world.pass_s(300)
    world.through()
    assert submits(world.known.values())[-1] == ("p1-E2", "buy", 60)
    world.pass_s(300)
    assert world.parent.status == "working"
    world.through()
    assert world.sums() == ("expired", 0, 0, 0)
    world.pass_s(60)
    assert world.commands == []


def test_it_begins_when_it_is_told_to() -> None:
    """Pending until then; canceled before, nothing was sent."""
    world = Slicing()
    world.ask(twap(start_ns=NOW_NS + 60 * SECOND))
    world.pass_s(59)
    assert (world.parent.status, world.commands) == ("pending", [])
    world.pass_s(1)
    assert (world.parent.status, len(world.commands)) == ("working", 1)
    early = Slicing()
    early.ask(twap(start_ns=NOW_NS + 60 * SECOND), stop())
    assert (early.parent.status, early.commands) == ("canceled", [])


def test_a_cancel_ends_with_what_was_filled() -> None:
    """The open child is canceled, nothing more is sent; a second cancel changes nothing."""
    world = Slicing()
    world.ask(twap(limit_price="50"))
    world.gate()
    world.fill("p1-E1", 4)
    world.through()
    world.ask(stop())
    assert world.parent.status == "working"
    world.through()
    assert world.sums() == ("canceled", 4, 4, 0)
    count = len(world.updates)
    world.ask(stop())
    world.pass_s(60)
    assert (len(world.updates), world.commands, world.letters) == (count, [], [])


def test_a_share_of_the_volume() -> None:
    """A tenth of what trades from the start on, at most every five seconds, at most the whole."""
    world = Slicing()
    world.trades(5_000)
    world.ask(pov())
    assert world.commands == []  # what was before does not count
    world.trades(5_155)
    assert submits(world.commands) == [("p1-E1", "buy", 15)]
    world.run()
    world.trades(5_300)
    assert world.commands == []
    world.pass_s(5)
    assert submits(world.commands) == [("p1-E2", "buy", 15)]
    world.run()
    world.now_ns += 5 * SECOND
    world.trades(900_000)
    assert submits(world.commands) == [("p1-E3", "buy", 70)]
    world.run()
    assert world.sums() == ("filled", 100, 100, 0)
    assert world.parent.market_volume == 895_000


def test_volumes_of_two_countings_are_not_compared() -> None:
    """A worker that starts counts anew: what printed in between is lost, nothing is made up."""
    world = Slicing()
    world.trades(5_000)
    world.ask(pov())
    world.trades(5_050)
    world.run()
    world.now_ns += 5 * SECOND
    world.trades(800, since_ns=2)
    assert world.commands == []
    world.trades(900, since_ns=2)
    assert submits(world.commands) == [("p1-E2", "buy", 10)]
    world.run()
    assert world.parent.market_volume == 150


def test_little_is_saved_up() -> None:
    """Less than `min_slice_qty` waits, unless it is the last of it."""
    world = Slicing()
    world.trades(0)
    world.ask(pov(min_slice_qty="30"))
    world.trades(299)
    assert world.commands == []
    world.trades(800)
    world.run()
    world.now_ns += 5 * SECOND
    world.trades(2_000)
    assert submits(world.commands) == [("p1-E2", "buy", 20)]


def test_an_open_share_gives_way_to_a_larger_one() -> None:
    """A limit child that rests is canceled when more is due, and goes out with it."""
    world = Slicing()
    world.trades(0)
    world.ask(pov(limit_price="50"))
    world.trades(100)
    world.through()
    world.pass_s(10)
    assert world.commands == []  # nothing more is due
    world.trades(250)
    assert [type(one) for one in world.commands] == [Cancel]
    world.through()
    assert submits(world.known.values())[-1] == ("p1-E2", "buy", 25)


def test_refusals_in_a_row_reject_the_parent() -> None:
    """Each gives its quantity back; the third one ends it, with the reason."""
    world = Slicing(refuse=frozenset({"AIG"}))
    world.ask(twap())
    for number in range(1, 4):
        world.through()
        assert world.parent.sent_qty == 0
        if number < 3:
            assert world.parent.status == "working"
        world.pass_s(60)
    assert submits(world.known.values())[-1] == ("p1-E3", "buy", 30)
    assert world.parent.status == "rejected"
    assert world.parent.text == "p1-E3: UNKNOWN_SYMBOL: no such symbol"
    assert world.commands == []


def test_a_child_that_is_taken_begins_the_count_anew() -> None:
    """Two refusals, a fill, two refusals: it goes on."""
    world = Slicing()
    world.ask(twap())
    for number in range(5):
        world.refuse = frozenset() if number == 2 else frozenset({"AIG"})
        world.run()
        world.pass_s(60)
    assert world.parent.status == "working"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"end_ns": NOW_NS}, "end_ns is not after the start"),
        ({"qty": "10.5"}, "qty 10.5 is no multiple of the lot 1"),
    ],
)
def test_what_cannot_be_sliced_is_rejected(fields: dict[str, Any], text: str) -> None:
    """At once, with the reason."""
    world = Slicing()
    world.ask(twap(**fields))
    assert (world.parent.status, world.parent.text, world.commands) == ("rejected", text, [])


def test_an_id_means_one_thing() -> None:
    """Repeated it changes nothing; with other content it is set aside, as is a cancel of none."""
    world = Slicing()
    world.ask(twap())
    kept, count = dict(world.state), len(world.commands)
    world.ask(twap(qty="100.0", ts_event_ns=5))
    assert (world.state, len(world.commands), world.letters) == (kept, count, [])
    world.ask(twap(qty="101"), stop(parent_id="p9"))
    assert (world.state, world.letters) == (kept, ["SLICES_CONFLICT", "UNKNOWN_SLICES"])


def test_events_count_once_and_late_ones_too() -> None:
    """A bust of a child that is over takes its shares back; the status of the parent stays."""
    world = Slicing()
    world.ask(twap(end_ns=NOW_NS + 60 * SECOND))
    world.run()
    for one in list(world.told):
        world.hear(one)
    assert world.sums() == ("filled", 100, 100, 0)
    bust = fill("b1", "100", ref_exec_id="p1-E1:1")
    world.hear(said(world.known["p1-E1"], "fill_busted", fill=bust))
    assert world.sums() == ("filled", 0, 0, 0)


def test_a_redelivered_record_says_the_same_and_changes_nothing() -> None:
    """Commands that the gate may not have heard, and the newest update."""
    world = Slicing()
    request = world.record(twap(), SLICES_REQUESTED)
    first = world.give(request)
    kept = dict(world.state)
    again = world.give(world.record(request.value, SLICES_REQUESTED, again=True))
    assert (again.emitted, world.state) == (first.emitted, kept)
    world.gate()
    world.fill("p1-E1", 4)
    world.deliver()
    told = world.events[0]
    before = world.hear(told)
    kept = dict(world.state)
    after = world.give(world.record(told, ORDERS_EVENTS, again=True))
    assert (after.emitted, world.state) == (before.emitted, kept)


def test_a_worker_that_starts_goes_on() -> None:
    """It tells again what the gate may not have; the next slice comes in time."""
    world = Slicing()
    world.ask(twap())
    world.commands.clear()
    world.start()
    world.tick()
    assert submits(world.commands) == [("p1-E1", "buy", 10)]
    world.run()
    world.start()
    world.pass_s(60)
    assert submits(world.commands) == [("p1-E2", "buy", 10)]


def test_a_record_out_of_place_is_set_aside() -> None:
    """Its account's events would come elsewhere."""
    world = Slicing()
    world.give(record(twap(), SLICES_REQUESTED, key=b"A2"))
    assert (world.state, world.letters) == ({}, ["KEY_MISMATCH"])


def test_other_orders_do_not_matter() -> None:
    """Not even where an id looks like a child's."""
    world = Slicing()
    world.hear(event("accepted"), event("fill", order_id="x-E1", fill=fill("e1")))
    assert (world.state, world.updates) == ({}, [])


def test_rows_survive_the_table_and_needs_finds_live_parents() -> None:
    """Written as JSON without empty fields and read again, every row is the same."""
    world = Slicing()
    world.trades(7)
    world.ask(twap(parent_id="p2", end_ns=NOW_NS), pov(), twap(parent_id="p3"))
    world.gate()
    world.deliver()
    adapter: TypeAdapter[Any] = SLICES.adapter()
    for row in world.state.values():
        assert adapter.validate_json(adapter.dump_json(row, exclude_none=True)) == row
        assert (Slicer.needs in encode(row)) == bool(getattr(row, "live", False))


def test_what_is_over_leaves_after_a_week_and_its_id_stays() -> None:
    """With its children."""
    world = Slicing()
    world.ask(twap(end_ns=NOW_NS + 60 * SECOND))
    world.run()
    for _ in range(3):
        world.pass_s(8 * 86_400)
    assert {row.kind for row in world.state.values()} == {"gone", "leaving"}
    world.ask(twap(end_ns=NOW_NS + 60 * SECOND), twap(qty="7"), stop())
    assert world.letters == ["SLICES_CONFLICT"]
    assert Decimal(100) == world.position
