"""Positions out of fills, cheaply: a row for each order, none for each execution.

An order's row knows its executions by id, so each counts once, however often it comes. What
a bust or correction takes back is found there as well, by the rules of `executions`; one that
comes before its fill waits in the row. A row leaves a week after its newest record. What then
comes again has happened longer ago than that, and is not counted.
"""

from decimal import Decimal
from typing import Any

from streams.domain.aging import DAY_NS, KEEP_DAYS
from streams.domain.allocating.rows import OrderFills
from streams.domain.build import evolve, make
from streams.domain.decimals import EXACT, ZERO
from streams.domain.executions import Contradiction, Execution, record_execution
from streams.models.orders import EventType, Fill, OrderEvent, Side

_EMPTY = make(OrderFills, counted={}, odd={})


class _Known:
    """The executions of one order, for `record_execution`."""

    def __init__(self, row: OrderFills, event: OrderEvent, fill: Fill) -> None:
        self.counted = dict(row.counted)
        self.odd = dict(row.odd)
        self._event, self._px = event, fill.last_px

    def get(self, exec_id: str) -> Execution | None:
        """Return an execution; of a plain fill the price is not known, and not asked for."""
        signed = self.counted.get(exec_id)
        if exec_id in self.odd or signed is None:
            return self.odd.get(exec_id)
        return make(
            Execution,
            exec_id=exec_id,
            event=EventType.FILL,
            order_id=self._event.order_id,
            symbol=self._event.symbol,
            side=Side.BUY if signed > 0 else Side.SELL,
            qty=signed.copy_abs(),
            px=self._px,
        )

    def put(self, execution: Execution) -> None:
        """Keep an execution whole, since something is odd about it."""
        self.odd[execution.exec_id] = execution
        self.counted.pop(execution.exec_id, None)


def booked(
    row: OrderFills | None, event: OrderEvent, at_ns: int, until: str
) -> tuple[OrderFills, Decimal] | None:
    """Return an order's row after an execution event, and what it adds to the position.

    None: known, too old to say, or unusable; the tracker and the positions tell of the latter.
    `at_ns` is the time of the event's record, `until` the day that its row stays for.
    """
    before, fill = row or _EMPTY, event.fill
    if fill is None or event.symbol is None:
        return None
    if event.event is EventType.FILL and fill.exec_id not in before.odd:
        return _plain(before, event, fill, at_ns, until)
    if _too_old(before, event, at_ns):
        return None
    known = _Known(before, event, fill)
    changes = record_execution(known, event)
    if changes is None or isinstance(changes, Contradiction):
        return None
    delta = ZERO
    for change in changes:
        signed = change.execution.signed_qty
        delta = EXACT.add(delta, signed if change.counts else signed.copy_negate())
    return _kept(before, event, until, {"counted": known.counted, "odd": known.odd}), delta


def _plain(
    before: OrderFills, event: OrderEvent, fill: Fill, at_ns: int, until: str
) -> tuple[OrderFills, Decimal] | None:
    """Count a fill about which nothing is odd."""
    if fill.exec_id in before.counted or event.side is None or fill.last_qty <= 0:
        return None
    if _too_old(before, event, at_ns):
        return None
    signed = fill.last_qty if event.side is Side.BUY else fill.last_qty.copy_negate()
    counted = {**before.counted, fill.exec_id: signed}
    return _kept(before, event, until, {"counted": counted}), signed


def _kept(before: OrderFills, event: OrderEvent, until: str, update: dict[str, Any]) -> OrderFills:
    strategy = before.strategy or event.strategy
    return evolve(before, strategy=strategy, until=max(until, before.until), **update)


def _too_old(before: OrderFills, event: OrderEvent, at_ns: int) -> bool:
    """Say whether an execution may have been counted and forgotten."""
    return not before.until and event.ts_event_ns < at_ns - KEEP_DAYS * DAY_NS
