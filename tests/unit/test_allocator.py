"""The allocator agent: targets become orders, are followed, replaced, divided and told again."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import TypeAdapter

from agents.allocator import Allocator
from streams.domain.allocating.goals import MAX_SHOWN, allocation_from, allocation_of, child_id
from streams.models.orders import Cancel
from streams.topics import ALLOCATIONS_REQUESTED, MAX_RECORD_BYTES, ORDERS_EVENTS, STRATEGIES_FILLS
from streams.transport.codec import encode
from tables.allocations import ALLOCATOR
from tests.builders import event, fill, record
from tests.fakes import MemoryUnit
from tests.unit.allocating_world import World, instruments, said, states, stop, submits, targets


def test_targets_become_orders_and_are_done_when_filled() -> None:
    """A purchase and a short sale; each change of a fill is told."""
    world = World()
    world.ask(targets(targets={"AIG": "100", "IBM": "-50"}))
    assert submits(world.commands) == [("al:t1:AIG:1", "buy", 100), ("al:t1:IBM:1", "sell", 50)]
    assert world.last().status == "working"
    world.gate()
    world.gate()
    world.fill("al:t1:AIG:1", 40)
    while world.events:
        world.deliver()
    (aig, ibm) = world.last().order_fill
    assert (aig.position_qty, aig.open_qty, ibm.open_qty) == (40, 60, -50)
    world.run()
    assert world.last().status == "done"
    assert states(world.last()) == {"AIG": ("done", 100), "IBM": ("done", -50)}
    assert [one.version for one in world.updates] == list(range(1, len(world.updates) + 1))


def test_only_the_difference_is_traded() -> None:
    """Held are 30 of somebody's order; the target is 100, then -20 in one order over zero."""
    world = World()
    world.hear(event("fill", fill=fill("e1", "30")))
    world.ask(targets())
    assert submits(world.commands) == [("al:t1:AIG:1", "buy", 70)]
    world.run()
    world.ask(targets(allocation_id="t2", targets={"AIG": "-20"}))
    assert submits(world.commands) == [("al:t2:AIG:1", "sell", 120)]


def test_what_is_reached_sends_nothing() -> None:
    """Done at once."""
    world = World()
    world.hear(event("fill", fill=fill("e1", "100")))
    world.ask(targets())
    assert (world.commands, world.last().status) == ([], "done")


def test_less_than_a_lot_is_not_traded() -> None:
    """Toward zero: of 250 in lots of 100 there are 200, and of 99 nothing."""
    world = World(instruments(AIG="100", IBM="100"))
    world.ask(targets(targets={"AIG": "250", "IBM": "-99"}))
    assert submits(world.commands) == [("al:t1:AIG:1", "buy", 200)]
    world.run()
    assert states(world.last()) == {"AIG": ("done", 200), "IBM": ("done", 0)}


def test_a_strategy_has_its_own_position() -> None:
    """What others of the account hold is not its; its orders carry its name."""
    world = World()
    world.hear(event("fill", fill=fill("e1", "30")))
    unit = world.hear(event("fill", order_id="s", strategy="mean", fill=fill("e2", "5")))
    assert [one.event_id for one in unit.values(STRATEGIES_FILLS)] == ["s:fill::e2"]
    assert [(one.key, one.topic) for one in unit.emitted] == [("AIG", STRATEGIES_FILLS.name)]
    world.ask(targets(strategy="mean"))
    assert submits(world.commands) == [("al:t1:AIG:1", "buy", 95)]
    assert world.commands[0].strategy == "mean"  # type: ignore[union-attr]


def test_a_bust_goes_to_the_strategy_of_its_order() -> None:
    """Also where the event does not name it; a repetition is not passed on."""
    world = World()
    world.hear(event("fill", strategy="mean", fill=fill("e1", "5")))
    bust = event("fill_busted", fill=fill("b1", "5", ref_exec_id="e1"))
    told = world.hear(bust, bust).values(STRATEGIES_FILLS)
    assert [(one.event, one.strategy) for one in told] == [("fill_busted", "mean")]
    world.ask(targets(strategy="mean"))
    assert world.last().order_fill[0].start_qty == 0


def test_a_new_target_waits_for_the_end_of_the_old_child() -> None:
    """The child is canceled; a fill that crossed the cancel counts; then the rest goes out."""
    world = World()
    world.ask(targets())
    world.gate()
    world.deliver()
    world.ask(targets(allocation_id="t2", targets={"AIG": "50"}))
    assert [type(one) for one in world.commands] == [Cancel]
    assert (world.last().status, world.last("t2").status) == ("replaced", "working")
    world.fill("al:t1:AIG:1", 20)
    world.deliver()
    assert len(world.commands) == 1  # it may still fill
    world.gate()
    world.deliver()
    assert world.commands == []  # the venue has not come to it
    world.cancel()
    world.deliver()
    assert submits(world.commands) == [("al:t2:AIG:1", "buy", 30)]
    world.run()
    assert states(world.last("t2")) == {"AIG": ("done", 50)}


def test_a_fill_after_the_end_of_a_child_is_made_good() -> None:
    """Nobody can foresee it; the child that is open by then would lead too far, and gives way."""
    world = World()
    world.ask(targets())
    world.gate()
    world.end("al:t1:AIG:1", "expired")
    while world.events:
        world.deliver()
    world.gate()
    late = fill("late", "20", cum_qty="20")
    world.hear(said(world.known["al:t1:AIG:1"], "fill", fill=late))
    world.position += 20
    assert [type(one) for one in world.commands] == [Cancel]
    world.gate()
    world.cancel()
    world.run()
    assert submits(world.known.values())[-1] == ("al:t1:AIG:3", "buy", 80)
    assert (world.position, states(world.last())) == (100, {"AIG": ("done", 100)})


def test_a_fill_of_another_order_corrects_the_way() -> None:
    """The account's position is the measure: the child that would lead too far is replaced."""
    world = World()
    world.ask(targets())
    world.gate()
    world.deliver()
    world.hear(event("fill", order_id="mine", fill=fill("x", "30")))
    world.position += 30
    world.run()
    assert submits(world.known.values())[-1] == ("al:t1:AIG:2", "buy", 70)
    assert (world.position, world.last().status) == (100, "done")


def test_a_refusal_ends_the_symbol_alone() -> None:
    """With code and text; the other symbol goes on."""
    world = World(refuse=frozenset({"IBM"}))
    world.ask(targets(targets={"AIG": "100", "IBM": "50"}))
    world.run()
    assert world.last().status == "partly_refused"
    refused = world.last().order_fill[1]
    assert (refused.refusal_code, refused.refusal_text) == ("UNKNOWN_SYMBOL", "no such symbol")


def test_children_that_fill_nothing_are_not_sent_for_ever() -> None:
    """Three in a row; one that fills something begins the count anew."""
    world = World()
    world.ask(targets())
    for number in range(1, 5):
        world.gate()
        if number == 1:
            world.fill("al:t1:AIG:1", 10)
        world.end(f"al:t1:AIG:{number}", "expired")
        while world.events:
            world.deliver()
    assert (world.commands, world.last().status) == ([], "refused")
    assert world.last().order_fill[0].refusal_code == "UNFILLED"
    assert states(world.last()) == {"AIG": ("refused", 10)}


def test_children_that_we_cancel_are_not_tried_in_vain() -> None:
    """However often somebody else's fills come in between."""
    world = World()
    world.ask(targets())
    for number in range(5):
        world.gate()
        world.deliver()
        world.hear(event("fill", order_id="mine", fill=fill(f"x{number}", "10")))
        world.gate()
        world.cancel()
        while world.events:
            world.deliver()
    assert world.last().status == "working"
    assert submits(world.commands) == [("al:t1:AIG:6", "buy", 50)]


def test_a_cancel_ends_with_what_was_filled() -> None:
    """The child is canceled, and nothing more is sent; a second cancel changes nothing."""
    world = World()
    world.ask(targets())
    world.gate()
    world.fill("al:t1:AIG:1", 10)
    while world.events:
        world.deliver()
    world.ask(stop())
    assert world.last().status == "working"
    world.run()
    assert states(world.last()) == {"AIG": ("canceled", 10)}
    count = len(world.updates)
    world.ask(stop())
    assert (len(world.updates), world.commands, world.letters) == (count, [], [])


@pytest.mark.parametrize("named", ["cancel-1", None, "cancel-1@77"])
def test_a_cancel_that_is_refused_is_asked_again(named: str | None) -> None:
    """After five seconds, under the next id, whatever the answer names."""
    world = World()
    world.ask(targets())
    world.gate()
    world.deliver()
    world.ask(stop())
    (first,) = world.commands
    world.commands.clear()
    submit = world.known["al:t1:AIG:1"]
    no = said(submit, "cancel_rejected", request_id=named, refusal={"code": "X", "text": ""})
    world.hear(no)
    world.tick()
    assert world.commands == []
    world.now_ns += 5_000_000_000
    world.tick()
    assert isinstance(first, Cancel)
    assert [one.request_id for one in world.commands] == ["cancel-2"]  # type: ignore[union-attr]
    world.run()
    assert world.last().status == "canceled"


def test_an_id_means_one_thing() -> None:
    """Repeated it changes nothing; with other content it is set aside, as is a cancel of none."""
    world = World()
    world.ask(targets())
    kept, count = dict(world.state), len(world.commands)
    world.ask(targets(targets={"AIG": "100.0"}, ts_event_ns=5))
    assert (world.state, len(world.commands), world.letters) == (kept, count, [])
    world.ask(targets(targets={"AIG": "101"}), stop(allocation_id="t9"))
    assert (world.state, world.letters) == (kept, ["ALLOCATION_CONFLICT", "UNKNOWN_ALLOCATION"])


def test_a_total_is_divided_among_accounts() -> None:
    """A request for each account under its own key, the same ids each time; they add up."""
    world = World()
    whole = targets(targets={"AIG": "100"}, shares={"A1": "2", "A2": "1"})
    unit = world.ask(whole)
    sent = [one for one in unit.emitted if one.topic == ALLOCATIONS_REQUESTED.name]
    assert [(one.key, one.value.targets, one.value.parent_id) for one in sent] == [
        ("A1", {"AIG": Decimal(67)}, "t1"),
        ("A2", {"AIG": Decimal(33)}, "t1"),
    ]
    assert all(len(one.value.allocation_id) <= 32 and not one.value.shares for one in sent)
    assert (world.last().status, world.commands) == ("divided", [])
    again = world.give(world.record(whole, ALLOCATIONS_REQUESTED, again=True))
    assert [one for one in again.emitted if one.topic == ALLOCATIONS_REQUESTED.name] == sent
    cancels = world.ask(stop()).values(ALLOCATIONS_REQUESTED)
    assert [(one.command, one.account) for one in cancels] == [("cancel", "A1"), ("cancel", "A2")]
    world.ask(*(one.value for one in sent if one.value.account == "A1"))
    assert world.updates[-1].parent_id == "t1"


def test_the_largest_requests_fit_their_records() -> None:
    """500 symbols among 100 accounts: no row and no record comes near a megabyte."""
    names = {f"{'S' * 17}{number:03d}": "123456789.123456789" for number in range(500)}
    shares = {f"{'A' * 61}{number:03d}": "1" for number in range(100)}
    world = World(instruments())
    whole = targets(allocation_id="x" * 32, targets=names, shares=shares, limit_prices=names)
    unit = world.ask(whole)
    parts = unit.values(ALLOCATIONS_REQUESTED)
    assert len(parts) == 100
    world.ask(parts[0].model_copy(update={"account": "A1"}))
    for _ in range(12):
        for name in list(names):
            key = f"A1|l|{parts[0].allocation_id}|{name}"
            line = world.state[key]
            ids = (*line.shown.order_ids, "o" * 64)[-MAX_SHOWN:]
            shown = line.shown.model_copy(update={"order_ids": ids, "refusal_text": "t" * 300})
            world.state[key] = line.model_copy(update={"shown": shown})
    request = world.state[f"A1|a|{parts[0].allocation_id}"]
    told = allocation_from(MemoryUnit(world.state), request)
    sizes = [len(encode(one)) for one in (told, *parts, *world.state.values())]
    assert max(sizes) < 0.9 * MAX_RECORD_BYTES


def test_executions_count_once_and_busts_take_back() -> None:
    """However often they come, and whichever comes first."""
    bought = event("fill", fill=fill("e1", "30"))
    bust = event("fill_busted", fill=fill("b1", "30", ref_exec_id="e1"))
    fixed = event("fill_corrected", fill=fill("c1", "25", ref_exec_id="e1"))
    for events, qty in (
        ([bought, bought], 30),
        ([bought, bust, bust, bought], 0),
        ([bust, bought], 0),
        ([bought, fixed, bought, fixed], 25),
        ([fixed, bought], 25),
    ):
        world = World()
        for one in events:
            world.hear(one)
        world.ask(targets(targets={"AIG": "0"}))
        assert world.last().order_fill[0].start_qty == qty


def test_a_redelivered_record_says_the_same_and_changes_nothing() -> None:
    """Commands that the gate may not have heard, the newest update, the fills of strategies."""
    world = World()
    request = world.record(targets(strategy="mean"), ALLOCATIONS_REQUESTED)
    first = world.give(request)
    kept = dict(world.state)
    again = world.give(world.record(request.value, ALLOCATIONS_REQUESTED, again=True))
    assert (again.emitted, world.state) == (first.emitted, kept)
    world.gate()
    world.deliver()
    world.fill("al:t1:AIG:1", 10)
    told = world.events[0]
    before = world.hear(told)
    kept = dict(world.state)
    after = world.give(world.record(told, ORDERS_EVENTS, again=True))
    assert (after.emitted, world.state) == (before.emitted, kept)
    assert len(after.values(STRATEGIES_FILLS)) == 1


def test_a_worker_that_starts_tells_again_what_the_gate_may_not_have() -> None:
    """The submit that nobody answered, with its id; what was heard is not sent again."""
    world = World()
    world.ask(targets(targets={"AIG": "100", "IBM": "5"}))
    world.gate()
    world.deliver()
    world.commands.clear()
    world.start()
    world.tick()
    assert submits(world.commands) == [("al:t1:IBM:1", "buy", 5)]
    world.tick()
    assert len(world.commands) == 1


def test_an_order_of_somebody_else_under_the_childs_id_ends_the_symbol() -> None:
    """The gate says conflict; a later misuse of the id of a working child says nothing."""
    reason = {"code": "CONFLICT", "text": "taken"}
    world = World()
    world.ask(targets())
    (submit,) = world.commands
    assert not isinstance(submit, Cancel)
    world.hear(said(submit, "duplicate", refusal=reason))
    assert world.last().order_fill[0].refusal_code == "CONFLICT"
    world = World()
    world.ask(targets())
    world.gate()
    world.deliver()
    world.hear(said(submit, "duplicate", refusal=reason))
    world.run()
    assert world.last().status == "done"


def test_a_split_order_is_over_when_both_legs_are() -> None:
    """The closing leg alone does not free the way."""
    world = World()
    world.ask(targets())
    world.gate()
    world.deliver()
    submit = world.known["al:t1:AIG:1"]
    for leg, qty in (("close", "40"), ("open", "60")):
        terms = {"symbol": "AIG", "side": "buy", "type": "market", "qty": qty}
        routed = {"terms": terms | {"time_in_force": "day"}, "leg": leg}
        world.hear(said(submit, "routed", client_order_id=leg, suffix=leg, **routed))
    world.hear(said(submit, "fill", fill=fill("f1", "40"), leg="close", client_order_id="close"))
    assert world.commands == []
    world.hear(said(submit, "canceled", leg="open", client_order_id="open"))
    assert submits(world.commands) == [("al:t1:AIG:2", "buy", 60)]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"key": None}, "NO_KEY"),
        ({"key": b"A2"}, "KEY_MISMATCH"),
        ({"partition": 1}, "WRONG_PARTITION"),
    ],
)
def test_a_record_out_of_place_is_set_aside(fields: dict[str, Any], code: str) -> None:
    """Its account's events would come elsewhere."""
    world = World()
    world.give(record(targets(), ALLOCATIONS_REQUESTED, **fields))
    assert (world.state, world.letters) == ({}, [code])


def test_ids_of_children() -> None:
    """64 characters at most, and the way back."""
    longest = child_id("a" * 32, "B" * 20, 9_999_999)
    assert len(longest) == 64
    assert allocation_of(child_id("a:b", "BTC/USD", 2)) == ("a:b", "BTC/USD")
    assert allocation_of("al:x") is None


def test_rows_survive_the_table_and_needs_finds_what_is_on_its_way() -> None:
    """Written as JSON without empty fields and read again, every row is the same."""
    world = World()
    world.ask(targets(strategy="s", shares={"A1": "1"}, allocation_id="t0"))
    world.ask(targets())
    world.gate()
    world.deliver()
    world.fill("al:t1:AIG:1", 10)
    world.deliver()
    world.hear(event("fill_busted", fill=fill("b", "1", ref_exec_id="unseen")))
    adapter: TypeAdapter[Any] = ALLOCATOR.adapter()
    for row in world.state.values():
        assert adapter.validate_json(adapter.dump_json(row, exclude_none=True)) == row
        assert (Allocator.needs in encode(row)) == bool(getattr(row, "live", False))


def test_what_is_over_leaves_after_a_week_and_its_id_stays() -> None:
    """Positions stay; the id means the same for months."""
    world = World()
    world.ask(targets())
    world.run()
    count = len(world.updates)
    for _ in range(3):
        world.now_ns += 8 * 86_400 * 1_000_000_000
        world.tick()
    kinds = {row.kind for row in world.state.values()}
    assert kinds == {"gone", "holding", "leaving"}
    world.ask(targets(), targets(targets={"AIG": "3"}))
    assert (len(world.updates), world.letters) == (count, ["ALLOCATION_CONFLICT"])
    unit: MemoryUnit[Any] = world.ask(targets(allocation_id="t2"))
    assert unit.dead_letters == []
    assert world.last("t2").status == "done"  # 100 are held still
