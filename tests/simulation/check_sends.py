"""What must hold of orders at a broker across a network, when everything has come to rest."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from streams.domain.decimals import ZERO
from streams.domain.sending import Held, Sending, waiting
from streams.models.orders import TERMINAL, EventType, OrderStatus, VenueOrder
from streams.models.reconciliation import Reconciliation
from streams.topics import RECONCILIATIONS, VENUE_REST_ORDERS
from tables.sends import held_key

if TYPE_CHECKING:
    from tests.simulation.check import Found

_ANSWERS = {EventType.ACCEPTED, EventType.REJECTED}


def one_order_at_the_broker(found: "Found") -> Iterator[str]:
    """An order of ours is one order there at most, and one that we meant to send, in time."""
    meant = {order.client_order_id for order in _intents(found)}
    times: Counter[tuple[str, str]] = Counter()
    for name, deal in found.deals.items():
        order = deal.order
        times[order.account, order.order_id] += 1
        if name not in meant:
            yield f"sent: the broker has {name}, which nobody meant to send"
        if order.valid_until_ns is not None and deal.sent_ns > order.valid_until_ns:
            late_ms = (deal.sent_ns - order.valid_until_ns) // 1_000_000
            yield f"sent: {name} went out {late_ms} ms after its time"
    for whose, count in times.items():
        if count > 1:
            yield f"sent: order {whose} is {count} orders at the broker"


def every_intent_ends(found: "Found") -> Iterator[str]:
    """What was meant to be sent was accepted or refused, and the broker says the same."""
    said: dict[str, set[EventType]] = defaultdict(set)
    for event in found.events.values():
        said[event.client_order_id or ""].add(event.event)
    rows = {row.order.client_order_id: row for row in found.rows("sender", Sending)}
    for order in _intents(found):
        name = order.client_order_id
        if name not in rows:
            yield f"intents: {order.command} of {name} is not in the table"
        elif any(True for _ in waiting(rows[name])):
            yield f"intents: {name} has a request without an answer"
        elif not said[name] & _ANSWERS:
            yield f"intents: {name} was neither accepted nor refused"
    for name, row in rows.items():
        deal = found.deals.get(name)
        if deal is None and not row.over:
            yield f"intents: {name} is open for us, and the broker does not know it"
        if deal is not None and row.over is not (deal.status in TERMINAL):
            yield f"intents: {name} is {deal.status} at the broker, over for us: {row.over}"
        if deal is not None and deal.status is not OrderStatus.REJECTED and row.unsent:
            yield f"intents: {name} is at the broker, and we say that it never went out"


def the_broker_agrees(found: "Found") -> Iterator[str]:
    """The broker's executions count once, and our positions there are the broker's."""
    theirs: dict[str, Decimal] = {}
    told: dict[str, Decimal] = defaultdict(Decimal)
    for event in found.fills.values():
        if event.fill is not None:
            told[event.client_order_id or ""] += event.fill.last_qty
    for name, deal in found.deals.items():
        if told[name] != deal.cum:
            yield f"broker: {name} filled {deal.cum} there, {told[name]} was told"
    exchange = found.world.exchange
    for one in exchange.positions() if exchange is not None else ():
        theirs[held_key(one.account, "rest", one.symbol)] = one.qty
    ours = {key: row.qty for key, row in found.tables["sender"].items() if isinstance(row, Held)}
    for key in sorted({*theirs, *ours}):
        if theirs.get(key, ZERO) != ours.get(key, ZERO):
            yield f"broker: {key} is {theirs.get(key)} there, {ours.get(key)} for us"


def the_last_comparison_found_nothing(found: "Found") -> Iterator[str]:
    """At rest a comparison sees no difference."""
    runs: dict[int, dict[str, list[Reconciliation]]] = defaultdict(lambda: defaultdict(list))
    for record in found.world.kafka.all_of(RECONCILIATIONS.name):
        runs[record.value.partition][record.value.run_id].append(record.value)
    for of_partition in runs.values():
        for one in of_partition[max(of_partition)]:
            if one.finding != "summary":
                yield f"comparison: {one.finding} {one.client_order_id} {one.ours} / {one.theirs}"


def desks_work(found: "Found") -> Iterator[str]:
    """No desk came to an end by an error."""
    yield from (f"desk: {text}" for text in found.world.desk_failures())


def _intents(found: "Found") -> list[VenueOrder]:
    return [one.value for one in found.world.kafka.all_of(VENUE_REST_ORDERS.name)]
