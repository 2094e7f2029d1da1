"""The open orders of a symbol, what happened to them, and which of them changed.

Every event's id is a function of the order and of what happened, so that a repetition of the
input repeats it to the byte.
"""

from decimal import Decimal
from hashlib import blake2b
from typing import Any

from streams.domain.build import make
from streams.domain.matching.config import VenueConfig
from streams.domain.matching.exact import times
from streams.domain.matching.fees import commission
from streams.domain.matching.orders import OpenOrder, record_of
from streams.domain.matching.records import ClosedRecord, OrderRecord
from streams.domain.refusals import Code
from streams.models.orders import EventType, Fill, OrderEvent, OrderStatus, Refusal

BROKER = "virtual"
_MAX_ID = 256
#: What the venue does with a new order: these events say under which controls it was sent.
_SENT = (EventType.ACCEPTED, EventType.REJECTED)


def long_id(*parts: object) -> str:
    """Return the parts joined by colons; over 256 characters, a digest takes the tail's place."""
    joined = ":".join(map(str, parts))
    if len(joined) <= _MAX_ID:
        return joined
    return f"{joined[: _MAX_ID - 33]}:{blake2b(joined.encode(), digest_size=16).hexdigest()}"


class Ledger:
    """The open orders of one symbol. `clock_ns` is the venue's time, `now_ns` is ours."""

    def __init__(self, symbol: str, config: VenueConfig) -> None:
        self.symbol = symbol
        self.config = config
        self.clock_ns = 0
        self.now_ns = 0
        self.seq = 0
        self.orders: dict[str, OpenOrder] = {}
        self.events: list[OrderEvent] = []
        self._changed: dict[str, OpenOrder] = {}

    def next_seq(self) -> int:
        """Return the next number of arrival."""
        self.seq += 1
        return self.seq

    def add(self, order: OpenOrder) -> None:
        """Take an order in."""
        self.orders[order.client_order_id] = order
        self.touch(order)

    def touch(self, order: OpenOrder) -> None:
        """Note that an order changed."""
        self._changed[order.client_order_id] = order

    def report(self, order: OpenOrder, event: EventType, *suffix: object, **blocks: Any) -> None:
        """Write down what happened to an order; `suffix` tells repeatable events apart."""
        self.events.append(
            make(
                OrderEvent,
                event_id=long_id(order.client_order_id, event, *suffix),
                event=event,
                order_id=order.order_id,
                account=order.account,
                symbol=self.symbol,
                client_order_id=order.client_order_id,
                leg=order.leg,
                broker=BROKER,
                strategy=order.strategy,
                revision=order.revision,
                parent_order_id=order.parent_order_id,
                side=order.terms.side,
                controls_version=order.controls_version if event in _SENT else 0,
                ts_requested_ns=order.ts_requested_ns,
                ts_event_ns=self.clock_ns,
                ts_init_ns=self.now_ns,
                **blocks,
            )
        )

    def fill(self, order: OpenOrder, qty: Decimal, px: Decimal) -> None:
        """Execute a part of an order, or all that is left of it, which ends it."""
        order.cum_qty += qty
        order.value += times(qty, px)
        order.execs += 1
        charged = self._charge(order)
        execution = make(
            Fill,
            exec_id=long_id(order.client_order_id, order.execs),
            last_qty=qty,
            last_px=px,
            cum_qty=order.cum_qty,
            commission=charged,
        )
        self.report(order, EventType.FILL, order.execs, fill=execution)
        self.touch(order)
        if order.leaves == 0:
            self.end(order, OrderStatus.FILLED)

    def end(self, order: OpenOrder, status: OrderStatus) -> None:
        """Take an order out. What was asked of it and is still on its way comes too late."""
        order.status = status
        self.orders.pop(order.client_order_id, None)
        self.touch(order)
        commands, order.commands = order.commands, []
        for command in commands:
            refusal = Refusal(code=Code.TOO_LATE, text=f"the order is {status}")
            self.report_refused(order, command.command, command.request_id, refusal)

    def report_refused(
        self, order: OpenOrder, command: str, request_id: str, refusal: Refusal
    ) -> None:
        """Write down that a cancel or replace is refused; the order stays as it is."""
        cancels = command == "cancel"
        event = EventType.CANCEL_REJECTED if cancels else EventType.REPLACE_REJECTED
        self.report(order, event, request_id, request_id=request_id, refusal=refusal)

    def take_events(self) -> list[OrderEvent]:
        """Return what happened since the last call, in order."""
        events, self.events = self.events, []
        return events

    def take_changes(self) -> list[tuple[str, OrderRecord | ClosedRecord]]:
        """Return the records of the orders that changed since the last call, by key."""
        if not self._changed:
            return []
        changed, self._changed = self._changed, {}
        return [
            (f"{self.symbol}|{name}", record_of(order, self.now_ns))
            for name, order in changed.items()
        ]

    def _charge(self, order: OpenOrder) -> Decimal:
        """Return the commission of the execution that was just added, and book it."""
        tariff, fees = commission(
            self.config, selling=not order.buying, qty=order.cum_qty, value=order.value
        )
        charged = tariff + fees - order.commission
        order.commission += charged
        return charged
