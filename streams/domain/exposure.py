"""What the validator knows of an account and its orders, and what open orders reserve.

    order ──approve──► reserved on its side ──fills──► position ──closed──► nothing reserved

Promises, whatever the order in which events come and however often:

- what a symbol has reserved is the sum of what its orders have reserved, never below 0;
- an order reserves what can still fill: quantity less fills, at the worse of its own terms and
  those of replaces under way; nothing once it is closed;
- the legs of a bracket, oco or oto order close what their parent opened, and at most one of them
  fills: on the exit side the parent reserves the largest of them, and no leg by itself.

Money reserved is rounded to `MONEY` so that what is added and taken off is the same number.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache

from streams.domain.build import evolve, make
from streams.domain.decimals import ZERO
from streams.domain.exposure_models import Holding, Reserve, RiskAccount, RiskOrder
from streams.domain.validation import NEW_YORK, SECOND
from streams.models.orders import Side

MONEY = Decimal("0.000001")
CENT = Decimal("0.01")
#: Tokens of the order rate are counted in billionths of a command.
NANO = 1_000_000_000
#: Most distinct contents that are counted at a time; the oldest give way.
MAX_CONTENTS = 256


@lru_cache(maxsize=64)
def _day_of_hour(hour: int) -> str:
    return datetime.fromtimestamp(hour * 3600, UTC).astimezone(NEW_YORK).date().isoformat()


def day_of(ts_ns: int) -> str:
    """Return the New York date of a moment; its midnights fall on whole hours UTC."""
    return _day_of_hour(ts_ns // (3600 * SECOND))


# --- the account ------------------------------------------------------------------------------


def money(value: Decimal) -> Decimal:
    """Return the amount rounded to a millionth."""
    return value.quantize(MONEY, ROUND_HALF_EVEN)


def worst_qty(holding: Holding) -> Decimal:
    """Return the largest |position| that open orders can lead to."""
    long, short = holding.qty + holding.buy_qty, holding.sell_qty - holding.qty
    return max(long, short)


def _values(holding: Holding) -> tuple[Decimal, Decimal, Decimal]:
    """Return what the holding adds to long, short and worst value."""
    value = money(holding.qty * holding.mark)
    if holding.buy_qty or holding.sell_qty:
        worst = money(worst_qty(holding) * holding.mark)
    else:
        worst = value.copy_abs()
    return (value, ZERO, worst) if value >= 0 else (ZERO, -value, worst)


_EMPTY = make(Holding)


def holding_of(account: RiskAccount, symbol: str) -> Holding:
    """Return what the account has of a symbol, an empty holding if nothing."""
    return account.holdings.get(symbol, _EMPTY)


def with_holding(
    account: RiskAccount, symbol: str, holding: Holding, **changes: object
) -> RiskAccount:
    """Return the account with one holding replaced and the sums kept true.

    A holding with neither position nor open orders is dropped.
    """
    before = _values(holding_of(account, symbol))
    after = _values(holding)
    holdings = dict(account.holdings)
    if holding.qty or holding.buy_qty or holding.sell_qty:
        holdings[symbol] = holding
    else:
        holdings.pop(symbol, None)
    return evolve(
        account,
        holdings=holdings,
        live=bool(holdings),
        long_value=account.long_value + after[0] - before[0],
        short_value=account.short_value + after[1] - before[1],
        worst_value=account.worst_value + after[2] - before[2],
        **changes,
    )


def revalued(
    account: RiskAccount, price: Callable[[str], Decimal | None], now_ns: int
) -> RiskAccount:
    """Return the account valued at these prices; a holding without one keeps its mark."""
    holdings = {}
    long_value = short_value = worst_value = ZERO
    for symbol, holding in account.holdings.items():
        px = price(symbol)
        marked = holding if px is None or px == holding.mark else evolve(holding, mark=px)
        holdings[symbol] = marked
        long, short, worst = _values(marked)
        long_value += long
        short_value += short
        worst_value += worst
    return evolve(
        account,
        holdings=holdings,
        long_value=long_value,
        short_value=short_value,
        worst_value=worst_value,
        marked_ns=now_ns,
    )


def equity(account: RiskAccount) -> Decimal:
    """Return cash and positions at their marks."""
    return account.cash + account.long_value - account.short_value


def buying_power(account: RiskAccount, factor: Decimal) -> Decimal:
    """Return the money free for opening orders: factor times equity, less positions and reserved.

    With factor 1 and no short positions that is cash less what is reserved. Proceeds of short
    sales buy nothing.
    """
    used = account.long_value + account.short_value + account.reserved
    return factor * equity(account) - used


def realized_today(account: RiskAccount, day: str) -> Decimal:
    """Return the realised profit of `day`; 0 when the account has none of that day."""
    return account.realized_day if account.day == day else ZERO


def refilled(account: RiskAccount, rate: Decimal, burst: Decimal, now_ns: int) -> int:
    """Return the tokens of now: billionths of a command, at most `burst` commands."""
    full = int(burst * NANO)
    if not account.tokens_ns:
        return full
    elapsed = max(0, now_ns - account.tokens_ns)
    return min(full, account.tokens + int(rate * elapsed))


def recent(account: RiskAccount, content: str, since_ns: int) -> tuple[int, ...]:
    """Return when orders of this content were approved after `since_ns`."""
    times = account.contents.get(content)
    if not times or times[0] > since_ns:
        return times or ()
    return tuple(ts for ts in times if ts > since_ns)


def with_content(
    account: RiskAccount, content: str, now_ns: int, since_ns: int
) -> dict[str, tuple[int, ...]]:
    """Return the counted contents with one more, the newest last; what is too old is dropped.

    More than `MAX_CONTENTS` at a time are not kept: to repeat so many within the window, a sender
    needs more commands than the order rate lets pass.
    """
    contents = dict(account.contents)
    contents[content] = (*recent(account, content, since_ns), now_ns)
    if content in account.contents:
        contents[content] = contents.pop(content)
    oldest = next(iter(contents))
    while len(contents) > MAX_CONTENTS or contents[oldest][-1] <= since_ns:
        del contents[oldest]
        oldest = next(iter(contents))
    return contents


# --- orders -----------------------------------------------------------------------------------


def _lost_to_legs(order: RiskOrder) -> Decimal:
    """Return what closed halves of a split order will not fill any more."""
    lost = ZERO
    for leg in order.legs.values():
        if leg.closed and leg.qty is not None and leg.qty > leg.done:
            lost += leg.qty - leg.done
    return lost


def leaves_of(order: RiskOrder, reserve: Reserve) -> Decimal:
    """Return what the order can still fill under these terms."""
    leaves = reserve.qty - order.done
    if order.legs:
        leaves -= _lost_to_legs(order)
    return leaves if leaves > 0 else ZERO


def _notional_spent(order: RiskOrder) -> bool:
    """Return whether an order by notional has bought what it was for, to a cent."""
    terms = order.terms
    return (
        terms is not None
        and terms.notional is not None
        and terms.qty is None
        and order.spent + CENT >= terms.notional
    )


def is_live(order: RiskOrder) -> bool:
    """Return whether the order can still fill."""
    if order.ended or order.verdict == "rejected" or order.reserve is None:
        return False
    if len(order.legs) > 1 and all(leg.closed for leg in order.legs.values()):
        return False
    return leaves_of(order, order.reserve) > 0 and not _notional_spent(order)


def _needs(order: RiskOrder, live: bool) -> tuple[Decimal, Decimal, Decimal]:
    """Return buy quantity, sell quantity and money that the order must have reserved."""
    own = value = ZERO
    if live and order.parent_order_id is None and order.reserve is not None:
        own = leaves_of(order, order.reserve)
        value = _money_for(own, order.reserve)
        for pending in order.pending:
            leaves = leaves_of(order, pending.reserve)
            own = max(own, leaves)
            value = max(value, _money_for(leaves, pending.reserve))
    buy, sell = (own, ZERO) if order.side is Side.BUY else (ZERO, own)
    if order.children:
        exits = max(order.children.values())
        if order.exit_side is Side.BUY:
            buy = max(buy, exits)
        else:
            sell = max(sell, exits)
    return buy, sell, value


def _money_for(leaves: Decimal, reserve: Reserve) -> Decimal:
    """Return the money that what is left to fill needs; its opening part fills last."""
    return money(min(leaves, reserve.opening) * reserve.px)


def settle(
    account: RiskAccount, order: RiskOrder, mark: Decimal | None = None, **changes: object
) -> tuple[RiskAccount, RiskOrder]:
    """Return both with the order's reservations as its state needs them.

    The order carries what it had reserved before; the difference goes to its symbol, which is
    valued at `mark` if one is given. `changes` are further fields of the account.
    """
    live = is_live(order)
    opened = int(live) - int(order.live)
    needs = buy, sell, value = _needs(order, live)
    if not opened and needs == (order.reserved_buy, order.reserved_sell, order.reserved_value):
        return (evolve(account, **changes) if changes else account), order
    holding = holding_of(account, order.symbol)
    holding = evolve(
        holding,
        buy_qty=holding.buy_qty + buy - order.reserved_buy,
        sell_qty=holding.sell_qty + sell - order.reserved_sell,
        mark=mark or holding.mark or (order.reserve.px if order.reserve else ZERO),
    )
    account = with_holding(
        account,
        order.symbol,
        holding,
        reserved=account.reserved + value - order.reserved_value,
        open_orders=account.open_orders + opened,
        **changes,
    )
    order = evolve(order, live=live, reserved_buy=buy, reserved_sell=sell, reserved_value=value)
    return account, order


def without(account: RiskAccount, order: RiskOrder) -> RiskAccount:
    """Return the account as if the order reserved nothing: for judging its replacement."""
    holding = holding_of(account, order.symbol)
    holding = evolve(
        holding,
        buy_qty=holding.buy_qty - order.reserved_buy,
        sell_qty=holding.sell_qty - order.reserved_sell,
    )
    reserved = account.reserved - order.reserved_value
    open_orders = account.open_orders - int(order.live)
    return with_holding(account, order.symbol, holding, reserved=reserved, open_orders=open_orders)


def order_key(account: str, order_id: str) -> str:
    """Return the table's key of an order."""
    return f"{account}|{order_id}"
