"""Keep each order's state.

In      orders.events, key account
Out     orders.updates, key account|order_id on the account's partition: the whole order with its
        version, once per batch that changed it
State   table `orders`: orders and their executions, written here only
Twice   a known event changes nothing; a redelivered record emits the order again as it now is
Bad     an event that contradicts what is known goes to the dead letters: another symbol or side
        than the order's, an execution id with other content, a fill without what makes one.
        An event of an unknown order makes one without terms; only a refused request makes none
"""

from streams.domain.executions import Contradiction
from streams.domain.order_state import OrderState, advance
from streams.domain.order_view import order_of
from streams.models.orders import OrderEvent
from streams.ports import Agent, Record, Unit
from streams.topics import ORDERS_UPDATES
from tables.executions import ExecutionRows
from tables.orders import OrderRow, order_key


class Tracker(Agent[OrderRow]):
    """The tracker agent."""

    def __init__(self) -> None:
        self._touched: dict[int, dict[str, None]] = {}

    def step(self, unit: Unit[OrderRow], record: Record) -> None:
        """Apply one event to its order."""
        event: OrderEvent = record.value
        key = order_key(event.account, event.order_id)
        before = _order(unit, key)
        rows = ExecutionRows(unit, event.account, event.broker, not record.redelivered)
        after = advance(before, event, rows)
        if isinstance(after, Contradiction):
            unit.dead_letter(record, after.code, after.text)
            return
        changed = after is not before and not record.redelivered
        if changed and after is not None:
            unit.put(key, after)
        if changed or record.redelivered:
            self._touched.setdefault(unit.partition, {})[key] = None

    def on_batch_end(self, unit: Unit[OrderRow]) -> None:
        """Publish the orders that changed."""
        for key in self._touched.pop(unit.partition, ()):
            state = _order(unit, key)
            order = order_of(state) if state else None
            if order is not None:
                unit.emit(ORDERS_UPDATES, key, order, partition_key=order.account)


def _order(unit: Unit[OrderRow], key: str) -> OrderState | None:
    found = unit.get(key)
    return found if isinstance(found, OrderState) else None
