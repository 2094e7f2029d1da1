"""Account for every record of a run: what it must become, and what is still missing of that.

Pure and incremental: expectations and observations come one at a time, in any order, and may
repeat. A run is settled when

- each new order ended, or stands open at the venue; one that was invalid ended rejected;
- each cancel and replace was carried out or refused by the venue or before it;
- each repeated order was answered `duplicate`, with a refusal where its content differed;
- each record that is no order is a dead letter, and there is no other dead letter;
- each position is the sum of its distinct fills.
"""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from streams.load import Expected, LoadRecord
from streams.models.orders import TERMINAL, EventType, Order, OrderEvent, OrderStatus, Side
from streams.models.positions import Position

#: Statuses of an order that a broker has and that waits for nobody's answer.
OPEN = frozenset(
    {
        OrderStatus.ACCEPTED,
        OrderStatus.HELD,
        OrderStatus.TRIGGERED,
        OrderStatus.PARTIALLY_FILLED,
        OrderStatus.DONE_FOR_DAY,
        OrderStatus.SUSPENDED,
    }
)
_ANSWERS = {
    EventType.CANCELED: "cancel",
    EventType.CANCEL_REJECTED: "cancel",
    EventType.REPLACED: "replace",
    EventType.REPLACE_REJECTED: "replace",
}

Name = tuple[str, str]  # account and order id, or account and symbol
Request = tuple[str, str, str]  # account, order id, kind


@dataclass(frozen=True, slots=True)
class Counts:
    """How the orders of a run stand. Children of brackets are counted apart.

    `unknown`: nothing was heard of them yet; `pending`: the venue has not answered yet.
    """

    sent: int
    filled: int
    canceled: int
    expired: int
    rejected: int
    open: int
    pending: int
    unknown: int
    fills: int
    dead_letters: int
    children: int


@dataclass(slots=True)
class Tally:
    """The expectations of one run against what was seen."""

    orders: dict[Name, Order] = field(default_factory=dict)
    fill_qty: dict[Name, Decimal] = field(default_factory=dict)
    positions: dict[Name, Position] = field(default_factory=dict)
    _expected: dict[Name, Expected] = field(default_factory=dict)
    _statuses: Counter[OrderStatus] = field(default_factory=Counter)
    _unsettled: set[Name] = field(default_factory=set)
    _children: set[Name] = field(default_factory=set)
    _asked: Counter[Request] = field(default_factory=Counter)
    _answers: dict[Request, set[str]] = field(default_factory=dict)
    _unanswered: set[Request] = field(default_factory=set)
    _garbage: Counter[tuple[bytes, bytes]] = field(default_factory=Counter)
    _letters: dict[tuple[str, ...], tuple[bytes, bytes, str]] = field(default_factory=dict)
    _executions: set[tuple[str, str, str]] = field(default_factory=set)

    def expect(self, record: LoadRecord) -> None:
        """Take up what must become of a record; call it before the record is sent."""
        expected = record.expected
        if expected.order_id is None:
            self._garbage[record.key, record.value] += 1
            return
        name = (expected.account, expected.order_id)
        if expected.new_order:
            self._expected[name] = expected
            self._update(name)
        else:
            request = (*name, str(expected.kind))
            self._asked[request] += 1
            self._compare(request)

    def saw_order(self, order: Order) -> None:
        """Take an order as it stands; an older version than the known one changes nothing."""
        name = (order.account, order.order_id)
        known = self.orders.get(name)
        if known is not None and known.version >= order.version:
            return
        self.orders[name] = order
        if order.parent_order_id is not None:
            self._children.add(name)
            return
        if known is not None:
            self._statuses[known.status] -= 1
        self._statuses[order.status] += 1
        self._update(name)

    def saw_event(self, event: OrderEvent) -> bool:
        """Take an event; return whether it is a fill that was not known."""
        kind = _ANSWERS.get(event.event)
        if event.event is EventType.DUPLICATE and not event.broker:
            kind = "duplicate" if event.refusal is None else "conflict"
        if kind is not None:
            request = (event.account, event.order_id, kind)
            self._answers.setdefault(request, set()).add(event.event_id)
            self._compare(request)
        return event.event is EventType.FILL and self._fill(event)

    def saw_position(self, position: Position) -> None:
        """Take a position as it stands."""
        name = (position.account, position.symbol)
        known = self.positions.get(name)
        if known is None or known.version <= position.version:
            self.positions[name] = position

    def saw_dead_letter(self, key: bytes, value: bytes, headers: dict[str, bytes]) -> None:
        """Take a dead letter; one record that was set aside twice counts once."""
        place = ("topic", "partition", "offset")
        source = tuple(headers.get(f"__streams.errors.{part}", b"").decode() for part in place)
        code = headers.get("orderflow.code", b"").decode()
        self._letters[source] = (key, value, code)

    def counts(self) -> Counts:
        """Return how things stand."""
        by = self._statuses
        known = by.total()
        ended = sum(by[status] for status in TERMINAL)
        is_open = sum(by[status] for status in OPEN)
        return Counts(
            sent=len(self._expected),
            filled=by[OrderStatus.FILLED],
            canceled=by[OrderStatus.CANCELED],
            expired=by[OrderStatus.EXPIRED],
            rejected=by[OrderStatus.REJECTED],
            open=is_open,
            pending=known - ended - is_open,
            unknown=len(self._expected) - known,
            fills=len(self._executions),
            dead_letters=len(self._letters),
            children=len(self._children),
        )

    def settled(self) -> bool:
        """Return whether nothing is missing."""
        return not (self._unsettled or self._unanswered or self.missing())

    def missing(self) -> list[str]:
        """Return a line for everything that is missing or should not be."""
        lines = [self._said_of(name) for name in sorted(self._unsettled)]
        lines += [
            f"{kind} of order {order_id} of {account}: {self._asked[account, order_id, kind]} sent,"
            f" {len(self._answers.get((account, order_id, kind), ()))} answered"
            for account, order_id, kind in sorted(self._unanswered)
        ]
        return lines + self._garbage_differs() + self._positions_differ()

    def _update(self, name: Name) -> None:
        order = self.orders.get(name)
        if order is not None and self._is_right(name, order):
            self._unsettled.discard(name)
        else:
            self._unsettled.add(name)

    def _is_right(self, name: Name, order: Order) -> bool:
        expected = self._expected.get(name)
        if expected is None:
            return False
        if expected.kind == "invalid":
            return order.status is OrderStatus.REJECTED
        return order.status in TERMINAL or order.status in OPEN

    def _said_of(self, name: Name) -> str:
        order, expected = self.orders.get(name), self._expected.get(name)
        stands = f"stands {order.status.value}" if order else "has no update"
        if expected is None:
            wanted = "nobody sent it"
        elif expected.kind == "invalid":
            wanted = "it must be rejected"
        else:
            wanted = "it must end or stand open at the venue"
        return f"order {name[1]} of {name[0]} {stands}; {wanted}"

    def _compare(self, request: Request) -> None:
        """Note whether a request waits for answers.

        A replaced leg of a bracket, or an order that the venue cancels by itself (ioc, fok), is an
        answer that nobody asked for, so more answers than requests are right.
        """
        if len(self._answers.get(request, ())) < self._asked[request]:
            self._unanswered.add(request)
        else:
            self._unanswered.discard(request)

    def _fill(self, event: OrderEvent) -> bool:
        if event.fill is None or event.symbol is None:
            return False
        execution = (event.account, event.broker, event.fill.exec_id)
        if execution in self._executions:
            return False
        self._executions.add(execution)
        signed = event.fill.last_qty if event.side is Side.BUY else -event.fill.last_qty
        name = (event.account, event.symbol)
        self.fill_qty[name] = self.fill_qty.get(name, Decimal(0)) + signed
        return True

    def _garbage_differs(self) -> list[str]:
        found = Counter((key, value) for key, value, _code in self._letters.values())
        codes = {(key, value): code for key, value, code in self._letters.values()}
        return [
            f"record {value[:60]!r} of {key.decode(errors='replace')}: "
            f"{self._garbage[key, value]} sent that are no orders, {found[key, value]} dead letters"
            f" {codes.get((key, value), '')}".rstrip()
            for key, value in sorted(self._garbage.keys() | found.keys())
            if self._garbage[key, value] != found[key, value]
        ]

    def _positions_differ(self) -> list[str]:
        held = {name: position.qty for name, position in self.positions.items()}
        return [
            f"position {symbol} of {account}: fills come to {self.fill_qty.get(name, 0)},"
            f" the position is {held.get(name, 0)}"
            for name in sorted(self.fill_qty.keys() | held.keys())
            if self.fill_qty.get(name, 0) != held.get(name, 0)
            for account, symbol in [name]
        ]
