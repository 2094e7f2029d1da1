"""The verifier finds nothing wrong with a sound run, and each thing that is wrong with another.

The runs are made by hand, a few records each, so that what is broken in them is known.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from agents.positions import Positions, PositionsDeps
from agents.tracker import Tracker
from streams.domain.controls import ControlSet
from streams.domain.matching.records import ClosedRecord
from streams.models.base import Message
from streams.models.orders import ApprovedOrder, OrderEvent, VenueOrder
from streams.ports import Record
from streams.topics import (
    DEAD_LETTERS,
    MARKET_QUOTES,
    ORDERS_APPROVED,
    ORDERS_EVENTS,
    ORDERS_REQUESTED,
    ORDERS_UPDATES,
    POSITIONS_UPDATES,
    TOPICS,
    VENUE_REST_ORDERS,
    VENUE_VIRTUAL_ORDERS,
)
from tables.orders import ORDERS
from tables.positions import POSITIONS
from tables.venue import VENUE
from tests.builders import NOW_NS, cancel, event, fill, quote, submit
from tests.fakes import MemoryUnit
from tests.faults.facts import Row, Seen, Sent
from tests.faults.findings import Kind
from tests.faults.verify import verify

AIG = ("A1", "AIG")
APPROVED, REJECTED = "validator:A1|o1|approved", "validator:A1|o2|rejected"
TERMS = {"symbol": "AIG", "side": "buy", "type": "limit", "qty": "10", "limit_price": "50"}
TERMS |= {"time_in_force": "day"}
IDS = {"order_id": "o1", "account": "A1", "client_order_id": "A1.o1", "request_id": "submit"}
TIMES = {"ts_requested_ns": NOW_NS, "ts_event_ns": NOW_NS}


@dataclass
class Made:
    """A run being made: what the topics hold, before tables and history are made of it."""

    seen: Seen

    def put(self, topic: str, value: Message | bytes | None, key: str = "A1", **given: Any) -> int:
        """Append a record to partition 0 of a topic; return its offset."""
        raw = value.model_dump_json().encode() if isinstance(value, Message) else value
        rows = self.seen.topics.setdefault(topic, [])
        rows.append(Row(0, len(rows), key.encode(), raw, **given))
        return len(rows) - 1

    def request(self, value: Message | bytes, key: str = "A1") -> int:
        """Append a command that Kafka acknowledged."""
        offset = self.put(ORDERS_REQUESTED.name, value, key)
        raw = self.seen.topics[ORDERS_REQUESTED.name][offset].value
        self.seen.sent.append(Sent((ORDERS_REQUESTED.name, 0, offset), raw))
        return offset

    def letter(self, topic: str, offset: int) -> None:
        """Append the dead letter of a record."""
        source = {"topic": topic, "partition": "0", "offset": str(offset)}
        headers = [(f"__streams.errors.{name}", text.encode()) for name, text in source.items()]
        self.put(DEAD_LETTERS.name, b"?", headers=headers)

    def happened(self, *events: OrderEvent) -> None:
        """Append events."""
        for one in events:
            self.put(ORDERS_EVENTS.name, one)


def happenings() -> list[OrderEvent]:
    """Return the events of a filled order and of a rejected one."""
    at_broker = {"client_order_id": "A1.o1", "ts_requested_ns": NOW_NS}
    return [
        event("approved", event_id=APPROVED, broker="", terms=TERMS),
        event("rejected", event_id=REJECTED, broker="", order_id="o2", terms=TERMS),
        event("routed", event_id="A1.o1:routed", request_id="submit", **at_broker),
        event("accepted", event_id="A1.o1:accepted", **at_broker),
        event("fill", event_id="A1.o1:fill:1", fill=fill("A1.o1:1", "10", "50"), **at_broker),
    ]


def closed(cum_qty: str = "10", coid: str = "A1.o1") -> ClosedRecord:
    """Return the order as the broker keeps it when it is over."""
    return ClosedRecord.model_validate(
        {
            "client_order_id": coid,
            "order_id": "o1",
            "account": "A1",
            "content": "",
            "status": "filled",
            "qty": "10",
            "cum_qty": cum_qty,
            "refusal": "",
            "requests": (),
            "ts_closed_ns": NOW_NS,
        }
    )


def made(spoil: Callable[[Made], Any] = lambda _run: None) -> Seen:
    """Return a run with tables and history made of its topics; `spoil` changes it before."""
    run = Made(Seen(topics={topic.name: [] for topic in TOPICS}))
    run.request(submit())
    run.request(submit(order_id="o2"))
    run.letter(ORDERS_REQUESTED.name, run.request(b"buy 10 AIG"))
    run.seen.expected = {("A1", "o1"): "submit", ("A1", "o2"): "invalid"}
    run.put(MARKET_QUOTES.name, quote(), "AIG")
    sent = {**IDS, **TIMES, "command": "submit", "terms": TERMS}
    approved = {**sent, "position_qty": "0", "rules_version": 1}
    venue = {**sent, "broker": "virtual", "ts_approved_ns": NOW_NS}
    run.put(ORDERS_APPROVED.name, ApprovedOrder.model_validate(approved))
    run.put(VENUE_VIRTUAL_ORDERS.name, VenueOrder.model_validate(venue), "AIG")
    run.happened(*happenings())
    run.put(VENUE.changelog(), closed(), "AIG|A1.o1")
    spoil(run)
    make_tables(run)
    for topic in TOPICS:
        rows = run.seen.topics[topic.name]
        readable = [row for row in rows if row.value != b"buy 10 AIG"]
        run.seen.history[topic.name] = [(row.partition, row.offset) for row in readable]
    run.seen.history_positions = {AIG: Decimal(10)}
    run.seen.history_fills = {AIG: Decimal(10)}
    run.seen.viewed = {AIG: Decimal(10)}
    return run.seen


def make_tables(run: Made) -> None:
    """Append what tracker and positions agents make of the events."""
    deps = PositionsDeps(controls=ControlSet, price=lambda _symbol: None)
    for spec, agent in ((ORDERS, Tracker()), (POSITIONS, Positions(deps))):
        unit: MemoryUnit[Any] = MemoryUnit()
        for row in run.seen.topics[ORDERS_EVENTS.name]:
            value = OrderEvent.model_validate_json(row.value or b"")
            agent.step(unit, Record(ORDERS_EVENTS.name, 0, row.offset, row.key, value, None, 0))
        agent.on_batch_end(unit)
        for key, state in unit.state.items():
            run.put(spec.changelog(), state.model_dump_json().encode(), key)
        for topic in (ORDERS_UPDATES, POSITIONS_UPDATES):
            for value in unit.values(topic):
                run.put(topic.name, value)


def find(seen: Seen) -> list[tuple[Kind, str]]:
    """Return what the verifier finds."""
    return list(verify(seen).violations)


def test_a_sound_run_has_nothing_wrong() -> None:
    """Orders, a dead letter, a fill: everything is where it belongs."""
    assert find(made()) == []


def test_what_is_published_again_is_not_wrong() -> None:
    """After a kill the same events and dead letters come again, with the same ids."""

    def again(run: Made) -> None:
        run.happened(*happenings())
        run.letter(ORDERS_REQUESTED.name, 2)

    assert find(made(again)) == []


def test_what_was_taken_back_does_not_stand() -> None:
    """The position of before is one too many then."""
    taken = fill("b-1", "10", "50", cum_qty="0", ref_exec_id="A1.o1:1")
    bust = event("fill_busted", event_id="bust", client_order_id="A1.o1", fill=taken)
    found = find(made(_add(bust)))
    assert ("counted_twice", "position A1/AIG: fills come to 0, the view says 10") in found
    assert not any("the table" in text for _, text in found)


def _drop(topic: str, offset: int) -> Callable[[Made], Any]:
    return lambda run: run.seen.topics[topic].pop(offset)


def _add(*events: OrderEvent) -> Callable[[Made], None]:
    return lambda run: run.happened(*events)


def _cut(run: Made, events: int) -> None:
    """Leave so many events; without the one that it was routed, nothing was."""
    del run.seen.topics[ORDERS_EVENTS.name][events:]
    if events < 3:
        run.seen.topics[VENUE_VIRTUAL_ORDERS.name].clear()


def _second_fill(exec_id: str, cum_qty: str) -> OrderEvent:
    done = fill(exec_id, "10", "50", cum_qty=cum_qty)
    return event("fill", event_id=f"again:{exec_id}", client_order_id="A1.o1", fill=done)


#: What is broken before tables and history are made, and what must be said of it.
BROKEN: list[tuple[str, Callable[[Made], Any], Kind, str]] = [
    (
        "never answered",
        lambda run: run.request(submit(order_id="o3")),
        "lost",
        "no answer",
    ),
    ("a cancel too", lambda run: run.request(cancel()), "lost", "no answer"),
    ("no dead letter", _drop(DEAD_LETTERS.name, 0), "unaccounted", "no dead letter"),
    (
        "answered and set aside",
        lambda run: run.letter(ORDERS_REQUESTED.name, 0),
        "unaccounted",
        "2 answers",
    ),
    (
        "approved and rejected",
        _add(event("rejected", event_id="validator:A1|o1|rejected", broker="")),
        "unaccounted",
        "2 answers",
    ),
    (
        "a good tick set aside",
        lambda run: run.letter(MARKET_QUOTES.name, 0),
        "unaccounted",
        "readable and dead letter",
    ),
    (
        "a bad tick taken for good",
        lambda run: run.put(MARKET_QUOTES.name, b"buy 10 AIG"),
        "unaccounted",
        "unreadable and no dead letter",
    ),
    (
        "our own set aside",
        lambda run: run.letter(ORDERS_EVENTS.name, 0),
        "unaccounted",
        "of our own is a dead letter",
    ),
    (
        "our own unreadable",
        lambda run: run.put(ORDERS_APPROVED.name, b"buy 10 AIG"),
        "unaccounted",
        "of our own is unreadable",
    ),
    ("not routed", lambda run: _cut(run, 2), "lost", "approved and not routed"),
    ("not answered by the broker", lambda run: _cut(run, 3), "lost", "never answered"),
    ("waiting for ever", lambda run: _cut(run, 3), "lost", "hangs as"),
    (
        "accepted twice",
        _add(event("accepted", event_id="other", client_order_id="A1.o1")),
        "sent_twice",
        "accepted A1.o1 2 times",
    ),
    (
        "accepted anew",
        _add(happenings()[3].model_copy(update={"ts_event_ns": NOW_NS + 1})),
        "sent_twice",
        "two contents",
    ),
    (
        "ended twice",
        _add(
            event("canceled", event_id="c", client_order_id="A1.o1"),
            event("expired", event_id="e", client_order_id="A1.o1"),
        ),
        "unaccounted",
        "ended as canceled and expired",
    ),
    ("booked twice", _add(_second_fill("other", "10")), "counted_twice", "executions of 20"),
    ("an execution is gone", _add(_second_fill("other", "30")), "lost", "executions of 20"),
    (
        "not in the fills",
        lambda run: run.put(VENUE.changelog(), closed("15"), "AIG|A1.o1"),
        "lost",
        "15 at the broker, 10 in fills",
    ),
    ("not at the broker", _drop(VENUE.changelog(), 0), "counted_twice", "0 at the broker, 10"),
    (
        "filled back at the broker",
        lambda run: run.put(VENUE.changelog(), closed("5"), "AIG|A1.o1"),
        "sent_twice",
        "filled to 10, then 5",
    ),
]


@pytest.mark.parametrize(
    ("spoil", "kind", "text"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_what_is_wrong_in_the_topics_is_found(
    spoil: Callable[[Made], Any], kind: Kind, text: str
) -> None:
    """Each way to lose an order, send it twice or count it twice has its own words."""
    assert [said for found, said in find(made(spoil)) if found == kind and text in said]


def _held(seen: Seen, index: int, change: dict[str, Any]) -> None:
    """Change a row of the positions table."""
    rows = seen.topics[POSITIONS.changelog()]
    adapter = POSITIONS.adapter()
    value = adapter.validate_json(rows[index].value or b"").model_copy(update=change)
    rows[index] = rows[index]._replace(value=value.model_dump_json().encode())


def _position_row(seen: Seen) -> int:
    rows = seen.topics[POSITIONS.changelog()]
    return next(index for index, row in enumerate(rows) if row.key == b"A1|AIG")


#: What is broken in what was made of the topics.
SPOILT: list[tuple[str, Callable[[Seen], Any], Kind, str]] = [
    ("acknowledged and gone", lambda seen: seen.sent.append(
        Sent((ORDERS_REQUESTED.name, 0, 9), b"")), "lost", "is not there"),
    ("acknowledged, another", lambda seen: seen.sent.append(
        Sent((ORDERS_REQUESTED.name, 0, 0), b"")), "lost", "another record"),
    ("no state", lambda seen: seen.topics[ORDERS_UPDATES.name].clear(), "lost", "no state"),
    ("invalid, not rejected", lambda seen: seen.expected.update({("A1", "o1"): "invalid"}),
     "unaccounted", "is invalid"),
    ("not at rest", lambda seen: seen.late.append("7 records to go"), "unaccounted", "7 records"),
    ("a row short", lambda seen: seen.history[ORDERS_EVENTS.name].pop(), "lost",
     "not in the history"),
    ("a row twice", lambda seen: seen.history[ORDERS_EVENTS.name].append((0, 0)), "counted_twice",
     "in the history 2 times"),
    ("a row of nothing", lambda seen: seen.history[ORDERS_EVENTS.name].append((3, 0)),
     "unaccounted", "not in Kafka"),
    ("a history of more", lambda seen: seen.history_positions.update({AIG: Decimal(20)}),
     "counted_twice", "the history's positions says 20"),
    ("a history of less", lambda seen: seen.history_fills.clear(), "lost",
     "the history's fills says 0"),
    ("a view of more", lambda seen: seen.viewed.update({AIG: Decimal(11)}), "counted_twice",
     "the view says 11"),
    ("a topic of less", lambda seen: seen.topics[POSITIONS_UPDATES.name].clear(), "lost",
     "the topic says 0"),
    ("an order of nobody", lambda seen: seen.at_broker.update(
        {"x": ("accepted", Decimal(0))}), "sent_twice", "of no order of ours"),
    ("a fill more", lambda seen: _held(seen, _position_row(seen), {"fills": 2}), "counted_twice",
     "counts 2 fills of 1"),
    ("a table that differs", lambda seen: _held(
        seen, _position_row(seen), {"cost": Decimal(1)}), "unaccounted", "cost Decimal('1')"),
    ("a table that lacks", lambda seen: seen.topics[ORDERS.changelog()].clear(), "unaccounted",
     "is not in the table"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "kind", "text"), [row[1:] for row in SPOILT], ids=[row[0] for row in SPOILT]
)
def test_what_is_wrong_beside_the_topics_is_found(
    spoil: Callable[[Seen], Any], kind: Kind, text: str
) -> None:
    """The history, the tables and the views are held against the topics."""
    seen = made()
    spoil(seen)
    assert [said for found, said in find(seen) if found == kind and text in said]


def _across_the_network(run: Made) -> None:
    """Add an order of 10 that the broker across the network filled."""
    run.request(submit(order_id="o3"))
    run.seen.expected["A1", "o3"] = "submit"
    sent = {**IDS, **TIMES, "command": "submit", "terms": TERMS, "order_id": "o3"}
    approved = {**sent, "position_qty": "0", "rules_version": 1}
    run.put(ORDERS_APPROVED.name, ApprovedOrder.model_validate(approved))
    venue = {**sent, "client_order_id": "A1.o3", "broker": "rest", "ts_approved_ns": NOW_NS}
    run.put(VENUE_REST_ORDERS.name, VenueOrder.model_validate(venue))
    there = {"order_id": "o3", "client_order_id": "A1.o3", "broker": "rest"}
    done = fill("rest:1", "10", "50")
    run.happened(
        event(
            "approved",
            event_id="validator:A1|o3|approved",
            broker="",
            order_id="o3",
            terms=TERMS,
            ts_event_ns=NOW_NS - 1,
        ),
        event("routed", event_id="A1.o3:routed", request_id="submit", **there),
        event("accepted", event_id="A1.o3:accepted", **there),
        event("fill", event_id="A1.o3:fill:1", fill=done, **there),
    )


def rested() -> Seen:
    """Return a sound run with an order at the broker across the network."""
    seen = made(_across_the_network)
    for held in (seen.history_positions, seen.history_fills, seen.viewed):
        held[AIG] = Decimal(20)
    seen.at_broker = {"A1.o3": ("filled", Decimal(10))}
    return seen


def test_an_order_across_the_network_is_sound() -> None:
    """The broker has what was routed to it, filled as the fills say."""
    assert find(rested()) == []


@pytest.mark.parametrize(
    ("there", "kind", "text"),
    [
        ({"A1.o3": ("filled", Decimal(15))}, "lost", "15 at the broker, 10 in fills"),
        ({"A1.o3": ("filled", Decimal(5))}, "counted_twice", "5 at the broker, 10 in fills"),
        ({}, "counted_twice", "is not at the broker"),
        (
            {"A1.o3": ("filled", Decimal(10)), "A1.x": ("accepted", Decimal(0))},
            "sent_twice",
            "A1.x",
        ),
    ],
    ids=["a fill is lost", "a fill too many", "nothing there", "another id"],
)
def test_what_differs_from_the_broker_is_found(
    there: dict[str, tuple[str, Decimal]], kind: Kind, text: str
) -> None:
    """The broker across the network is asked what it has."""
    seen = rested()
    seen.at_broker = there
    assert [said for found, said in find(seen) if found == kind and text in said]


def test_few_of_many_are_told() -> None:
    """A run that has lost a thousand orders is told in a few lines, and counted in full."""
    seen = made()
    seen.late += [f"order {number}" for number in range(1_000)]
    verdict = verify(seen)
    assert verdict.counts() == {
        "lost": 0,
        "sent_twice": 0,
        "counted_twice": 0,
        "unaccounted": 1_000,
    }
    assert len(verdict.explanations()) == 5
