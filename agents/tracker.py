"""Keep each order's state, and compare it with what the virtual venue states.

In      orders.events, statements, key account
Out     orders.updates, key account|order_id on the account's partition: the whole order with its
        version, once per batch that changed it. reconciliations: what the venue states otherwise,
        and a summary, every `reconcile_every_s`
State   table `orders`: orders and their executions, written here only. What is over for a week
        leaves, and is known as gone for a while; the history and orders.updates keep it
Twice   a known event changes nothing; a redelivered record emits the order again as it now is.
        A statement that comes again is passed over: the next one says the same
Bad     an event that contradicts what is known goes to the dead letters: another symbol or side
        than the order's, an execution id with other content, a fill without what makes one; and
        an event of an order that left, ORDER_LEFT, since what it would change is not here.
        An event of an unknown order makes one without terms; only a refused request makes none
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from streams.domain.aging import GONE_DAYS, KEEP_DAYS, Gone, day_after
from streams.domain.auditing import Audit
from streams.domain.build import make
from streams.domain.capabilities import VIRTUAL
from streams.domain.executions import Contradiction, Execution
from streams.domain.exposure import day_of
from streams.domain.matching.config import SECOND_NS
from streams.domain.order_state import OrderState, advance, says_nothing_new
from streams.domain.order_view import order_of
from streams.models.orders import TERMINAL, OrderEvent
from streams.models.statements import Statement
from streams.ports import Agent, Record, Unit
from streams.topics import ORDERS_UPDATES, RECONCILIATIONS
from tables.aging import Sweeps, leave_later
from tables.executions import ExecutionRows
from tables.orders import OrderRow, order_key

#: Executions are looked at a day after the orders of their day: most leave at the first look.
EXECUTIONS_LATER_DAYS = 1


@dataclass(slots=True)
class _Batch:
    """What a batch of one partition touched, until its end."""

    orders: dict[str, None] = field(default_factory=dict)
    executions: dict[str, Execution] = field(default_factory=dict)


class Tracker(Agent[OrderRow]):
    """The tracker agent. `reconcile_every_ns`: how often comparisons with the venue are told."""

    def __init__(self, reconcile_every_ns: int = 60 * SECOND_NS) -> None:
        self._batches: dict[int, _Batch] = {}
        self._sweeps = Sweeps()
        self._every_ns = reconcile_every_ns
        self._audits: dict[int, Audit] = {}

    def step(self, unit: Unit[OrderRow], record: Record) -> None:
        """Apply one event to its order, or compare a statement with ours."""
        if isinstance(record.value, Statement):
            if not record.redelivered:
                self._audit(unit.partition).take(record.value, _finding(unit), unit.now_ns)
            return
        event: OrderEvent = record.value
        key = order_key(event.account, event.order_id)
        found = unit.get(key)
        if isinstance(found, Gone):
            _left(unit, record, event, found)
            return
        before = found if isinstance(found, OrderState) else None
        batch = self._batches.setdefault(unit.partition, _Batch())
        writable = not record.redelivered
        rows = ExecutionRows(unit, event.account, event.broker, writable, batch.executions)
        after = advance(before, event, rows)
        if isinstance(after, Contradiction):
            unit.dead_letter(record, after.code, after.text)
            return
        changed = after is not before and not record.redelivered
        if changed and after is not None:
            unit.put(key, after)
        if changed or record.redelivered:
            batch.orders[key] = None

    def on_batch_end(self, unit: Unit[OrderRow]) -> None:
        """Publish the orders that changed; note when those that are over leave."""
        batch = self._batches.pop(unit.partition, None)
        if batch is None:
            return
        over: list[str] = []
        for key in batch.orders:
            state = unit.get(key)
            order = order_of(state) if isinstance(state, OrderState) else None
            if order is not None:
                unit.emit(ORDERS_UPDATES, key, order, partition_key=order.account)
            if state is not None and (order is None or order.status in TERMINAL):
                over.append(key)
        today = day_of(unit.now_ns)
        if over:
            leave_later(unit, day_after(today, KEEP_DAYS), over)
        if batch.executions:
            later = day_after(today, KEEP_DAYS + EXECUTIONS_LATER_DAYS)
            leave_later(unit, later, batch.executions)

    def on_timer(self, unit: Unit[OrderRow]) -> None:
        """Let orders go that have been over for long, their executions after them."""
        if self._sweeps.due(unit):
            _sweep(unit, self._sweeps.keys(unit))
        for found in self._audit(unit.partition).close(unit.now_ns):
            unit.emit(RECONCILIATIONS, found.account or f"{found.broker}:{found.partition}", found)

    def idle_until(self, partition: int, ts_ns: int) -> int:
        """Return when the next sweep can find something."""
        del partition
        return self._sweeps.idle_until(ts_ns)

    def on_revoked(self, partition: int) -> None:
        """Forget when the partition was swept, and what differed."""
        self._sweeps.forget(partition)
        self._audits.pop(partition, None)

    def _audit(self, partition: int) -> Audit:
        if partition not in self._audits:
            self._audits[partition] = Audit(VIRTUAL.broker, partition, self._every_ns)
        return self._audits[partition]


def _finding(unit: Unit[OrderRow]) -> Callable[[str, str], OrderState | None]:
    def find(account: str, order_id: str) -> OrderState | None:
        row = unit.get(order_key(account, order_id))
        return row if isinstance(row, OrderState) else None

    return find


def _left(unit: Unit[OrderRow], record: Record, event: OrderEvent, gone: Gone) -> None:
    """Set an event aside whose order left, unless it says nothing or was here in time."""
    in_time = record.redelivered and day_of(event.ts_init_ns) <= gone.day
    if not in_time and not says_nothing_new(event):
        text = f"order {event.order_id} left on {gone.day}: {event.event} {event.event_id}"
        unit.dead_letter(record, "ORDER_LEFT", f"{text}; the history has the order as it was")


def _sweep(unit: Unit[OrderRow], due: Iterable[str]) -> None:
    """Let go what is due, and note what stays a while longer."""
    gone: list[str] = []
    waiting: list[str] = []
    for key in due:
        row = unit.get(key)
        if isinstance(row, OrderState):
            if _leave(unit, key, row):
                gone.append(key)
        elif isinstance(row, Execution):
            order = unit.get(order_key(key.partition("#")[0], row.order_id))
            if isinstance(order, OrderState):
                waiting.append(key)
            else:
                unit.delete(key)
        elif isinstance(row, Gone) and day_after(row.day, GONE_DAYS) < day_of(unit.now_ns):
            unit.delete(key)
    today = day_of(unit.now_ns)
    for keys, days in ((gone, GONE_DAYS), (waiting, KEEP_DAYS)):
        if keys:
            leave_later(unit, day_after(today, days), keys)


def _leave(unit: Unit[OrderRow], key: str, state: OrderState) -> bool:
    """Let an order go if it is over, and say if its id stays known.

    One that is open again will be noted again when it is over; what only refused requests have
    brought about leaves without a trace.
    """
    order = order_of(state)
    if order is None:
        unit.delete(key)
    elif order.status in TERMINAL:
        unit.put(key, make(Gone, day=day_of(unit.now_ns)))
        return True
    return False
