"""Keep positions, profit and cash from fills.

In      orders.events, key account; only fills, busts and corrections matter
Out     positions.updates, key account|symbol, and accounts.updates, key account, on the account's
        partition, once per batch that changed them; positions again when their price has moved,
        about once a second
State   table `positions`: positions, accounts' money and executions, written here only;
        executions leave a month after they happened, by the time of the records
Twice   an execution counts once per (broker, account, execution id); a redelivered record emits
        position and account again as they now are
Bad     an execution id with other content, a fill without what makes one: to the dead letters;
        so is what is unknown and may have been counted and left, EXECUTION_TOO_OLD
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from streams.domain.aging import EXECUTION_DAYS, day_after
from streams.domain.controls import ControlSet
from streams.domain.executions import (
    EXECUTION_EVENTS,
    Change,
    Contradiction,
    Execution,
    record_execution,
    too_old,
)
from streams.domain.exposure import day_of
from streams.domain.positions import AccountState, PositionState, book
from streams.domain.valuation import account_of, mark_price, marked
from streams.models.market import LastPrice
from streams.models.orders import OrderEvent
from streams.ports import Agent, Record, Unit
from streams.topics import ACCOUNTS_UPDATES, POSITIONS_UPDATES
from tables.aging import Sweeps, leave_later
from tables.executions import ExecutionRows
from tables.positions import PositionRow, position_key

MINUTE_NS = 60_000_000_000
#: Positions of a partition that one run of the timer looks at: fills come first.
MAX_MARKED = 250


@dataclass(frozen=True, slots=True)
class PositionsDeps:
    """What the positions agent is given."""

    controls: Callable[[], ControlSet]
    price: Callable[[str], LastPrice | None]


class Positions(Agent[PositionRow]):
    """The positions agent."""

    needs = b'"kind":"position"'

    def __init__(self, deps: PositionsDeps) -> None:
        self._deps = deps
        self._touched: dict[int, dict[str, None]] = {}
        self._written: dict[int, dict[str, Execution]] = {}
        self._sweeps = Sweeps()
        #: Per partition: the time of the newest record. What is too old follows from it, not from
        #: our clock, so that a backlog or a replay books what was booked at first.
        self._reached_ns: dict[int, int] = {}
        #: Per partition: positions that are not flat, and what they were last valued at.
        self._marks: dict[int, dict[str, Decimal | None]] = {}

    def step(self, unit: Unit[PositionRow], record: Record) -> None:
        """Book one execution, bust or correction."""
        event: OrderEvent = record.value
        at_ns = min(record.timestamp_ms * 1_000_000, unit.now_ns)
        self._reached_ns[unit.partition] = max(at_ns, self._reached_ns.get(unit.partition, 0))
        if event.event not in EXECUTION_EVENTS:
            return
        written = self._written.setdefault(unit.partition, {})
        writable = not record.redelivered
        rows = ExecutionRows(unit, event.account, event.broker, writable, written)
        changes = too_old(rows, event, at_ns) or record_execution(rows, event)
        if isinstance(changes, Contradiction):
            unit.dead_letter(record, changes.code, changes.text)
            return
        if record.redelivered or changes is not None:
            touched = self._touched.setdefault(unit.partition, {})
            touched[position_key(event.account, event.symbol or "")] = None
            touched[event.account] = None
        if changes is not None and not record.redelivered:
            _book(unit, rows, event, changes)

    def on_batch_end(self, unit: Unit[PositionRow]) -> None:
        """Publish the positions and accounts that changed; note when executions leave."""
        reached_ns = self._reached_ns.get(unit.partition, 0)
        for day, keys in _by_day(reached_ns, self._written.pop(unit.partition, {})).items():
            leave_later(unit, day_after(day, EXECUTION_DAYS), keys)
        for key in self._touched.pop(unit.partition, ()):
            row = unit.get(key)
            if isinstance(row, PositionState):
                self._emit_position(unit, key, row)
            elif isinstance(row, AccountState):
                cash = self._deps.controls().limits(key).starting_cash
                unit.emit(ACCOUNTS_UPDATES, key, account_of(row, cash))

    def on_timer(self, unit: Unit[PositionRow]) -> None:
        """Publish positions whose price has moved; with many, some now and the others next."""
        reached_ns = self._reached_ns.get(unit.partition)
        if reached_ns is not None and self._sweeps.due(unit):
            for key in self._sweeps.keys(unit, reached_ns):
                unit.delete(key)
        marks = self._marks.get(unit.partition, {})
        for key in list(islice(marks, MAX_MARKED)):
            mark = marks.pop(key)
            row = unit.get(key)
            if not isinstance(row, PositionState):
                continue
            marks[key] = mark  # behind the others
            moved = mark_price(row.qty, self._deps.price(row.symbol))
            if moved is not None and moved != mark:
                self._emit_position(unit, key, row)

    def idle_until(self, partition: int, ts_ns: int) -> int:
        """Return the end of the minute: a replay values its positions then."""
        del partition
        return (ts_ns // MINUTE_NS + 1) * MINUTE_NS

    def on_assigned(self, partition: int, state: Iterable[tuple[str, PositionRow]]) -> None:
        """Find the positions that are not flat; the next timer values them."""
        self._marks[partition] = {
            key: None for key, row in state if isinstance(row, PositionState) and row.qty
        }

    def on_revoked(self, partition: int) -> None:
        """Forget the partition's positions."""
        self._marks.pop(partition, None)
        self._reached_ns.pop(partition, None)
        self._sweeps.forget(partition)

    def _emit_position(self, unit: Unit[PositionRow], key: str, row: PositionState) -> None:
        position = marked(row, self._deps.price(row.symbol))
        unit.emit(POSITIONS_UPDATES, key, position, partition_key=row.account)
        marks = self._marks.setdefault(unit.partition, {})
        if row.qty:
            marks[key] = position.mark_px
        else:
            marks.pop(key, None)


def _by_day(at_ns: int, written: dict[str, Execution]) -> dict[str, list[str]]:
    """Return the keys of executions by the day they count from: theirs, or that of their record."""
    found: dict[str, list[str]] = {}
    for key, execution in written.items():
        found.setdefault(day_of(max(at_ns, execution.ts_event_ns)), []).append(key)
    return found


def _book(
    unit: Unit[PositionRow], rows: ExecutionRows, event: OrderEvent, changes: list[Change]
) -> None:
    account, symbol = event.account, event.symbol or ""
    key = position_key(account, symbol)
    position, money = unit.get(key), unit.get(account)
    booked = book(
        position
        if isinstance(position, PositionState)
        else PositionState(account=account, symbol=symbol),
        money if isinstance(money, AccountState) else AccountState(account=account),
        event,
        changes,
    )
    unit.put(key, booked.position)
    unit.put(account, booked.account)
    for execution in booked.executions:
        rows.put(execution)
