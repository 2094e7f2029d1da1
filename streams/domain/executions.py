"""Which executions count: each once, less the busted, and the corrected as corrected.

The answer depends on which events came, not on their order: a bust or correction that comes
before its fill is kept, and holds when the fill arrives.

- An execution is known by its id within (broker, account). The first content holds; the same
  id with other content is a contradiction.
- A correction takes the place of the execution that it refers to, be that a fill or an earlier
  correction. Of two corrections of the same execution the newer holds (`ts_event_ns`, then id).
- A bust takes back the execution that it refers to and every correction of it, for good.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol

from streams import defences
from streams.defences import Defence
from streams.domain.aging import DAY_NS, EXECUTION_DAYS
from streams.domain.build import evolve, make
from streams.domain.decimals import ZERO
from streams.models.base import LongId, Part, WideDec
from streams.models.orders import EventType, Fill, OrderEvent, Side

EXECUTION_EVENTS = frozenset(
    {EventType.FILL, EventType.FILL_BUSTED, EventType.FILL_CORRECTED},
)


class Execution(Part):
    """One execution as a table keeps it; one that was only referred to so far has no `event`."""

    kind: Literal["execution"] = "execution"
    exec_id: LongId
    event: EventType | None = None
    order_id: str = ""
    client_order_id: str = ""
    symbol: str | None = None
    side: Side | None = None
    qty: WideDec = ZERO
    px: WideDec = ZERO
    commission: WideDec = ZERO
    cum_qty: WideDec = ZERO
    ts_event_ns: int = 0
    ref_exec_id: str | None = None
    void: bool = False
    successor: str | None = None
    successor_ns: int = 0
    cost: WideDec | None = None
    realized: WideDec | None = None

    @property
    def counts(self) -> bool:
        """Say whether this execution is part of the sums."""
        return (
            not self.void
            and self.successor is None
            and self.event is not None
            and self.event is not EventType.FILL_BUSTED
        )

    @property
    def signed_qty(self) -> Decimal:
        """Return the shares bought, or sold as a negative number."""
        return self.qty if self.side is Side.BUY else -self.qty


class Executions(Protocol):
    """The known executions of one account at one broker."""

    def get(self, exec_id: str) -> Execution | None:
        """Return what is known of an execution, or None."""

    def put(self, execution: Execution) -> None:
        """Keep an execution under its id."""


class Change(NamedTuple):
    """An execution begins to count (`counts`), or ceases to."""

    execution: Execution
    counts: bool


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An event that cannot be true beside what is known, or says too little to be used."""

    code: str
    text: str


def record_execution(known: Executions, event: OrderEvent) -> list[Change] | Contradiction | None:
    """Take up a fill, bust or correction; return what it changes, or None if it was known.

    An empty list: the event is new, and nothing changes in the sums yet.
    """
    fill = _usable(event)
    if isinstance(fill, Contradiction):
        return fill
    before = known.get(fill.exec_id)
    if before is not None and before.event is not None and defences.on(Defence.EXEC_ID):
        return None if _same(before, event, fill) else _conflict(before, event)
    execution = _execution(before, event, fill)
    if event.event is EventType.FILL:
        known.put(execution)
        return [Change(execution, counts=True)] if execution.counts else []
    ref = fill.ref_exec_id or ""
    original = known.get(ref) or make(Execution, exec_id=ref)
    if original.event is not None and _differs(original, event):
        return _conflict(original, event)
    if event.event is EventType.FILL_BUSTED:
        known.put(execution)
        return list(_void(known, original))
    return list(_correct(known, original, execution))


def too_old(known: Executions, event: OrderEvent, at_ns: int) -> Contradiction | None:
    """Return why an execution event is not booked although it is unknown: it may have been.

    `at_ns` is the time of its record. Known executions are forgotten `EXECUTION_DAYS` after they
    happened. So an unknown fill that is older may have been counted; so may what an unknown bust
    or correction refers to, where the order is older than that.
    """
    fill, bound = event.fill, at_ns - EXECUTION_DAYS * DAY_NS
    asked = event.ts_requested_ns
    changes = event.event is not EventType.FILL and asked is not None and asked < bound
    if fill is None or not (event.ts_event_ns < bound or changes):
        return None
    first = fill.exec_id if event.event is EventType.FILL else fill.ref_exec_id or ""
    if known.get(fill.exec_id) is not None or known.get(first) is not None:
        return None
    text = f"execution {first}: unknown, and older than {EXECUTION_DAYS} days"
    return Contradiction("EXECUTION_TOO_OLD", f"{text}; it may have been counted before")


def _usable(event: OrderEvent) -> Fill | Contradiction:
    """Return the event's fill, or what keeps it from being used whatever else is known."""
    fill, name = event.fill, event.event
    if fill is None:
        return Contradiction("BAD_FILL", f"event {event.event_id}: {name} without its fill block")
    where = f"execution {fill.exec_id}"
    if event.symbol is None:
        return Contradiction("BAD_FILL", f"{where}: no symbol; the writer has to name it")
    if name is not EventType.FILL and fill.ref_exec_id in (None, fill.exec_id):
        return Contradiction("BAD_FILL", f"{where}: {name} refers to no other execution")
    if name is EventType.FILL_BUSTED:
        return fill
    if event.side is None:
        return Contradiction("BAD_FILL", f"{where}: no side; the writer has to name it")
    if fill.last_qty <= 0 or fill.last_px < 0:
        return Contradiction("BAD_FILL", f"{where}: {fill.last_qty} at {fill.last_px} is no trade")
    return fill


def _execution(before: Execution | None, event: OrderEvent, fill: Fill) -> Execution:
    bust = event.event is EventType.FILL_BUSTED
    return make(
        Execution,
        exec_id=fill.exec_id,
        event=event.event,
        order_id=event.order_id,
        client_order_id=event.client_order_id or "",
        symbol=event.symbol,
        side=event.side,
        qty=ZERO if bust else fill.last_qty,
        px=ZERO if bust else fill.last_px,
        commission=ZERO if bust else fill.commission,
        cum_qty=fill.cum_qty,
        ts_event_ns=event.ts_event_ns,
        ref_exec_id=fill.ref_exec_id,
        void=before.void if before else False,
        successor=before.successor if before else None,
        successor_ns=before.successor_ns if before else 0,
    )


def _same(before: Execution, event: OrderEvent, fill: Fill) -> bool:
    if before.event is not event.event or before.ref_exec_id != fill.ref_exec_id:
        return False
    if event.event is EventType.FILL_BUSTED:
        return True
    return not _differs(before, event) and (before.qty, before.px) == (fill.last_qty, fill.last_px)


def _differs(known: Execution, event: OrderEvent) -> bool:
    """Say whether an event is about something else than the execution it names."""
    return (
        known.order_id != event.order_id
        or known.symbol != event.symbol
        or (None not in (known.side, event.side) and known.side is not event.side)
    )


def _conflict(known: Execution, event: OrderEvent) -> Contradiction:
    return Contradiction(
        "EXECUTION_CONFLICT",
        f"execution {known.exec_id} is {known.event} {known.side} {known.qty} {known.symbol}"
        f" at {known.px} of order {known.order_id}; event {event.event_id} says otherwise",
    )


def _void(known: Executions, execution: Execution | None) -> Iterator[Change]:
    """Take back an execution and the corrections that stand in its place."""
    while execution is not None and not execution.void:
        if execution.counts:
            yield Change(execution, counts=False)
        known.put(evolve(execution, void=True))
        execution = known.get(execution.successor) if execution.successor else None


def _correct(known: Executions, original: Execution, correction: Execution) -> Iterator[Change]:
    newest = (original.successor_ns, original.successor or "")
    if original.void or (correction.ts_event_ns, correction.exec_id) < newest:
        # Busted, or corrected again already: what stands in place of this one goes as well.
        yield from _void(known, evolve(correction, event=None))
        known.put(evolve(correction, void=True))
        return
    if original.successor:
        yield from _void(known, known.get(original.successor))
    elif original.counts:
        yield Change(original, counts=False)
    known.put(evolve(original, successor=correction.exec_id, successor_ns=correction.ts_event_ns))
    known.put(correction)
    if correction.counts:
        yield Change(correction, counts=True)
