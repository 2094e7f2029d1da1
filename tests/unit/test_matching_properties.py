"""What holds for every input to the virtual venue, whatever the orders and the tape."""

import hashlib
import os
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.matching.config import VenueConfig
from streams.domain.matching.engine import Engine
from streams.domain.ticks import tick_of_row
from streams.models.market import Quote, Trade
from streams.models.orders import EventType, OrderEvent, VenueOrder
from tests.builders import NOW_NS, SECOND
from tests.unit.matching_world import (
    HOUR,
    EveryDay,
    World,
    asks,
    bids,
    feed,
    prints,
    venue_order,
)

Input = VenueOrder | Quote | Trade

SETTINGS: dict[str, Any] = {
    "latency_ns": 3_000_000,
    "cancel_latency_ns": 5_000_000,
    "latency_jitter_ns": 4_000_000,
    "touch_probability": Decimal("0.5"),
    "commission_per_share": Decimal("0.005"),
    "commission_min": Decimal(1),
    "slippage_bps": Decimal(3),
}

prices = st.sampled_from([f"{cents / 100:.2f}" for cents in range(4990, 5011, 2)])
sizes = st.sampled_from(["1", "5", "10", "40", "0.5"])
gaps = st.sampled_from([0, 1_000_000, 2_000_000, SECOND, 40 * SECOND, 3600 * SECOND])

order_terms = st.fixed_dictionaries(
    {"side": st.sampled_from(["buy", "sell"]), "qty": sizes},
).flatmap(
    lambda base: st.one_of(
        st.fixed_dictionaries(
            {
                "type": st.just("limit"),
                "limit_price": prices,
                "time_in_force": st.sampled_from(["day", "gtc", "ioc", "fok", "opg", "cls"]),
                "extended_hours": st.booleans(),
            }
        ),
        st.fixed_dictionaries(
            {
                "type": st.just("market"),
                "time_in_force": st.sampled_from(["day", "ioc", "fok", "opg", "cls"]),
            }
        ),
        st.fixed_dictionaries({"type": st.just("stop"), "stop_price": prices}),
        st.fixed_dictionaries(
            {"type": st.just("stop_limit"), "stop_price": prices, "limit_price": prices}
        ),
        st.fixed_dictionaries({"type": st.just("trailing_stop"), "trail_price": st.just("0.05")}),
        st.fixed_dictionaries(
            {
                "type": st.just("limit"),
                "limit_price": prices,
                "order_class": st.sampled_from(["bracket", "oco"]),
                "take_profit": st.fixed_dictionaries({"limit_price": prices}),
                "stop_loss": st.fixed_dictionaries({"stop_price": prices}),
            }
        ),
        st.just({"type": "market", "qty": None, "notional": "700"}),
    ).map(lambda kind: base | kind)
)
steps = st.one_of(
    st.tuples(st.just("ask"), prices, sizes),
    st.tuples(st.just("bid"), prices, sizes),
    st.tuples(st.just("print"), prices, sizes),
    st.tuples(st.just("submit"), order_terms, st.none()),
    st.tuples(st.just("cancel"), st.integers(0, 8), st.none()),
    st.tuples(st.just("replace"), st.integers(0, 8), st.tuples(prices, sizes)),
)
tapes = st.lists(st.tuples(steps, gaps), min_size=1, max_size=40)


def inputs_of(tape: list[Any]) -> list[Input]:
    """Return the inputs that a drawn tape stands for."""
    at = NOW_NS - 2 * 3600 * SECOND
    inputs: list[Input] = []
    sent: list[tuple[str, dict[str, Any]]] = []
    for number, ((kind, what, more), gap) in enumerate(tape):
        at += gap
        if kind == "submit":
            sent.append((f"o{number}", what))
            inputs.append(venue_order(f"o{number}", at=at, **what))
        elif kind in ("cancel", "replace"):
            if not sent:
                continue
            name, terms = sent[what % len(sent)]
            if kind == "replace":
                changed = {"qty": more[1]} | (
                    {"limit_price": more[0]} if "limit_price" in terms else {}
                )
                terms = terms if terms.get("notional") else terms | changed
            own = {"command": kind, "request_id": f"{kind}{number}", "at": at}
            inputs.append(venue_order(name, **terms, **own))
        else:
            make: Any = {"ask": asks, "bid": bids, "print": prints}[kind]
            inputs.append(make(what, more, ts_event_ns=at, seq=number + 1))
    return inputs


def play(inputs: list[Input], restart_at: frozenset[int] = frozenset()) -> World:
    """Return the world after these inputs; before each number in `restart_at` it restarts."""
    world = World(**SETTINGS)
    for number, each in enumerate(inputs):
        if number in restart_at:
            world.restart()
        world.at(NOW_NS).put(each)
    return world


def told(events: list[OrderEvent]) -> list[str]:
    """Return events as the topic holds them."""
    return [event.model_dump_json() for event in events]


@settings(max_examples=60, deadline=None)
@given(tapes)
def test_the_same_input_gives_the_same_events(tape: list[Any]) -> None:
    """To the byte."""
    inputs = inputs_of(tape)
    assert told(play(inputs).events) == told(play(inputs).events)


@settings(max_examples=60, deadline=None)
@given(tapes, st.frozensets(st.integers(0, 40), max_size=6))
def test_a_restart_changes_nothing(tape: list[Any], restart_at: frozenset[int]) -> None:
    """An engine that is rebuilt from its records goes on to the byte as one that never stopped."""
    inputs = inputs_of(tape)
    stopped, straight = play(inputs, restart_at), play(inputs)
    assert told(stopped.events) == told(straight.events)
    assert stopped.records == straight.records


@settings(max_examples=100, deadline=None)
@given(tapes)
def test_fills_keep_within_quantity_and_limit(tape: list[Any]) -> None:
    """No order fills beyond its quantity or worse than its limit; event ids are unique."""
    world = play(inputs_of(tape))
    terms: dict[str, Any] = {
        each.client_order_id: each.terms
        for each in inputs_of(tape)
        if isinstance(each, VenueOrder) and each.command == "submit"
    }
    filled: dict[str, Decimal] = defaultdict(Decimal)
    for event in world.events:
        name = event.client_order_id or ""
        if event.terms is not None:
            terms[name] = event.terms
        if event.fill is None:
            continue
        filled[name] += event.fill.last_qty
        assert event.fill.last_qty > 0
        assert event.fill.cum_qty == filled[name]
        assert terms[name].qty is not None
        assert filled[name] <= terms[name].qty
        limit = terms[name].limit_price
        if limit is not None and terms[name].type in ("limit", "stop_limit"):
            worse = event.fill.last_px - limit
            assert (worse if event.side == "buy" else -worse) <= 0
    ids = [event.event_id for event in world.events]
    assert len(ids) == len(set(ids))


@settings(max_examples=80, deadline=None)
@given(tapes)
def test_fok_fills_whole_or_not(tape: list[Any]) -> None:
    """A fok order has one fill of its quantity, or none."""
    inputs = inputs_of(tape)
    quantities = {
        each.client_order_id: each.terms.qty
        for each in inputs
        if isinstance(each, VenueOrder)
        and each.command == "submit"
        and each.terms.time_in_force == "fok"
    }
    for event in play(inputs).events:
        if event.fill is not None and event.client_order_id in quantities:
            assert event.fill.last_qty == quantities[event.client_order_id]


@settings(max_examples=100, deadline=None)
@given(tapes)
def test_no_more_is_taken_than_was_displayed(tape: list[Any]) -> None:
    """At no time more has been executed than the sizes that were displayed until then."""
    world = World(**SETTINGS)
    displayed = taken = Decimal(0)
    for each in inputs_of(tape):
        before = len(world.events)
        if isinstance(each, Trade):
            displayed += each.size
        elif isinstance(each, Quote):
            displayed += (each.bid_size or Decimal(0)) + (each.ask_size or Decimal(0))
        world.at(NOW_NS).put(each)
        taken += sum((e.fill.last_qty for e in world.events[before:] if e.fill), Decimal(0))
        assert taken <= displayed


@settings(max_examples=80, deadline=None)
@given(tapes)
def test_legs_of_a_pair_never_fill_more_than_the_entry(tape: list[Any]) -> None:
    """The exits of a bracket sum to at most its entry; those of an oco to at most its quantity."""
    filled: dict[str, Decimal] = defaultdict(Decimal)
    kinds = {
        each.order_id: each.terms
        for each in inputs_of(tape)
        if isinstance(each, VenueOrder) and each.command == "submit"
    }
    for event in play(inputs_of(tape)).events:
        if event.fill is not None:
            filled[event.order_id] += event.fill.last_qty
    for name, terms in kinds.items():
        legs = filled[f"{name}-TP"] + filled[f"{name}-SL"]
        if terms.order_class == "bracket":
            assert legs <= filled[name]


@settings(max_examples=60, deadline=None)
@given(tapes)
def test_every_request_is_answered_once(tape: list[Any]) -> None:
    """A cancel ends in canceled or cancel_rejected, a replace likewise; an order ends once."""
    world = play(inputs_of(tape))
    ends = [EventType.CANCELED, EventType.EXPIRED, EventType.REJECTED]
    ended = [event.client_order_id for event in world.events if event.event in ends]
    assert len(ended) == len(set(ended))
    pending = [e for e in world.events if e.event in ("pending_cancel", "pending_replace")]
    waiting = {
        command.request_id
        for record in world.records.values()
        if record.kind == "order"
        for command in record.commands
    }
    answers = ("canceled", "cancel_rejected", "replaced", "replace_rejected")
    answered = [e.request_id for e in world.events if e.event in answers and e.request_id]
    assert len(answered) == len(set(answered))
    assert {e.request_id for e in pending} <= {*answered, *waiting}


SAMPLE = Path(__file__).parents[2] / "streams" / "data" / "ticks_sample.parquet"


def _tape_of_a_day(most: int) -> list[Input]:
    """Return real ticks of one symbol if the sample is there, else a made-up walk; and orders."""
    ticks: list[Any] = []
    if SAMPLE.exists():
        import pyarrow.parquet as pq

        rows = pq.read_table(SAMPLE).to_pylist()
        rows = [row for row in rows if row["symbol"] == "AIG" and row["kind"] == "quote"] + [
            row for row in rows if row["symbol"] == "AIG" and row["kind"] == "trade"
        ]
        rows.sort(key=lambda row: row["ts_event_ns"])
        ticks = [tick_of_row(row, number + 1) for number, row in enumerate(rows[:most])]
    for number in range(0 if ticks else most):
        step = int(hashlib.sha256(b"%d" % (number // 50)).hexdigest()[:4], 16) % 21 - 10
        price = f"{50 + Decimal(step) / 100:.2f}"
        make = (asks, bids, prints)[number % 3]
        ticks.append(make(price, "100", ts_event_ns=NOW_NS + number * 10**7, seq=number + 1))
    inputs: list[Input] = []
    for number, tick in enumerate(ticks):
        inputs.append(tick)
        if number % 25 == 0:
            at, side = tick.ts_event_ns, ("buy", "sell")[number // 25 % 2]
            price = getattr(tick, "price", None) or tick.bid or tick.ask
            kind = {"type": "market"} if number % 50 else {"limit_price": str(price)}
            inputs.append(venue_order(f"o{number}", at=at, side=side, qty="150", **kind))
    return inputs


def digest_of_a_day() -> str:
    """Return a digest of all events that a day of ticks leads to."""
    engine = Engine("AIG", VenueConfig(follow_clock=False), EveryDay())
    engine.set_shift(-HOUR if SAMPLE.exists() else 0)  # daylight saving time on that day
    events: list[OrderEvent] = []
    for each in _tape_of_a_day(20_000):
        feed(engine, each, NOW_NS)
        events += engine.take_events()
    assert sum(event.fill is not None for event in events) > 100
    return hashlib.sha256("\n".join(told(events)).encode()).hexdigest()


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_gives_the_same_events(hash_seed: str) -> None:
    """A day of ticks leads to the same bytes in a process with another hash seed."""
    code = "from tests.unit.test_matching_properties import digest_of_a_day as d; print(d())"
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == digest_of_a_day()
