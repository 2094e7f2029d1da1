"""Send orders in slices over time: equal ones (TWAP), or a share of the volume (POV).

In      slices.requested, key account: parents and their cancels; orders.events, key account: what
        happened to their children. Time drives the slices, about once a second
Out     orders.requested, key account: submits and cancels of children; slices.updates, key
        account|parent_id on the account's partition, at most once per batch that changed it
State   table `slices`: parents and children, written here only. State is durable before a child
        is sent
Twice   a known event of a child changes nothing; a redelivered record, and a worker that starts,
        tell again what the gate may not have heard: the same ids, which it knows
Bad     NO_KEY, KEY_MISMATCH, WRONG_PARTITION; SLICES_CONFLICT: an id with other content;
        UNKNOWN_SLICES: a cancel of none. What cannot be sliced, or is refused three times in a
        row, is a rejected parent with the reason
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from streams.domain.aging import GONE_DAYS, KEEP_DAYS, Gone, day_after
from streams.domain.build import make
from streams.domain.controls import ControlSet
from streams.domain.exposure import day_of
from streams.domain.homes import misplaced
from streams.domain.slicing.parents import Parents
from streams.domain.slicing.requests import taken_up
from streams.domain.slicing.rows import (
    OVER,
    Parent,
    SlicerRow,
    child_id,
    child_key,
    parent_key,
    parent_of,
)
from streams.models.market import LastPrice
from streams.models.orders import OrderEvent
from streams.models.slices import SliceCommand
from streams.ports import BulkAgent, Record, Unit
from streams.topics import ORDERS_REQUESTED, SLICES_UPDATES
from tables.aging import Sweeps, leave_later

#: Parents that one run of the timer looks at.
MAX_LOOKED_AT = 1_000
#: Is in the id of every child.
SPAWNED = "-E"


class Slicer(BulkAgent[SlicerRow]):
    """The slicer agent. `partition_of`: Kafka's partitioner for the topics keyed by account."""

    needs = b'"live":true'

    def __init__(
        self,
        controls: Callable[[], ControlSet],
        price: Callable[[str], LastPrice | None],
        partition_of: Callable[[str], int],
    ) -> None:
        self._controls = controls
        self._price = price
        self._partition_of = partition_of
        self._sweeps = Sweeps()
        #: Per partition: parents that are to be told again, by a unit to come.
        self._again: dict[int, list[str]] = {}
        #: Per partition: parents that are not over.
        self._live: dict[int, dict[str, None]] = {}

    def fold(self, unit: Unit[SlicerRow], records: Sequence[Record]) -> None:
        """Take requests, or events; tell what follows before this returns."""
        parents = self._parents(unit)
        for record in records:
            value = record.value
            if not isinstance(value, OrderEvent):
                self._request(unit, parents, record, value)
            elif SPAWNED in value.order_id:
                _event(unit, parents, record, value)
        self._tell(unit, parents)

    def on_timer(self, unit: Unit[SlicerRow]) -> None:
        """Send and cancel what time asks for; let go of what is over for long."""
        parents = self._parents(unit)
        live = self._live.get(unit.partition, {})
        for key in list(islice(live, MAX_LOOKED_AT)):
            del live[key]
            parent = unit.get(key)
            if isinstance(parent, Parent) and parent.live:
                live[key] = None  # behind the others
                parents.act(parent)
        self._tell(unit, parents)
        if self._sweeps.due(unit):
            _sweep(unit, self._sweeps.keys(unit))

    def idle_until(self, partition: int, ts_ns: int) -> int:
        """Return when time brings something about; it may every second while an order is live."""
        busy = self._live.get(partition)
        return ts_ns if busy else self._sweeps.idle_until(ts_ns)

    def on_assigned(self, partition: int, state: Iterable[tuple[str, SlicerRow]]) -> None:
        """Find the parents that are not over: what they said last may not have come out."""
        live = [key for key, row in state if isinstance(row, Parent) and row.live]
        self._again[partition] = live
        self._live[partition] = dict.fromkeys(live)

    def on_revoked(self, partition: int) -> None:
        """Forget a partition."""
        self._again.pop(partition, None)
        self._live.pop(partition, None)
        self._sweeps.forget(partition)

    def _parents(self, unit: Unit[SlicerRow]) -> Parents:
        """Return the parents of a unit; the first one after a start repeats what was said."""
        parents = Parents(unit, self._controls().instrument, self._price)
        for key in self._again.pop(unit.partition, ()):
            parent = unit.get(key)
            if isinstance(parent, Parent):
                parents.repeat(parent)
        return parents

    def _tell(self, unit: Unit[SlicerRow], parents: Parents) -> None:
        for command in parents.commands:
            unit.emit(ORDERS_REQUESTED, command.account, command)
        for found in parents.updates():
            key = f"{found.account}|{found.parent_id}"
            unit.emit(SLICES_UPDATES, key, found, partition_key=found.account)
            stored = parent_key(found.account, found.parent_id)
            if found.status in OVER:
                leave_later(unit, day_after(day_of(unit.now_ns), KEEP_DAYS), (stored,))
            else:
                self._live.setdefault(unit.partition, {})[stored] = None

    def _request(
        self, unit: Unit[SlicerRow], parents: Parents, record: Record, command: SliceCommand
    ) -> None:
        fault = misplaced(record.key, record.partition, command.account, self._partition_of)
        if fault:
            unit.dead_letter(record, *fault)
            return
        given = command.ts_event_ns
        asked_ns = record.timestamp_ms * 1_000_000 if given is None else given
        refused = taken_up(parents, command, asked_ns, redelivered=record.redelivered)
        if refused is not None:
            unit.dead_letter(record, refused.code, refused.text)


def _event(unit: Unit[SlicerRow], parents: Parents, record: Record, event: OrderEvent) -> None:
    """Take up what happened to a child."""
    name = parent_of(event.order_id)
    parent = unit.get(parent_key(event.account, name)) if name is not None else None
    if not isinstance(parent, Parent):
        return
    if record.redelivered:
        parents.repeat(parent)
    else:
        parents.happened(parent, event)


def _sweep(unit: Unit[SlicerRow], due: Iterable[str]) -> None:
    """Let go what is due: parents that are over with their children, and what is left of them."""
    today = day_of(unit.now_ns)
    gone: list[str] = []
    for key in due:
        row = unit.get(key)
        if isinstance(row, Parent) and row.status in OVER:
            for number in range(1, row.children + 1):
                child = child_id(row.start.parent_id, number)
                unit.delete(child_key(row.start.account, child))
            unit.put(key, make(Gone, day=today, content=row.content))
            gone.append(key)
        elif isinstance(row, Gone) and day_after(row.day, GONE_DAYS) < today:
            unit.delete(key)
    if gone:
        leave_later(unit, day_after(today, GONE_DAYS), gone)
