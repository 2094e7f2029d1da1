"""Turn targets of positions into child orders, and report how far they are.

In      allocations.requested, key account: targets and cancels; orders.events, key account: fills
        of all orders make the positions, events of child orders move their targets
Out     orders.requested, key account: submits and cancels of children; allocations.updates, key
        account|allocation_id on the account's partition, at most once per batch that changed it;
        allocations.requested, key account: the parts of a request over several accounts;
        strategies.fills, key symbol: executions of orders that have a strategy
State   table `allocator`: positions by strategy, targets, one child of each, fills by order;
        written here only. State is durable before a child is sent
Twice   an execution counts once per order and id; a redelivered record, and a worker that starts,
        tell again what the gate may not have heard: the same ids, which it knows
Bad     NO_KEY, KEY_MISMATCH, WRONG_PARTITION; ALLOCATION_CONFLICT: an id with other content;
        UNKNOWN_ALLOCATION: a cancel of none. What the gate refuses ends the symbol as refused
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from streams.domain.aging import GONE_DAYS, KEEP_DAYS, Gone, day_after
from streams.domain.allocating.booking import booked
from streams.domain.allocating.goals import PREFIX, Goals, allocation_from, allocation_of
from streams.domain.allocating.requests import Refused, taken_up
from streams.domain.allocating.rows import (
    AllocatorRow,
    Holding,
    OrderFills,
    Request,
    fills_key,
    holding_key,
    line_key,
    part_key,
    request_key,
)
from streams.domain.build import evolve, make
from streams.domain.controls import ControlSet
from streams.domain.decimals import EXACT
from streams.domain.executions import EXECUTION_EVENTS
from streams.domain.exposure import day_of
from streams.domain.homes import misplaced
from streams.domain.spawning import heard
from streams.models.allocations import AllocationCommand
from streams.models.orders import OrderEvent
from streams.ports import BulkAgent, Record, Unit
from streams.topics import (
    ALLOCATIONS_REQUESTED,
    ALLOCATIONS_UPDATES,
    ORDERS_REQUESTED,
    STRATEGIES_FILLS,
)
from tables.aging import Sweeps, leave_later

#: Positions that one run of the timer looks at.
MAX_LOOKED_AT = 500


class Allocator(BulkAgent[AllocatorRow]):
    """The allocator agent. `partition_of`: Kafka's partitioner for the topics keyed by account."""

    needs = b'"live":true'

    def __init__(
        self, controls: Callable[[], ControlSet], partition_of: Callable[[str], int]
    ) -> None:
        self._controls = controls
        self._partition_of = partition_of
        self._sweeps = Sweeps()
        #: Per partition: positions whose commands are to be told again, by a unit to come.
        self._again: dict[int, list[str]] = {}
        #: Per partition: positions whose child could not be canceled yet.
        self._stuck: dict[int, dict[str, None]] = {}

    def at_once(self, topic: str) -> int:
        """Return one for requests: each may change much, and a unit has to fit a record batch."""
        return 1 if topic == ALLOCATIONS_REQUESTED.name else super().at_once(topic)

    def fold(self, unit: Unit[AllocatorRow], records: Sequence[Record]) -> None:
        """Take requests, or events; tell what follows before this returns."""
        goals = self._goals(unit)
        written: dict[str, None] = {}
        for record in records:
            value = record.value
            if not isinstance(value, OrderEvent):
                self._request(unit, goals, record, value)
            elif value.event in EXECUTION_EVENTS:
                self._execution(unit, goals, record, value, written)
            elif value.order_id.startswith(PREFIX):
                self._child(unit, goals, record, value)
        if written:
            leave_later(unit, day_after(day_of(unit.now_ns), KEEP_DAYS), written)
        self._tell(unit, goals)

    def on_timer(self, unit: Unit[AllocatorRow]) -> None:
        """Ask again for cancels that were refused; let go of what is over for long."""
        goals = self._goals(unit)
        stuck = self._stuck.get(unit.partition, {})
        for key in list(islice(stuck, MAX_LOOKED_AT)):
            del stuck[key]
            holding = unit.get(key)
            if isinstance(holding, Holding) and goals.ask_again(holding):
                stuck[key] = None  # behind the others
        self._tell(unit, goals)
        if self._sweeps.due(unit):
            _sweep(unit, self._sweeps.keys(unit))

    def idle_until(self, partition: int, ts_ns: int) -> int:
        """Return when time brings something about; at once while a cancel is to be repeated."""
        busy = self._stuck.get(partition)
        return ts_ns if busy else self._sweeps.idle_until(ts_ns)

    def on_assigned(self, partition: int, state: Iterable[tuple[str, AllocatorRow]]) -> None:
        """Find the positions that are on their way: what they said last may not have come out."""
        live = [key for key, row in state if isinstance(row, Holding) and row.live]
        self._again[partition] = live
        self._stuck[partition] = dict.fromkeys(live)

    def on_revoked(self, partition: int) -> None:
        """Forget a partition."""
        self._again.pop(partition, None)
        self._stuck.pop(partition, None)
        self._sweeps.forget(partition)

    def _goals(self, unit: Unit[AllocatorRow]) -> Goals:
        """Return the targets of a unit; the first one after a start repeats what was said."""
        goals = Goals(unit, self._controls().instrument)
        for key in self._again.pop(unit.partition, ()):
            holding = unit.get(key)
            if isinstance(holding, Holding):
                goals.repeat(holding)
        return goals

    def _tell(self, unit: Unit[AllocatorRow], goals: Goals) -> None:
        for command in goals.commands:
            unit.emit(ORDERS_REQUESTED, command.account, command)
        for found in goals.updates():
            key = f"{found.account}|{found.allocation_id}"
            unit.emit(ALLOCATIONS_UPDATES, key, found, partition_key=found.account)
            if found.status != "working":
                days = GONE_DAYS if found.status == "divided" else KEEP_DAYS
                over = request_key(found.account, found.allocation_id)
                leave_later(unit, day_after(day_of(unit.now_ns), days), (over,))

    def _request(
        self, unit: Unit[AllocatorRow], goals: Goals, record: Record, command: AllocationCommand
    ) -> None:
        fault = misplaced(record.key, record.partition, command.account, self._partition_of)
        if fault:
            unit.dead_letter(record, *fault)
            return
        given = command.ts_event_ns
        asked_ns = record.timestamp_ms * 1_000_000 if given is None else given
        told = taken_up(goals, command, asked_ns, redelivered=record.redelivered)
        if isinstance(told, Refused):
            unit.dead_letter(record, told.code, told.text)
            return
        for part in told:
            unit.emit(ALLOCATIONS_REQUESTED, part.account, part)

    def _execution(
        self,
        unit: Unit[AllocatorRow],
        goals: Goals,
        record: Record,
        event: OrderEvent,
        written: dict[str, None],
    ) -> None:
        """Count a fill, bust or correction, and see what it means for the targets."""
        key, symbol, fill = fills_key(event.account, event.order_id), event.symbol, event.fill
        found = unit.get(key)
        known = found if isinstance(found, OrderFills) else None
        if symbol is None or fill is None:
            return
        if record.redelivered:
            counted = known is not None and (
                fill.exec_id in known.counted or fill.exec_id in known.odd
            )
            if known is not None and counted:
                self._pass_on(unit, symbol, known.strategy, event)
            _repeat(goals, event, symbol, known.strategy if known else event.strategy)
            return
        at_ns = min(record.timestamp_ms * 1_000_000, unit.now_ns)
        until = day_after(day_of(unit.now_ns), KEEP_DAYS)
        booking = booked(known, event, at_ns, until)
        if booking is None:
            return
        row, delta = booking
        unit.put(key, row)
        written[key] = None
        self._pass_on(unit, symbol, row.strategy, event)
        for strategy in dict.fromkeys(("", row.strategy)):
            holding = goals.holding(event.account, strategy, symbol)
            update: dict[str, object] = {"qty": EXACT.add(holding.qty, delta)}
            child = holding.child
            if child is not None and child.order_id == event.order_id:
                update["child"] = heard(child, event)
            holding = evolve(holding, **update)
            if holding.live:
                goals.settle(holding)
            else:
                unit.put(holding_key(event.account, strategy, symbol), holding)

    def _pass_on(
        self, unit: Unit[AllocatorRow], symbol: str, strategy: str, event: OrderEvent
    ) -> None:
        if strategy:
            told = event if event.strategy else evolve(event, strategy=strategy)
            unit.emit(STRATEGIES_FILLS, symbol, told)

    def _child(
        self, unit: Unit[AllocatorRow], goals: Goals, record: Record, event: OrderEvent
    ) -> None:
        """Take up what happened to a child order, but for its fills."""
        found = allocation_of(event.order_id)
        request = unit.get(request_key(event.account, found[0])) if found else None
        if found is None or not isinstance(request, Request):
            return
        holding = goals.holding(event.account, request.strategy, found[1])
        if record.redelivered:
            goals.again[request_key(event.account, found[0])] = None
            goals.repeat(holding)
            return
        child = holding.child
        if child is None or child.order_id != event.order_id:
            return
        after = heard(child, event)
        if after is child:
            return
        goals.settle(evolve(holding, child=after))
        if after.cancel == "refused":
            key = holding_key(event.account, request.strategy, found[1])
            self._stuck.setdefault(unit.partition, {})[key] = None


def _repeat(goals: Goals, event: OrderEvent, symbol: str, strategy: str) -> None:
    """Tell again what an execution that came again may have led to."""
    found = allocation_of(event.order_id)
    if found is not None:
        goals.again[request_key(event.account, found[0])] = None
    for name in dict.fromkeys(("", strategy)):
        goals.repeat(goals.holding(event.account, name, symbol))


def _sweep(unit: Unit[AllocatorRow], due: Iterable[str]) -> None:
    """Let go what is due: fills of orders, allocations that are over, what is left of them."""
    today = day_of(unit.now_ns)
    gone: list[str] = []
    for key in due:
        row = unit.get(key)
        if isinstance(row, OrderFills) and row.until < today:
            unit.delete(key)
        elif isinstance(row, Request) and allocation_from(unit, row).status != "working":
            for symbol in row.symbols:
                unit.delete(line_key(row.account, row.allocation_id, symbol))
            for name in row.parts:
                unit.delete(part_key(row.account, row.allocation_id, name))
            unit.put(key, make(Gone, day=today, content=row.content))
            gone.append(key)
        elif isinstance(row, Gone) and day_after(row.day, GONE_DAYS) < today:
            unit.delete(key)
    if gone:
        leave_later(unit, day_after(today, GONE_DAYS), gone)
