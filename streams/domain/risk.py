"""Pre-trade risk: what an order may do to its account, judged with every open order filled.

`CHECKS` are asked in order and the first refusal counts. All have one signature; bounds are
inclusive, a value equal to its limit passes. Each refusal names the version of the control
record that held the limit.

What an order is valued at: a limit order at its limit, a stop order at its stop, others at the
ask (buy) or bid (sell), else the last price, else the instrument's reference price. What is older
than `max_price_age_s`, print or quote, is left out, but for orders with a limit. What it
reserves is valued at the worst price it can fill at: for orders without a limit that is worse
by the collar.
"""

from collections.abc import Callable
from decimal import ROUND_UP, Decimal
from typing import NamedTuple

from streams.domain import switches
from streams.domain.build import make
from streams.domain.controls import ControlSet
from streams.domain.decimals import NINTH, ZERO, plain
from streams.domain.exposure import (
    NANO,
    buying_power,
    holding_of,
    money,
    realized_today,
    recent,
    refilled,
    worst_qty,
)
from streams.domain.exposure_models import Holding, Reserve, RiskAccount
from streams.domain.prices import fresh, mark_of, seconds, told
from streams.domain.refusals import Code, refuse
from streams.domain.resting import Crossing
from streams.domain.switches import lets_pass
from streams.domain.validation import SECOND, is_fractional
from streams.models.controls import Instrument, KillSwitch, Limits, Restricted, TradingState
from streams.models.market import LastPrice
from streams.models.orders import (
    OrderClass,
    OrderTerms,
    OrderType,
    PositionIntent,
    Refusal,
    Side,
)

_HUNDRED = Decimal(100)
_STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
_OWN_LIMIT = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})


class Rules(NamedTuple):
    """The controls that hold for one account, symbol and strategy. `version`: of all controls."""

    version: int
    limits: Limits
    instrument: Instrument | None
    state: TradingState
    kill_switch: KillSwitch | None
    restricted: Restricted | None


def rules_for(controls: ControlSet, account: str, symbol: str, strategy: str) -> Rules:
    """Return the rules for an order of this account, symbol and strategy."""
    return Rules(
        controls.version,
        controls.limits(account),
        controls.instrument(symbol),
        controls.trading_state(account),
        controls.kill_switch(account, symbol, strategy),
        controls.restricted(account, symbol),
    )


class RiskContext(NamedTuple):
    """One order before its checks.

    `account` is the state without this order: for a replace, without what the order reserves
    now. `qty` is what could fill: an order by notional gets its quantity from the price.
    `closable` is how much an order of its side can close, open orders of the side counted;
    `opening` the part of the quantity beyond, which opens or adds to a position.
    `reference` is the price the market stands at, None if unknown; `px` values the order;
    `worst_px` is the worst price it can fill at. `crossing` is an open order of the account
    that this one would trade with. `price` is what `reference` was taken from; without a
    reference, the newest price, which is too old.
    """

    terms: OrderTerms
    account: RiskAccount
    holding: Holding
    rules: Rules
    now_ns: int
    day: str
    qty: Decimal
    buys: bool
    closable: Decimal
    opening: Decimal
    reference: Decimal | None
    px: Decimal | None
    worst_px: Decimal
    content: str
    crossing: Crossing | None = None
    replaces: bool = False
    price: LastPrice | None = None


Check = Callable[[RiskContext], Refusal | None]


# --- prices -------------------------------------------------------------------------------------


def reference_of(instrument: Instrument | None) -> LastPrice | None:
    """Return the instrument's reference price as a `LastPrice` of time 0, None if it has none."""
    if instrument is None or instrument.reference_price is None:
        return None
    price = instrument.reference_price
    return make(LastPrice, symbol=instrument.symbol, last=price, ts_event_ns=0, ts_init_ns=0)


def market_price(
    price: LastPrice | None, terms: OrderTerms, rules: Rules, now_ns: int
) -> LastPrice | None:
    """Return the price to go by: what is young enough of the newest, else the reference price.

    For an order with its own limit the newest will do at any age: it only bounds the limit.
    """
    if price is not None and mark_of(price) is not None:
        young = fresh(price, now_ns, rules.limits.max_price_age_s)
        if young is not None or terms.type in _OWN_LIMIT:
            return young or price
    return reference_of(rules.instrument)


def touch(price: LastPrice, side: Side) -> Decimal | None:
    """Return what a market order of this side would pay: ask or bid, else the mark."""
    near = price.ask if side is Side.BUY else price.bid
    return near if near is not None and near > 0 else mark_of(price)


def context_for(
    terms: OrderTerms,
    account: RiskAccount,
    rules: Rules,
    price: LastPrice | None,
    now: tuple[int, str],
    content: str,
    crossing: Crossing | None = None,
    filled: Decimal | None = None,
) -> RiskContext:
    """Return the context of an order.

    `now` is the time in nanoseconds and the New York date it counts for. `filled` is what an
    order has filled that is about to be replaced; None for a new order.
    """
    now_ns, day = now
    newest = price
    price = market_price(newest, terms, rules, now_ns)
    reference = mark_of(price) if price else None
    px = terms.limit_price if terms.type in _OWN_LIMIT else None
    worst = px
    if px is None:
        px = terms.stop_price or (touch(price, terms.side) if price else None)
        worst = _with_collar(px, terms, rules.limits)
    qty = terms.qty
    if qty is None:
        notional = terms.notional or ZERO
        qty = plain((notional / px).quantize(NINTH, ROUND_UP)) if px else ZERO
        worst = px
    if filled:
        qty -= filled
    holding = holding_of(account, terms.symbol)
    buys = terms.side is Side.BUY
    free = -holding.qty - holding.buy_qty if buys else holding.qty - holding.sell_qty
    closable = free if free > 0 else ZERO
    return RiskContext(
        terms,
        account,
        holding,
        rules,
        now_ns,
        day,
        qty,
        buys,
        closable,
        qty - closable if qty > closable else ZERO,
        reference,
        px,
        worst or ZERO,
        content,
        crossing,
        filled is not None,
        price or newest,
    )


def _with_collar(px: Decimal | None, terms: OrderTerms, limits: Limits) -> Decimal | None:
    """Return the worst price of an order without a limit: a buyer's is higher by the collar."""
    if px is None or terms.side is Side.SELL:
        return px
    return px * (1 + limits.collar_percent / _HUNDRED)


def reserve_for(context: RiskContext) -> Reserve:
    """Return what the order reserves once it is approved."""
    filled = (context.terms.qty or context.qty) - context.qty
    return make(Reserve, qty=context.qty + filled, opening=context.opening, px=context.worst_px)


# --- checks -------------------------------------------------------------------------------------


def kill_switch(context: RiskContext) -> Refusal | None:
    """Refuse what an engaged switch covers; one that flattens lets pass what only closes."""
    switch = context.rules.kill_switch
    if switch is None:
        return None
    if lets_pass(switch, context.terms):
        return _only_reduces(context, Code.KILL_SWITCH, switch.version)
    return switches.killed(switch)


def halted(context: RiskContext) -> Refusal | None:
    """Halted refuses everything."""
    state = context.rules.state
    return switches.halted(state) if state.state == "halted" else None


def reducing(context: RiskContext) -> Refusal | None:
    """Reducing lets pass what closes without flipping."""
    state = context.rules.state
    if state.state != "reducing":
        return None
    return _only_reduces(context, Code.REDUCING_ONLY, state.version)


def reduce_only(context: RiskContext) -> Refusal | None:
    """A reduce-only or oco order closes, and closes no more than there is."""
    terms = context.terms
    if not terms.reduce_only and terms.order_class is not OrderClass.OCO:
        return None
    return _only_reduces(context, Code.REDUCE_ONLY, 0)


def _only_reduces(context: RiskContext, code: Code, version: int) -> Refusal | None:
    # The whole quantity, not the side alone: an oversized order would close and then open.
    if not context.opening:
        return None
    text = f"position {context.holding.qty}: the order would open or flip"
    return refuse(code, text, limit=context.closable, actual=context.qty, version=version)


def restricted_symbol(context: RiskContext) -> Refusal | None:
    """Refuse listed symbols."""
    listed = context.rules.restricted
    if listed is None:
        return None
    text = f"on the restricted list of {listed.scope}"
    symbol = context.terms.symbol
    return refuse(Code.RESTRICTED_SYMBOL, text, actual=symbol, version=listed.version)


def order_rate(context: RiskContext) -> Refusal | None:
    """Each submit and replace takes a token; without one it is refused."""
    limits = context.rules.limits
    rate, burst = limits.max_orders_per_s, limits.rate_burst
    tokens = refilled(context.account, rate, burst, context.now_ns)
    if tokens >= NANO:
        return None
    text = f"more than {rate} commands a second after a burst of {burst}"
    actual = f"{Decimal(tokens) / NANO:f} tokens"
    return refuse(Code.ORDER_RATE, text, limit=rate, actual=actual, version=limits.version)


def duplicate_content(context: RiskContext) -> Refusal | None:
    """At most `max_same_content` equal orders within the window."""
    limits = context.rules.limits
    if context.replaces or context.content not in context.account.contents:
        return None
    since_ns = context.now_ns - int(limits.same_content_window_s * SECOND)
    times = len(recent(context.account, context.content, since_ns)) + 1
    if times <= limits.max_same_content:
        return None
    text = f"equal orders within {limits.same_content_window_s} s"
    limit = limits.max_same_content
    return refuse(Code.DUPLICATE_CONTENT, text, limit=limit, actual=times, version=limits.version)


def max_open_orders(context: RiskContext) -> Refusal | None:
    """This order included."""
    limits, count = context.rules.limits, context.account.open_orders + 1
    if count <= limits.max_open_orders:
        return None
    limit = limits.max_open_orders
    return refuse(
        Code.MAX_OPEN_ORDERS, "open orders", limit=limit, actual=count, version=limits.version
    )


def reference_price(context: RiskContext) -> Refusal | None:
    """An order without a limit needs a market price: none at all does not pass."""
    if context.reference is not None or context.terms.type in _OWN_LIMIT:
        return None
    limits = context.rules.limits
    limit, price, symbol = limits.max_price_age_s, context.price, context.terms.symbol
    text, age = f"no price of {symbol} younger than {limit} s", None
    if price is not None and price.ts_event_ns and mark_of(price) is not None:
        age = f"{seconds(context.now_ns - price.ts_event_ns):.1f} s"
        text = f"{text}: the newest is {age} old"
    return refuse(Code.NO_REFERENCE_PRICE, text, limit=limit, actual=age, version=limits.version)


def price_collar(context: RiskContext) -> Refusal | None:
    """Limit and stop prices are at most `collar_percent` worse than the last price, or the mid."""
    last, limits, terms = context.reference, context.rules.limits, context.terms
    if last is None:
        return None
    margin = last * limits.collar_percent / _HUNDRED
    bound = last + margin if context.buys else last - margin
    for name, price in (("limit_price", terms.limit_price), ("stop_price", terms.stop_price)):
        if price is None or (price <= bound if context.buys else price >= bound):
            continue
        text = f"{name} is more than {limits.collar_percent} % worse than the {_told(context)}"
        version = limits.version
        return refuse(Code.PRICE_COLLAR, text, limit=bound, actual=price, version=version)
    return None


def _told(context: RiskContext) -> str:
    limits, price = context.rules.limits, context.price
    return told(price, context.now_ns, limits.max_price_age_s) if price else "last price"


def stop_price_side(context: RiskContext) -> Refusal | None:
    """A buy stop is above the last price, a sell stop below; at the price is refused too."""
    stop, last = context.terms.stop_price, context.reference
    if stop is None or last is None or context.terms.type not in _STOPS:
        return None
    if stop > last if context.buys else stop < last:
        return None
    word = "greater" if context.buys else "less"
    text = f"stop price must be {word} than current price"
    return refuse(Code.STOP_PRICE_SIDE, text, limit=last, actual=stop)


def max_order_qty(context: RiskContext) -> Refusal | None:
    """Shares of one order."""
    limits = context.rules.limits
    if context.qty <= limits.max_order_qty:
        return None
    return refuse(
        Code.MAX_ORDER_QTY,
        "quantity of one order",
        limit=limits.max_order_qty,
        actual=context.qty,
        version=limits.version,
    )


def max_order_value(context: RiskContext) -> Refusal | None:
    """Quantity times price of one order; its notional where it has one."""
    limits, px = context.rules.limits, context.px
    value = context.terms.notional or (context.qty * px if px else ZERO)
    if value <= limits.max_order_value:
        return None
    text = "value of one order"
    limit = limits.max_order_value
    return refuse(Code.MAX_ORDER_VALUE, text, limit=limit, actual=value, version=limits.version)


def position_intent(context: RiskContext) -> Refusal | None:
    """*_to_close closes and no more than there is; *_to_open does not close."""
    intent, held = context.terms.position_intent, context.holding.qty
    if intent is None:
        return None
    if intent in (PositionIntent.BUY_TO_CLOSE, PositionIntent.SELL_TO_CLOSE):
        wrong = bool(context.opening)
    else:
        wrong = held < 0 if context.buys else held > 0
    if not wrong:
        return None
    text = f"{intent.value} does not fit a position of {held}"
    return refuse(Code.POSITION_INTENT, text, limit=held, actual=context.qty)


def short_sale(context: RiskContext) -> Refusal | None:
    """A sale beyond what is held needs permission, a shortable instrument and whole shares."""
    if context.buys or not context.opening:
        return None
    limits, instrument = context.rules.limits, context.rules.instrument
    limit, actual = context.closable, context.qty
    if not limits.allow_short:
        text = "the account may not go short"
        version = limits.version
        return refuse(Code.SHORT_NOT_ALLOWED, text, limit=limit, actual=actual, version=version)
    if instrument is None:
        return None
    if not instrument.shortable or instrument.asset_class == "crypto":
        text = f"{instrument.symbol} cannot be sold short"
        version = instrument.version
        return refuse(Code.NOT_SHORTABLE, text, limit=limit, actual=actual, version=version)
    if context.terms.notional is not None or is_fractional(context.terms, instrument):
        text = "fractional orders cannot be sold short"
        return refuse(Code.FRACTIONAL_RULES, text, limit=limit, actual=actual)
    return None


def max_position(context: RiskContext) -> Refusal | None:
    """|position| with all open orders of the side and this one filled; reducing passes."""
    if not context.opening:
        return None
    limits, holding = context.rules.limits, context.holding
    if context.buys:
        worst = holding.qty + holding.buy_qty + context.qty
    else:
        worst = holding.sell_qty - holding.qty + context.qty
    if worst <= limits.max_position_qty:
        return None
    text = "position with open orders filled"
    limit = limits.max_position_qty
    return refuse(Code.MAX_POSITION, text, limit=limit, actual=worst, version=limits.version)


def gross_exposure(context: RiskContext) -> Refusal | None:
    """Sum of |position| times price with open orders and this one filled; reducing passes."""
    px = context.px
    if px is None or not context.opening:
        return None
    limits, holding, account = context.rules.limits, context.holding, context.account
    side = holding.qty + holding.buy_qty if context.buys else holding.sell_qty - holding.qty
    before = worst_qty(holding)
    worst = max(before, side + context.qty)
    price = max(px, context.reference or px)
    total = account.worst_value - money(before * holding.mark) + worst * price
    if total <= limits.max_gross_exposure:
        return None
    text = "exposure with open orders filled"
    limit = limits.max_gross_exposure
    return refuse(
        Code.GROSS_EXPOSURE, text, limit=limit, actual=money(total), version=limits.version
    )


def buying_power_left(context: RiskContext) -> Refusal | None:
    """Money for the opening part, at the worst price; what reduces needs none."""
    opening = context.opening
    if not opening:
        return None
    limits = context.rules.limits
    needed = money(opening * context.worst_px)
    free = buying_power(context.account, limits.buying_power_factor)
    if needed <= free:
        return None
    text = "insufficient buying power, open orders reserved"
    return refuse(
        Code.BUYING_POWER, text, limit=max(free, ZERO), actual=needed, version=limits.version
    )


def daily_loss(context: RiskContext) -> Refusal | None:
    """After a day's realised loss above the limit only what reduces passes."""
    limits = context.rules.limits
    loss = -realized_today(context.account, context.day)
    if loss <= limits.max_daily_loss or not context.opening:
        return None
    text = f"realised loss of {context.day}"
    limit = limits.max_daily_loss
    return refuse(Code.DAILY_LOSS, text, limit=limit, actual=loss, version=limits.version)


def self_trade(context: RiskContext) -> Refusal | None:
    """Refuse what would trade with an open order of the same account."""
    crossing, own = context.crossing, context.terms.limit_price
    if crossing is None:
        return None
    text = f"would trade with the account's open order {crossing.order_id}"
    resting = "market" if crossing.price is None else crossing.price
    return refuse(Code.SELF_TRADE, text, limit=resting, actual="market" if own is None else own)


CHECKS: tuple[Check, ...] = (
    kill_switch,
    halted,
    reducing,
    restricted_symbol,
    order_rate,
    duplicate_content,
    max_open_orders,
    reference_price,
    price_collar,
    stop_price_side,
    max_order_qty,
    max_order_value,
    reduce_only,
    position_intent,
    short_sale,
    daily_loss,
    max_position,
    gross_exposure,
    buying_power_left,
    self_trade,
)

#: What is asked of a replace that makes an order smaller and changes nothing else.
SHRINK_CHECKS: tuple[Check, ...] = (kill_switch, halted, order_rate)


def check_risk(context: RiskContext, checks: tuple[Check, ...] = CHECKS) -> Refusal | None:
    """Return the first refusal, or None if the order may go."""
    for check in checks:
        refusal = check(context)
        if refusal is not None:
            return refusal
    return None
