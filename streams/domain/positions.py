"""Positions and money from executions: average cost, realised profit, cash.

State holds the cost of what is open, not its average price: an execution moves value between
cash, cost and realised profit, and rounding only between the latter two. So at every moment

    cash moved + cost of open positions = realised profit        to the last digit,

whatever the order in which executions came. Quantities, cash and commissions follow from the
set of executions alone; the split between cost and realised profit follows their arrival, as
average cost does by nature.

Rounding: 27 places half to even (`decimals.share`) for the cost of the part that a reducing
execution closes and for the closing part of a flip's commission; everything else is exact.

A bust gives back exactly what its execution had added: shares, cash, commission, cost, realised
profit. If the position is flat then, what is left of cost is realised. If the shares left and
their cost would have opposite signs, which only an average far from the busted price can bring
about, the average stays what it was, and the difference is realised. A correction is a bust and
a new execution at once. Realised profit counts on the New York date of its execution, also when
it is given back later.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from streams.domain.build import evolve
from streams.domain.decimals import EXACT, ZERO, share, total
from streams.domain.executions import Change, Execution
from streams.domain.exposure import day_of
from streams.models.base import Part, WideDec
from streams.models.orders import OrderEvent, Side

Branch = Literal["open", "increase", "reduce", "close", "flip"]


class PositionState(Part):
    """What an account holds of a symbol. `cost` has the sign of `qty`."""

    kind: Literal["position"] = "position"
    account: str
    symbol: str
    qty: WideDec = ZERO
    cost: WideDec = ZERO
    realized_pl: WideDec = ZERO
    commission: WideDec = ZERO
    buy_qty: WideDec = ZERO
    sell_qty: WideDec = ZERO
    fills: int = 0
    version: int = 0
    ts_updated_ns: int = 0


class AccountState(Part):
    """An account's money. `moved`: what executions added to its cash, commissions taken off."""

    kind: Literal["account"] = "account"
    account: str
    moved: WideDec = ZERO
    realized_pl: WideDec = ZERO
    commission: WideDec = ZERO
    fills: int = 0
    day: str = ""
    realized_pl_day: WideDec = ZERO
    version: int = 0
    ts_updated_ns: int = 0


class Effect(NamedTuple):
    """What one execution, or one half of a flip, did. `realized` is before commission."""

    branch: Branch
    qty: Decimal
    cost: Decimal
    realized: Decimal
    commission: Decimal


def branch_of(held: Decimal, traded: Decimal) -> Branch:
    """Say what `traded` shares (signed) do to `held` ones (signed)."""
    if not held:
        return "open"
    if (held > 0) is (traded > 0):
        return "increase"
    left = EXACT.subtract(held.copy_abs(), traded.copy_abs())
    if left > 0:
        return "reduce"
    return "flip" if left < 0 else "close"


def apply_fill(
    position: PositionState, side: Side, qty: Decimal, px: Decimal, commission: Decimal = ZERO
) -> tuple[PositionState, tuple[Effect, ...]]:
    """Return the position after an execution, and what it did: two effects for a flip.

    A flip closes all that was held and opens the rest at the same price; its commission is
    shared by quantity.
    """
    effects = _effects(position, qty if side is Side.BUY else -qty, px, commission)
    cost = total(effect.cost for effect in effects)
    realized = total(effect.realized for effect in effects)
    net = EXACT.subtract(realized, commission)
    return _moved(position, side, qty, cost, net, commission, 1), effects


def _effects(
    position: PositionState, traded: Decimal, px: Decimal, commission: Decimal
) -> tuple[Effect, ...]:
    held, size = position.qty, traded.copy_abs()
    branch = branch_of(held, traded)
    if branch in ("open", "increase"):
        return (_opening(branch, traded, px, commission),)
    if branch in ("reduce", "close"):
        return (_closing(branch, position, traded, px, commission),)
    closing_fee = share(commission, held.copy_abs(), size)
    opened = EXACT.add(traded, held)
    return (
        _closing("close", position, held.copy_negate(), px, closing_fee),
        _opening("open", opened, px, EXACT.subtract(commission, closing_fee)),
    )


def _opening(branch: Branch, traded: Decimal, px: Decimal, commission: Decimal) -> Effect:
    return Effect(branch, traded.copy_abs(), EXACT.multiply(traded, px), ZERO, commission)


def _closing(
    branch: Branch, position: PositionState, traded: Decimal, px: Decimal, commission: Decimal
) -> Effect:
    size = traded.copy_abs()
    cost = share(position.cost, size, position.qty.copy_abs())
    proceeds = EXACT.multiply(traded.copy_negate(), px)
    return Effect(branch, size, cost.copy_negate(), EXACT.subtract(proceeds, cost), commission)


def _moved(
    position: PositionState,
    side: Side,
    qty: Decimal,
    cost: Decimal,
    realized: Decimal,
    commission: Decimal,
    fills: int,
) -> PositionState:
    """Add to a position; `realized` has the commission taken off."""
    bought = side is Side.BUY
    add = EXACT.add
    return evolve(
        position,
        qty=add(position.qty, qty if bought else qty.copy_negate()),
        cost=add(position.cost, cost),
        realized_pl=add(position.realized_pl, realized),
        commission=add(position.commission, commission),
        buy_qty=add(position.buy_qty, qty) if bought else position.buy_qty,
        sell_qty=position.sell_qty if bought else add(position.sell_qty, qty),
        fills=position.fills + fills,
    )


def take_back(position: PositionState, execution: Execution) -> PositionState:
    """Return the position without an execution that `book` had applied to it."""
    gone = _moved(
        position,
        execution.side or Side.BUY,
        execution.qty.copy_negate(),
        (execution.cost or ZERO).copy_negate(),
        (execution.realized or ZERO).copy_negate(),
        execution.commission.copy_negate(),
        -1,
    )
    if gone.qty and (gone.cost > 0) is (gone.qty > 0):
        return gone
    stays = share(position.cost, gone.qty, position.qty) if gone.qty and position.qty else ZERO
    rest = EXACT.subtract(stays, gone.cost)
    return evolve(gone, cost=stays, realized_pl=EXACT.add(gone.realized_pl, rest))


class Booked(NamedTuple):
    """The state after an event, and the executions with what each did, for their bust."""

    position: PositionState
    account: AccountState
    executions: tuple[Execution, ...]


def book(
    position: PositionState, account: AccountState, event: OrderEvent, changes: Iterable[Change]
) -> Booked:
    """Return position and account after what an execution event changed."""
    executions = []
    money = _on_day(account, day_of(event.ts_event_ns))
    for change in changes:
        one, before = change.execution, position
        if change.counts:
            position, effects = apply_fill(
                position, one.side or Side.BUY, one.qty, one.px, one.commission
            )
            cost = total(effect.cost for effect in effects)
            realized = EXACT.subtract(position.realized_pl, before.realized_pl)
            executions.append(evolve(one, cost=cost, realized=realized))
        else:
            position = take_back(position, one)
        money = _with_money(money, one, before, position)
    position = evolve(
        position,
        version=position.version + 1,
        ts_updated_ns=max(position.ts_updated_ns, event.ts_init_ns),
    )
    money = evolve(
        money,
        version=money.version + 1,
        ts_updated_ns=max(money.ts_updated_ns, event.ts_init_ns),
    )
    return Booked(position, money, tuple(executions))


def _on_day(account: AccountState, day: str) -> AccountState:
    if day <= account.day:
        return account
    return evolve(account, day=day, realized_pl_day=ZERO)


def _with_money(
    account: AccountState, execution: Execution, before: PositionState, after: PositionState
) -> AccountState:
    realized = EXACT.subtract(after.realized_pl, before.realized_pl)
    commission = EXACT.subtract(after.commission, before.commission)
    bought = EXACT.subtract(after.qty, before.qty)
    paid = EXACT.add(EXACT.multiply(bought, execution.px), commission)
    update: dict[str, Any] = {
        "moved": EXACT.subtract(account.moved, paid),
        "realized_pl": EXACT.add(account.realized_pl, realized),
        "commission": EXACT.add(account.commission, commission),
        "fills": account.fills + after.fills - before.fills,
    }
    if day_of(execution.ts_event_ns) == account.day:
        update["realized_pl_day"] = EXACT.add(account.realized_pl_day, realized)
    return evolve(account, **update)
