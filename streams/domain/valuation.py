"""What positions and accounts are worth: marks, unrealised profit, equity, buying power.

Derived from states and prices each time, never kept. Averages and profits are shown at nine
places, half to even; quantities, cash and commissions are exact.
"""

from collections.abc import Iterable
from decimal import Decimal

from streams.domain.build import make
from streams.domain.decimals import EXACT, ZERO, plain, ratio, shown, total
from streams.domain.positions import AccountState, PositionState
from streams.domain.prices import mark_ns
from streams.models.market import LastPrice
from streams.models.positions import Account, Position


def mark_price(qty: Decimal, price: LastPrice | None) -> Decimal | None:
    """Return what a position is valued at: the last print, or else the side it would close at."""
    if price is None or not qty:
        return None
    if price.last is not None:
        return price.last
    return price.bid if qty > 0 else price.ask


def mark_time(price: LastPrice | None, mark: Decimal | None) -> int | None:
    """Return when the price was made that a position is valued at."""
    return None if price is None or mark is None else mark_ns(price)


def marked(state: PositionState, price: LastPrice | None) -> Position:
    """Return the position as users see it, valued at `price` if it gives a mark.

    `ts_mark_ns` is the time of the print or quote behind the mark: whoever reads a record tells
    its age by it, for it grows stale without a newer one. Marks are derived: they are never kept.
    """
    mark = mark_price(state.qty, price)
    return make(
        Position,
        account=state.account,
        symbol=state.symbol,
        qty=plain(state.qty),
        avg_entry_px=plain(ratio(state.cost, state.qty)) if state.qty else ZERO,
        realized_pl=shown(state.realized_pl),
        unrealized_pl=None
        if mark is None
        else shown(EXACT.subtract(EXACT.multiply(state.qty, mark), state.cost)),
        mark_px=mark,
        ts_mark_ns=mark_time(price, mark),
        commission=plain(state.commission),
        buy_qty=plain(state.buy_qty),
        sell_qty=plain(state.sell_qty),
        fills=state.fills,
        version=state.version,
        ts_updated_ns=state.ts_updated_ns,
    )


def account_of(state: AccountState, starting_cash: Decimal) -> Account:
    """Return the account as users see it."""
    return make(
        Account,
        account=state.account,
        cash=plain(EXACT.add(starting_cash, state.moved)),
        realized_pl=shown(state.realized_pl),
        commission=plain(state.commission),
        fills=state.fills,
        day=state.day,
        realized_pl_day=shown(state.realized_pl_day),
        version=state.version,
        ts_updated_ns=state.ts_updated_ns,
    )


def value_of(position: Position) -> Decimal:
    """Return the position's signed value: at its mark, or at its cost while it has none."""
    px = position.avg_entry_px if position.mark_px is None else position.mark_px
    return EXACT.multiply(position.qty, px)


def equity(account: Account, positions: Iterable[Position]) -> Decimal:
    """Return cash and the value of the account's positions."""
    return plain(EXACT.add(account.cash, total(value_of(one) for one in positions)))


def buying_power(
    account: Account, positions: Iterable[Position], reserved: Decimal, factor: Decimal
) -> Decimal:
    """Return the money free for opening orders: factor * equity - positions - reserved, from 0.

    `reserved` is what open orders hold (the validator's table), `factor` the account's
    `buying_power_factor`. With factor 1 and nothing short that is cash less reserved; proceeds
    of short sales buy nothing.
    """
    values = [value_of(one) for one in positions]
    worth = EXACT.multiply(factor, EXACT.add(account.cash, total(values)))
    used = EXACT.add(reserved, total(value.copy_abs() for value in values))
    return max(ZERO, plain(EXACT.subtract(worth, used)))
