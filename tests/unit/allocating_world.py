"""A small world for the allocator: a gate and a venue that answer its commands, and crashes.

Records wait in lists until a test lets them go on; what happens is chosen by the test.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from agents.allocator import Allocator
from streams.domain.controls import ControlSet
from streams.domain.validation import normalise
from streams.models.allocations import Allocation, CancelTargets, SetTargets
from streams.models.controls import Instrument
from streams.models.orders import Cancel, OrderEvent, Submit
from streams.ports import BulkAgent, Record
from streams.topics import (
    ALLOCATIONS_REQUESTED,
    ALLOCATIONS_UPDATES,
    ORDERS_EVENTS,
    ORDERS_REQUESTED,
    TopicSpec,
)
from tests.builders import NOW_NS, event, fill, record
from tests.fakes import MemoryUnit


def targets(**fields: Any) -> SetTargets:
    """Return a request: by default 100 AIG for account A1 under the id `t1`."""
    given = {"command": "target", "allocation_id": "t1", "account": "A1"}
    if "targets" not in fields:
        given["targets"] = {"AIG": "100"}  # type: ignore[assignment]
    return SetTargets.model_validate(given | fields)


def stop(**fields: Any) -> CancelTargets:
    """Return a cancel of the allocation `t1`."""
    given = {"command": "cancel", "allocation_id": "t1", "account": "A1"}
    return CancelTargets.model_validate(given | fields)


def instruments(**lots: str) -> ControlSet:
    """Return controls with these symbols and lots."""
    return ControlSet().with_records(
        Instrument(scope=one, symbol=one, lot_size=Decimal(lot), min_qty=Decimal(lot), version=1)
        for one, lot in lots.items()
    )


@dataclass
class Order:
    """An order at the venue."""

    submit: Submit
    left: Decimal
    fills: int = 0


@dataclass
class World:
    """An allocator with its table, and all that is around it."""

    controls: ControlSet = field(default_factory=lambda: instruments(AIG="1", IBM="1"))
    state: dict[str, Any] = field(default_factory=dict)
    commands: list[Submit | Cancel] = field(default_factory=list)
    events: list[OrderEvent] = field(default_factory=list)
    told: list[OrderEvent] = field(default_factory=list)
    updates: list[Any] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    known: dict[str, Submit] = field(default_factory=dict)
    letters: list[str] = field(default_factory=list)
    canceling: list[Cancel] = field(default_factory=list)
    position: Decimal = Decimal(0)
    refuse: frozenset[str] = frozenset()
    offset: int = 0
    asked_on: TopicSpec = ALLOCATIONS_REQUESTED
    told_on: TopicSpec = ALLOCATIONS_UPDATES
    now_ns: int = NOW_NS

    def __post_init__(self) -> None:
        """Start a worker."""
        self.start()

    def start(self) -> None:
        """Start the worker, anew with what the table holds."""
        self.agent = self.build()
        live = [one for one in self.state.items() if getattr(one[1], "live", False)]
        self.agent.on_assigned(0, live)

    def build(self) -> BulkAgent[Any]:
        """Return a new agent."""
        return Allocator(lambda: self.controls, lambda _: 0)

    def give(self, *records: Record) -> MemoryUnit[Any]:
        """Give the agent records of one topic, in one unit."""
        unit: MemoryUnit[Any] = MemoryUnit(self.state, self.now_ns)
        self.agent.fold(unit, records)
        self._take(unit)
        return unit

    def tick(self) -> None:
        """Let time pass by."""
        unit: MemoryUnit[Any] = MemoryUnit(self.state, self.now_ns)
        self.agent.on_timer(unit)
        self._take(unit)

    def _take(self, unit: MemoryUnit[Any]) -> None:
        self.commands += unit.values(ORDERS_REQUESTED)
        self.updates += unit.values(self.told_on)
        self.letters += [letter.code for letter in unit.dead_letters]

    def record(self, value: Any, topic: TopicSpec, *, again: bool = False) -> Record:
        """Return a record with the next offset."""
        self.offset += 1
        return record(value, topic, self.offset, redelivered=again)

    def ask(self, *requests: Any) -> MemoryUnit[Any]:
        """Give the agent requests."""
        return self.give(*(self.record(one, self.asked_on) for one in requests))

    def hear(self, *events: OrderEvent) -> MemoryUnit[Any]:
        """Give the agent events."""
        return self.give(*(self.record(one, ORDERS_EVENTS) for one in events))

    def gate(self) -> None:
        """Let the gate judge the oldest command, and the venue take it."""
        command = self.commands.pop(0)
        if isinstance(command, Cancel):
            self._cancel(command)
        elif command.order_id in self.known:
            self.events.append(said(command, "duplicate", suffix=str(self.offset)))
        elif command.symbol in self.refuse:
            self.known[command.order_id] = command
            reason = {"code": "UNKNOWN_SYMBOL", "text": "no such symbol"}
            terms = normalise(command)
            self.events.append(said(command, "rejected", terms=terms, refusal=reason, broker=""))
        else:
            self.known[command.order_id] = command
            self.orders[command.order_id] = Order(command, command.qty or Decimal(0))
            self.events.append(said(command, "approved", terms=normalise(command), broker=""))

    def _cancel(self, command: Cancel) -> None:
        order = self.orders.get(command.order_id)
        submit = self.known[command.order_id]
        request = {"request_id": command.request_id}
        if order is None or not order.left:
            self.events.append(
                said(submit, "cancel_rejected", suffix=str(self.offset), broker="", **request)
            )
            return
        self.events.append(said(submit, "pending_cancel", broker="", **request))
        self.canceling.append(command)

    def cancel(self) -> None:
        """Let the venue come to the oldest cancel: it is too late, or ends the order."""
        command = self.canceling.pop(0)
        if self.orders[command.order_id].left:
            self.end(command.order_id, "canceled")
            return
        request, submit = {"request_id": command.request_id}, self.known[command.order_id]
        self.events.append(said(submit, "cancel_rejected", suffix="late", **request))

    def end(self, order_id: str, kind: str) -> None:
        """Let an order end."""
        order = self.orders[order_id]
        order.left = Decimal(0)
        self.events.append(said(order.submit, kind))

    def fill(self, order_id: str, qty: Decimal | int | None = None) -> None:
        """Fill an order, or a part of it."""
        order = self.orders[order_id]
        size = order.left if qty is None else min(Decimal(qty), order.left)
        order.left -= size
        order.fills += 1
        total = (order.submit.qty or Decimal(0)) - order.left
        done = fill(f"{order_id}:{order.fills}", str(size), cum_qty=str(total))
        self.events.append(said(order.submit, "fill", fill=done))
        self.position += size if order.submit.side == "buy" else -size

    def deliver(self) -> None:
        """Let the agent have the oldest event."""
        self.told.append(self.events.pop(0))
        self.hear(self.told[-1])

    def open(self) -> list[str]:
        """Return the orders that can be filled."""
        return [name for name, order in self.orders.items() if order.left]

    def run(self) -> None:
        """Let everything happen until nothing is left: orders fill whole."""
        while self.commands or self.events or self.canceling or self.open():
            if self.commands:
                self.gate()
            elif self.events:
                self.deliver()
            elif self.canceling:
                self.cancel()
            else:
                self.fill(self.open()[0])

    def last(self, allocation_id: str = "t1") -> Allocation:
        """Return an allocation as it was last told."""
        found = (one for one in reversed(self.updates) if one.allocation_id == allocation_id)
        return next(found)


def said(submit: Submit, kind: str, *, suffix: str = "", **fields: Any) -> OrderEvent:
    """Return an event of an order."""
    name = fields.get("request_id") or (fields["fill"].exec_id if "fill" in fields else "")
    given = {
        "order_id": submit.order_id,
        "account": submit.account,
        "symbol": submit.symbol,
        "side": submit.side,
        "strategy": submit.strategy,
        "client_order_id": submit.order_id,
        "event_id": f"{submit.order_id}:{kind}:{name}:{suffix}",
    }
    return event(kind, **(given | fields))


def states(found: Allocation) -> dict[str, tuple[str, Decimal]]:
    """Return each symbol's state and position."""
    return {line.symbol: (line.state, line.position_qty) for line in found.order_fill}


def submits(commands: Iterable[Submit | Cancel]) -> list[tuple[str, str, Decimal | None]]:
    """Return id, side and quantity of the submits."""
    found = (one for one in commands if isinstance(one, Submit))
    return [(one.order_id, one.side.value, one.qty) for one in found]
