"""Checks of orders and their records: I1, I2 and I6 of `verify`."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from streams.demo.accounting import OPEN
from streams.domain.capabilities import VIRTUAL
from streams.domain.judgement import request_id_of
from streams.domain.matching.records import ClosedRecord, OrderRecord
from streams.models.orders import TERMINAL, EventType, OrderEvent, OrderStatus, Submit
from streams.ports import Malformed
from streams.topics import (
    BY_NAME,
    DEAD_LETTERS,
    MARKET_QUOTES,
    MARKET_TRADES,
    ORDERS_APPROVED,
    ORDERS_REQUESTED,
)
from tables.venue import VENUE
from tests.faults.facts import Facts, Name, Read, is_message
from tests.faults.findings import Kind, Violation, at

INPUTS = (ORDERS_REQUESTED, MARKET_QUOTES, MARKET_TRADES)
ENDS = frozenset({EventType.REJECTED, EventType.CANCELED, EventType.EXPIRED})
VERDICTS = frozenset({EventType.APPROVED, EventType.REJECTED})
UNDER_WAY = frozenset({EventType.PENDING_CANCEL, EventType.PENDING_REPLACE})
DEEDS = frozenset({EventType.ACCEPTED, EventType.FILL, *ENDS} - {EventType.REJECTED})
VALIDATORS = "validator:"


def came_to_rest(facts: Facts) -> Iterator[Violation]:
    """What did not come to rest in time is not accounted for."""
    for line in facts.seen.late:
        yield Violation("unaccounted", line)


def acknowledged_is_kept(facts: Facts) -> Iterator[Violation]:
    """What Kafka acknowledged to the load lies where it said."""
    held = {
        (topic.name, row.partition, row.offset): row.value
        for topic in INPUTS
        for row in facts.seen.topics.get(topic.name, ())
    }
    for place, value in facts.seen.sent:
        if place not in held:
            yield Violation("lost", f"{at(place)} was acknowledged and is not there")
        elif held[place] != value:
            yield Violation("lost", f"{at(place)} was acknowledged and is another record")


def inputs_are_answered_once(facts: Facts) -> Iterator[Violation]:
    """I6. Each command has one answer, of its own, or is one dead letter."""
    answers = _answers(facts)
    first: dict[Name, int] = {}
    for one in facts.read(ORDERS_REQUESTED.name):
        dead = one.place in facts.letters
        if not is_message(one.value):
            if not dead:
                yield Violation("unaccounted", f"{at(one.place)} is no command and no dead letter")
            continue
        command = one.value
        found = _answered(one, answers, first) if not _is_astray(one) else set()
        if isinstance(command, Submit) and not dead:
            first.setdefault((command.account, command.order_id), one.place[2])
        what = f"{at(one.place)}, {command.command} of {command.account} {command.order_id}"
        if not found and not dead:
            yield Violation("lost", f"{what} has no answer")
        elif len(found) + dead > 1:
            told = sorted(found) + ["a dead letter"] * dead
            yield Violation("unaccounted", f"{what} has {len(told)} answers: {', '.join(told)}")


def ticks_are_taken_once(facts: Facts) -> Iterator[Violation]:
    """I6. A tick that cannot be read is one dead letter, any other is none."""
    for topic in (MARKET_QUOTES, MARKET_TRADES):
        for one in facts.read(topic.name):
            if is_message(one.value) == (one.place in facts.letters):
                state = "is readable and" if is_message(one.value) else "is unreadable and no"
                yield Violation("unaccounted", f"{at(one.place)} {state} dead letter")


def own_records_are_sound(facts: Facts) -> Iterator[Violation]:
    """I6. What the pipeline wrote itself can be read, and was set aside by nobody."""
    users = {topic.name for topic in INPUTS}
    for place, rows in facts.letters.items():
        if place[0] not in users:
            code = dict(rows[0].headers).get("orderflow.code", b"").decode()
            yield Violation("unaccounted", f"{at(place)} of our own is a dead letter: {code}")
    for name in BY_NAME:
        if name not in users and name != DEAD_LETTERS.name:
            for one in facts.read(name):
                if isinstance(one.value, Malformed):
                    yield Violation("unaccounted", f"{at(one.place)} of our own is unreadable")


def orders_have_one_outcome(facts: Facts) -> Iterator[Violation]:
    """I1. Each order the load wanted has ended once, or is open; an invalid one is rejected."""
    for name, kind in facts.seen.expected.items():
        order = facts.orders.get(name)
        if order is None:
            yield Violation("lost", f"order {'/'.join(name)} has no state")
        elif kind == "invalid" and order.status is not OrderStatus.REJECTED:
            yield Violation("unaccounted", f"order {'/'.join(name)} is invalid, yet {order.status}")
        elif order.status not in TERMINAL | OPEN:
            yield Violation("lost", f"order {'/'.join(name)} hangs as {order.status.value}")
    outcomes: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for event in facts.distinct.values():
        if event.event in ENDS and not (event.refusal and event.refusal.code == "CONFLICT"):
            outcomes[event.account, event.order_id, event.leg].add(event.event.value)
    for (account, order_id, leg), found in outcomes.items():
        if len(found) > 1:
            text = f"order {account}/{order_id}{leg} ended as {' and '.join(sorted(found))}"
            yield Violation("unaccounted", text)


def every_step_was_taken(facts: Facts) -> Iterator[Violation]:
    """I1. What was approved was routed, and what was routed was answered by the broker."""
    routed = {
        (event.account, event.order_id, event.request_id or "submit")
        for event in facts.distinct.values()
        if event.event in (EventType.ROUTED, EventType.REJECTED)
    }
    asked = facts.asked()
    heard = {
        event.client_order_id
        for event in facts.distinct.values()
        if event.broker and event.event is not EventType.ROUTED
    }
    routed |= {(order.account, order.order_id, order.request_id) for order in asked}
    for one in facts.read(ORDERS_APPROVED.name):
        order = one.value
        if not is_message(order) or order.command != "submit":
            continue
        if (order.account, order.order_id, order.request_id) not in routed:
            yield Violation("lost", f"{at(one.place)} was approved and not routed")
    for client_order_id in {order.client_order_id for order in asked} - heard:
        yield Violation("lost", f"{client_order_id} was sent and the broker never answered")


def nothing_is_sent_twice(facts: Facts) -> Iterator[Violation]:
    """I2. One event id is one event; an order that has closed at the broker is never open again.

    An answer that is made anew may have another time; what the virtual venue did may not.
    """
    for event in facts.events:
        known = facts.distinct[event.event_id]
        exactly = event.event in DEEDS and event.broker == VIRTUAL.broker
        if known != event and (exactly or _timeless(known) != _timeless(event)):
            kind: Kind = "counted_twice" if event.fill else "sent_twice"
            yield Violation(kind, f"event {event.event_id} came with two contents")
    accepted: Counter[tuple[str, str]] = Counter(
        (event.broker, event.client_order_id or "")
        for event in facts.distinct.values()
        if event.event is EventType.ACCEPTED
    )
    for (broker, client_order_id), times in accepted.items():
        if times > 1:
            yield Violation("sent_twice", f"{broker} accepted {client_order_id} {times} times")
    yield from _reopened(facts)


def _answers(facts: Facts) -> dict[Name, list[OrderEvent]]:
    """Return the validator's events by order."""
    found: dict[Name, list[OrderEvent]] = defaultdict(list)
    for event in facts.distinct.values():
        if event.event_id.startswith(VALIDATORS):
            found[event.account, event.order_id].append(event)
    return found


def _answered(one: Read, answers: dict[Name, list[OrderEvent]], first: dict[Name, int]) -> set[str]:
    """Return the ids of the events that answer one command.

    An event names the place of what it answers, but for the verdict on a new order, and for a
    request that is under way: there it is the first of its id.
    """
    command, (_, partition, offset) = one.value, one.place
    name = (command.account, command.order_id)
    events = answers.get(name, [])
    place = f"{partition}-{offset}"
    if own := {event.event_id for event in events if place in event.event_id.split("|")}:
        return own
    if isinstance(command, Submit):
        return {e.event_id for e in events if e.event in VERDICTS and name not in first}
    asked = request_id_of(command)
    return {e.event_id for e in events if e.event in UNDER_WAY and e.request_id == asked}


def _timeless(event: OrderEvent) -> OrderEvent:
    return event.model_copy(update={"ts_event_ns": 0, "ts_init_ns": 0})


def _is_astray(one: Read) -> bool:
    """Return whether a command's key is not its account, so that it can only be set aside."""
    return bool(one.row.key != one.value.account.encode())


def _reopened(facts: Facts) -> Iterator[Violation]:
    """Yield orders that the broker had closed, or forgotten, and took again."""
    last: dict[str, OrderRecord | ClosedRecord] = {}
    for one in facts.read(VENUE.changelog()):
        record = one.value
        if not isinstance(record, OrderRecord | ClosedRecord):
            continue
        before = last.get(record.client_order_id)
        if isinstance(before, ClosedRecord) and isinstance(record, OrderRecord):
            yield Violation("sent_twice", f"{record.client_order_id} was over and works again")
        elif before is not None and record.cum_qty < before.cum_qty:
            text = f"{record.client_order_id} was filled to {before.cum_qty}, then {record.cum_qty}"
            yield Violation("sent_twice", text)
        last[record.client_order_id] = record
