"""What must hold when everything has come to rest, whatever went wrong on the way.

Each check yields a line per violation: the invariant's name, a colon, and what was found.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from agents.gateway import Gateway
from agents.positions import Positions, PositionsDeps
from agents.tracker import Tracker
from streams.domain.build import evolve
from streams.domain.controls import ControlSet
from streams.domain.decimals import ZERO
from streams.domain.exposure_models import RiskAccount, RiskOrder
from streams.domain.matching.orders import record_of
from streams.domain.matching.records import ClosedRecord, OrderRecord
from streams.domain.order_state import OrderState
from streams.domain.order_view import order_of
from streams.domain.positions import PositionState
from streams.models.orders import TERMINAL, EventType, OrderEvent, OrderStatus, Submit
from streams.ports import Agent, Malformed
from streams.topics import (
    DEAD_LETTERS,
    MARKET_QUOTES,
    MARKET_TRADES,
    ORDERS_EVENTS,
    ORDERS_REQUESTED,
    ORDERS_UPDATES,
    POSITIONS_UPDATES,
    VENUE_REST_ORDERS,
    VENUE_VIRTUAL_ORDERS,
)
from streams.wiring import AGENTS
from tables.venue import Published
from tests.fakes import MemoryUnit
from tests.simulation.check_sends import (
    desks_work,
    every_intent_ends,
    one_order_at_the_broker,
    the_broker_agrees,
    the_last_comparison_found_nothing,
)
from tests.simulation.exchange import OPEN, Deal
from tests.simulation.kafka import PARTITIONS
from tests.simulation.load import is_poison
from tests.simulation.worker import Task, Worker
from tests.simulation.world import World

#: Codes of dead letters that tell of bad inputs; any other one tells of a contradiction in here.
BAD_INPUT = {"BAD_JSON", "TOMBSTONE"}
#: Keys of rows that say when something is forgotten: by our time, not by the events.
OF_OUR_TIME = "~"
_ENDS = {EventType.REJECTED, EventType.CANCELED, EventType.EXPIRED}
_SAID_AGAIN = {EventType.DUPLICATE, EventType.CANCEL_REJECTED, EventType.REPLACE_REJECTED}


class Found:
    """What a run left behind, gathered once for all checks."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.all_events: list[OrderEvent] = [
            record.value for record in world.kafka.all_of(ORDERS_EVENTS.name)
        ]
        self.events = {event.event_id: event for event in reversed(self.all_events)}
        self.fills: dict[str, OrderEvent] = {}
        for event in self.events.values():
            if event.fill is not None:
                self.fills[event.fill.exec_id] = event
        self.tables: dict[str, dict[str, Any]] = defaultdict(dict)
        for _, task, number in self.tasks():
            self.tables[task.spec.name] |= task.lanes[number].state.rows()
        states = self.rows("tracker", OrderState)
        self.views = {f"{each.account}|{each.order_id}": order_of(each) for each in states}
        #: What a broker across a network has, by client order id.
        self.deals: dict[str, Deal] = world.exchange.deals if world.exchange is not None else {}

    def tasks(self) -> Iterator[tuple[Worker, Task, int]]:
        """Yield each agent with each partition that it has."""
        for worker in self.world.alive():
            for task in worker.tasks:
                for number in task.lanes:
                    yield worker, task, number

    def rows(self, agent: str, kind: type[Any]) -> Iterator[Any]:
        """Yield an agent's rows of a kind."""
        return (row for row in self.tables[agent].values() if isinstance(row, kind))


def violations(world: World) -> list[str]:
    """Return what does not hold."""
    found = Found(world)
    checks = CHECKS if world.exchange is None else (*SENDS, *CHECKS)
    return [text for check in checks for text in check(found)]


def at_rest(found: Found) -> Iterator[str]:
    """Everything was read and committed, and every partition has one owner."""
    owned: Counter[tuple[str, int]] = Counter()
    for worker in found.world.alive():
        owned.update((worker.role, number) for number in worker.owned)
        for tp in worker.read:
            end = len(found.world.kafka.logs[tp])
            committed = found.world.kafka.committed[worker.role, tp]
            if committed != end:
                yield f"at rest: {worker.role} committed {committed} of {end} of {tp}"
    if sorted(owned.elements()) != sorted(
        (role, n) for role in found.world.workers for n in range(PARTITIONS)
    ):
        yield f"at rest: owners are {dict(owned)}"


def one_content_per_id(found: Found) -> Iterator[str]:
    """An event id stands for one content.

    When it was written down may differ, and when a refusal was said: a request that comes to the
    venue again after its order is over is refused again.
    """
    for event in found.all_events:
        first = found.events[event.event_id]
        if event is not first and _timeless(event) != _timeless(first):
            yield f"event ids: {event.event_id} has two contents, {_differing(event, first)}"


def _timeless(event: OrderEvent) -> OrderEvent:
    at_ns = 0 if event.event in _SAID_AGAIN else event.ts_event_ns
    return evolve(event, ts_init_ns=0, ts_event_ns=at_ns)


def _differing(one: OrderEvent, other: OrderEvent) -> str:
    mine, its = one.__dict__, other.__dict__
    return ", ".join(f"{n}: {its[n]} and {mine[n]}" for n in mine if mine[n] != its[n])


def one_order_per_client_id(found: Found) -> Iterator[str]:
    """What goes to the venue under one client order id and request is always the same."""
    seen: dict[tuple[str, str], Any] = {}
    kafka = found.world.kafka
    for topic in (VENUE_VIRTUAL_ORDERS, VENUE_REST_ORDERS):
        for record in kafka.all_of(topic.name):
            order = record.value
            first = seen.setdefault((order.client_order_id, order.request_id), order)
            if order is not first and order != first:
                name = f"{order.client_order_id} {order.request_id}"
                yield f"client ids: {name} was sent as two orders"
    at_venue = Counter(
        row.client_order_id
        for kind in (OrderRecord, ClosedRecord)
        for row in found.rows("gateway", kind)
    )
    for name, times in at_venue.items():
        if times > 1:
            yield f"client ids: {name} is {times} orders at the venue"


def every_order_ends_once(found: Found) -> Iterator[str]:
    """An order, or an exit of one, has one terminal outcome, or is open at the venue."""
    open_at_venue = {(row.account, row.order_id) for row in found.rows("gateway", OrderRecord)}
    open_at_venue |= {
        (deal.order.account, deal.order.order_id)
        for deal in found.deals.values()
        if deal.status in OPEN
    }
    ends: Counter[tuple[str, str]] = Counter(
        (event.account, event.order_id) for event in found.events.values() if event.event in _ENDS
    )
    submits = (one.value for one in found.world.pushed if one.kind == "command")
    asked = {(one.account, one.order_id): None for one in submits if isinstance(one, Submit)}
    exits = (view for view in found.views.values() if view and view.parent_order_id)
    for name in asked | {(one.account, one.order_id): None for one in exits}:
        view = found.views.get("|".join(name))
        if view is None:
            yield f"outcome: order {name} has none, nobody knows it"
            continue
        ended = view.status in TERMINAL
        if ended is (name in open_at_venue):
            where = "open at the venue" if name in open_at_venue else "not open at the venue"
            yield f"outcome: order {name} is {view.status} for us and {where}"
        if ends[name] + (view.status is OrderStatus.FILLED) != ended:
            yield f"outcome: order {name} is {view.status} and ended {ends[name]} times"


def position_is_what_was_filled(found: Found) -> Iterator[str]:
    """Positions, the validator's holdings, the orders and the venue all say the same."""
    held: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    filled: dict[str, Decimal] = defaultdict(Decimal)
    for event in found.fills.values():
        assert event.fill is not None
        signed = event.fill.last_qty if event.side == "buy" else -event.fill.last_qty
        held[event.account, event.symbol or ""] += signed
        filled[event.client_order_id or ""] += event.fill.last_qty
    for kind in (OrderRecord, ClosedRecord):
        for row in found.rows("gateway", kind):
            told = filled.pop(row.client_order_id, ZERO)
            if told != row.cum_qty:
                yield f"position: {row.client_order_id} filled {row.cum_qty}, {told} was told"
    for name in found.deals:
        filled.pop(name, None)  # `the_broker_agrees` looks at it
    for name, qty in filled.items():
        yield f"position: {name} filled {qty}, and the venue does not know it"
    booked = {(row.account, row.symbol): row.qty for row in found.rows("positions", PositionState)}
    risked = {
        (row.account, symbol): holding.qty
        for row in found.rows("validator", RiskAccount)
        for symbol, holding in row.holdings.items()
    }
    for place in {*held, *booked, *risked}:
        each = held.get(place, ZERO), booked.get(place, ZERO), risked.get(place, ZERO)
        if len(set(each)) > 1:
            yield "position: {} fills say {}, positions {}, the validator {}".format(place, *each)


def every_input_is_answered_once(found: Found) -> Iterator[str]:
    """A command has one answer: a verdict, a duplicate, or a dead letter."""
    asked: Counter[tuple[str, ...]] = Counter()
    bad: set[tuple[str, int, int]] = set()
    told: set[tuple[str, int, int]] = set()
    for record in found.world.kafka.all_of(ORDERS_REQUESTED.name):
        if record.value is None or isinstance(record.value, Malformed) or is_poison(record.value):
            bad.add((record.topic, record.partition, record.offset))
        else:
            kind = "submit" if isinstance(record.value, Submit) else "request"
            asked[record.value.account, record.value.order_id, kind] += 1
    answered: Counter[tuple[str, ...]] = Counter()
    for event in found.events.values():
        if event.event_id.startswith("validator:"):
            request = event.request_id is not None
            answered[event.account, event.order_id, "request" if request else "submit"] += 1
    for name in {*asked, *answered}:
        if asked[name] != answered[name]:
            yield f"inputs: {name} came {asked[name]} times, was answered {answered[name]} times"
    ticks = {
        (record.topic, record.partition, record.offset)
        for topic in (MARKET_TRADES, MARKET_QUOTES)
        for record in found.world.kafka.all_of(topic.name)
        if is_poison(record.value)
    }
    for code, source, text in _dead_letters(found):
        if code not in BAD_INPUT and not (code == "AGENT_ERROR" and source in bad | ticks):
            yield f"inputs: dead letter {code}: {text}"
        told.add(source)
    bad = (bad | ticks) - told
    for place in bad:
        yield f"inputs: nobody set the bad record at {place} aside"


def _dead_letters(found: Found) -> Iterator[tuple[str, tuple[str, int, int], str]]:
    for record in found.world.kafka.all_of(DEAD_LETTERS.name):
        told = {name: value.decode() for name, value in record.headers}
        number, offset = told["__streams.errors.partition"], told["__streams.errors.offset"]
        place = told["__streams.errors.topic"], int(number), int(offset)
        text = f"{told['orderflow.agent']} at {place}"
        yield told["orderflow.code"], place, f"{text}: {told['__streams.errors.message']}"


def tables_equal_a_rebuild(found: Found) -> Iterator[str]:
    """Orders and positions are the fold of the events, read once from the first to the last."""
    nothing = PositionsDeps(ControlSet, lambda _: None)
    fresh: dict[str, Agent[Any]] = {"tracker": Tracker(), "positions": Positions(nothing)}
    for name, agent in fresh.items():
        for number in range(PARTITIONS):
            unit: MemoryUnit[Any] = MemoryUnit(now_ns=found.world.now_ns, partition=number)
            step = agent.step
            for record in found.world.kafka.logs[ORDERS_EVENTS.name, number]:
                step(unit, record)
            live = _state(found, name, number)
            for key in {*unit.state, *live}:
                if key.startswith(OF_OUR_TIME):
                    continue
                if unit.state.get(key) != live.get(key):
                    yield f"tables: {name} has another {key} than a rebuild from the events"


def _state(found: Found, name: str, number: int) -> dict[str, Any]:
    return next(
        task.lanes[number].state.rows()
        for _, task, owned in found.tasks()
        if (task.spec.name, owned) == (name, number)
    )


def tables_equal_their_changelog(found: Found) -> Iterator[str]:
    """What a process holds is what another one would restore."""
    for _, task, number in found.tasks():
        state = task.lanes[number].state
        restored = type(state)(state._adapter)
        restored.catch_up(found.world.kafka.changelogs[task.lanes[number].changelog])
        if restored.rows() != state.rows():
            yield f"tables: {task.spec.name} on {number} is not what its changelog says"


def engines_equal_their_table(found: Found) -> Iterator[str]:
    """The venue's engines hold the open orders of the table, as the table has them."""
    for worker, task, number in found.tasks():
        agent = task.agent
        if not isinstance(agent, Gateway):
            continue
        stored = {
            key: row
            for key, row in task.lanes[number].state.rows().items()
            if isinstance(row, OrderRecord)
        }
        engines: Any = agent._broker
        held = {
            f"{symbol}|{order.client_order_id}": record_of(order, 0)
            for symbol in agent._partitions[number].symbols
            if symbol in engines._engines
            for order in engines._engines[symbol].open_orders()
        }
        if held != stored:
            yield f"tables: {worker.role} works on {sorted(held)}, its table has {sorted(stored)}"


def updates_are_current(found: Found) -> Iterator[str]:
    """The newest order and position that was published is the one that the table has."""
    newest: dict[str, Any] = {}
    for topic in (ORDERS_UPDATES, POSITIONS_UPDATES):
        for record in found.world.kafka.all_of(topic.name):
            key = f"{topic.name} {(record.key or b'').decode()}"
            if key not in newest or record.value.version >= newest[key].version:
                newest[key] = record.value
    for key, view in found.views.items():
        if view is not None and newest.get(f"{ORDERS_UPDATES.name} {key}") != view:
            yield f"updates: order {key} was not published as it is"
    for key, row in found.tables["positions"].items():
        if isinstance(row, PositionState):
            told = newest.get(f"{POSITIONS_UPDATES.name} {key}")
            if told is None or (told.qty, told.version) != (row.qty, row.version):
                yield f"updates: position {key} was not published as it is"


def nothing_stays_reserved(found: Found) -> Iterator[str]:
    """The validator holds an order for open just as long as it is."""
    for row in found.rows("validator", RiskOrder):
        view = found.views.get(f"{row.account}|{row.order_id}")
        if view is not None and row.live is (view.status in TERMINAL):
            yield f"exposure: {row.account}|{row.order_id} is {view.status}, live: {row.live}"


def venue_events_are_told(found: Found) -> Iterator[str]:
    """What the venue's table says it published is in the history of record."""
    for row in found.rows("gateway", Published):
        for event in row.events:
            if event.event_id not in found.events:
                yield f"venue: event {event.event_id} was never published"


CHECKS = (
    at_rest,
    one_content_per_id,
    one_order_per_client_id,
    every_order_ends_once,
    position_is_what_was_filled,
    every_input_is_answered_once,
    tables_equal_a_rebuild,
    tables_equal_their_changelog,
    engines_equal_their_table,
    updates_are_current,
    nothing_stays_reserved,
    venue_events_are_told,
)
#: And in the runs with a broker across a network; first, for they say more.
SENDS = (
    one_order_at_the_broker,
    the_broker_agrees,
    every_intent_ends,
    the_last_comparison_found_nothing,
    desks_work,
)
assert {spec.name for spec in AGENTS} >= {"validator", "router", "gateway", "tracker", "positions"}
