"""Keep positions, profit and cash from fills.

In      orders.events, key account; only fills, busts and corrections matter
Out     positions.updates, key account|symbol, and accounts.updates, key account, on the account's
        partition, once per batch that changed them; positions again when their price has moved,
        about once a second
State   table `positions`: positions, accounts' money and executions, written here only
Twice   an execution counts once per (broker, account, execution id); a redelivered record emits
        position and account again as they now are
Bad     an execution id with other content, a fill without what makes one: to the dead letters
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from streams.domain.controls import ControlSet
from streams.domain.executions import EXECUTION_EVENTS, Change, Contradiction, record_execution
from streams.domain.positions import AccountState, PositionState, book
from streams.domain.valuation import account_of, mark_price, marked
from streams.models.market import LastPrice
from streams.models.orders import OrderEvent
from streams.ports import Agent, Record, Unit
from streams.topics import ACCOUNTS_UPDATES, POSITIONS_UPDATES
from tables.executions import ExecutionRows
from tables.positions import PositionRow, position_key

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
        #: Per partition: positions that are not flat, and what they were last valued at.
        self._marks: dict[int, dict[str, Decimal | None]] = {}

    def step(self, unit: Unit[PositionRow], record: Record) -> None:
        """Book one execution, bust or correction."""
        event: OrderEvent = record.value
        if event.event not in EXECUTION_EVENTS:
            return
        rows = ExecutionRows(unit, event.account, event.broker, not record.redelivered)
        changes = record_execution(rows, event)
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
        """Publish the positions and accounts that changed."""
        for key in self._touched.pop(unit.partition, ()):
            row = unit.get(key)
            if isinstance(row, PositionState):
                self._emit_position(unit, key, row)
            elif isinstance(row, AccountState):
                cash = self._deps.controls().limits(key).starting_cash
                unit.emit(ACCOUNTS_UPDATES, key, account_of(row, cash))

    def on_timer(self, unit: Unit[PositionRow]) -> None:
        """Publish positions whose price has moved; with many, some now and the others next."""
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

    def on_assigned(self, partition: int, state: Iterable[tuple[str, PositionRow]]) -> None:
        """Find the positions that are not flat; the next timer values them."""
        self._marks[partition] = {
            key: None for key, row in state if isinstance(row, PositionState) and row.qty
        }

    def on_revoked(self, partition: int) -> None:
        """Forget the partition's positions."""
        self._marks.pop(partition, None)

    def _emit_position(self, unit: Unit[PositionRow], key: str, row: PositionState) -> None:
        position = marked(row, self._deps.price(row.symbol))
        unit.emit(POSITIONS_UPDATES, key, position, partition_key=row.account)
        marks = self._marks.setdefault(unit.partition, {})
        if row.qty:
            marks[key] = position.mark_px
        else:
            marks.pop(key, None)


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
