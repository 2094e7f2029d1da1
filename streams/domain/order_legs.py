"""The orders at brokers that one order consists of: itself, or the legs of a split.

Also whose word on an order's terms holds: the highest revision, then the better source, then the
latest time, then the smaller quantity.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from streams.domain.build import evolve, make
from streams.domain.decimals import EXACT, ZERO
from streams.domain.executions import Change
from streams.domain.order_table import ENDS, TERMS_RANK
from streams.models.base import Part, WideDec
from streams.models.orders import EventType, OrderEvent

#: Revision, `TERMS_RANK` and `ts_event_ns` of the event that terms or a quantity come from.
At = tuple[int, int, int]
NOT_YET: At = (-1, -1, -1)


class Leg(Part):
    """One order at a broker: the whole order, or one part of a split one."""

    client_order_id: str
    leg: str = ""
    broker: str = ""
    qty: WideDec | None = None
    qty_at: At = NOT_YET
    cum_qty: WideDec = ZERO
    venue_cum_qty: WideDec = ZERO
    venue_cum_ns: int = 0
    outcome: EventType | None = None

    @property
    def done(self) -> bool:
        """Say whether nothing more is to come of this leg."""
        return self.outcome is not None or (self.qty is not None and self.cum_qty >= self.qty)


def at_of(event: OrderEvent) -> At:
    """Return where an event's word on terms stands among others."""
    return event.revision, TERMS_RANK.get(event.event, 0), event.ts_event_ns


def outranks(at: At, qty: Decimal | None, than: At, than_qty: Decimal | None) -> bool:
    """Say whether terms from `at` with `qty` take the place of those from `than`."""
    if at != than or qty is None or than_qty is None:
        return at > than
    return qty < than_qty


def with_event(
    legs: tuple[Leg, ...], event: OrderEvent, changes: Iterable[Change]
) -> tuple[Leg, ...]:
    """Return the legs with what an event says of one, and with changed executions of any."""
    name = event.client_order_id or ""
    by_id = {leg.client_order_id: leg for leg in legs}
    by_id[name] = _leg(by_id.get(name) or make(Leg, client_order_id=name), event)
    for change in changes:
        one = change.execution
        leg = by_id.get(one.client_order_id) or make(Leg, client_order_id=one.client_order_id)
        add = EXACT.add if change.counts else EXACT.subtract
        by_id[one.client_order_id] = evolve(leg, cum_qty=add(leg.cum_qty, one.qty))
    if len(by_id) == 1:
        return tuple(by_id.values())
    return tuple(by_id[each] for each in sorted(by_id))


def _leg(leg: Leg, event: OrderEvent) -> Leg:
    update: dict[str, Any] = {}
    if event.leg > leg.leg:
        update["leg"] = event.leg
    if event.broker > leg.broker:
        update["broker"] = event.broker
    at, terms = at_of(event), event.terms
    if terms is not None and outranks(at, terms.qty, leg.qty_at, leg.qty):
        update |= {"qty": terms.qty, "qty_at": at}
    if event.event in ENDS:
        ends = [end for end in ENDS if end in (leg.outcome, event.event)]
        update["outcome"] = ends[0]
    fill = event.fill
    if fill is not None and (event.ts_event_ns, fill.cum_qty) > (
        leg.venue_cum_ns,
        leg.venue_cum_qty,
    ):
        update |= {"venue_cum_qty": fill.cum_qty, "venue_cum_ns": event.ts_event_ns}
    return evolve(leg, **update) if update else leg
