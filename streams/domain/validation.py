"""What an order must say of itself before its risk is looked at: Alpaca's field rules.

`CHECKS` are asked in order and the first refusal counts. A check sees the order's terms, the
instrument and the time; never the account. Rules are Alpaca's as of 2026; the source of each is
in its docstring where it is less than plain.
"""

from collections.abc import Callable
from datetime import datetime, time
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from streams.domain.build import make
from streams.domain.refusals import Code, refuse
from streams.domain.sessions import Session
from streams.models.controls import Instrument
from streams.models.orders import (
    OrderClass,
    OrderTerms,
    OrderType,
    PositionIntent,
    Refusal,
    Side,
    Submit,
    TimeInForce,
)

NEW_YORK = ZoneInfo("America/New_York")
SECOND = 1_000_000_000
#: opg orders are taken until this long before the open, cls orders before the close.
OPG_CUTOFF_NS = 2 * 60 * SECOND
CLS_CUTOFF_NS = 10 * 60 * SECOND
#: From this time of day, New York, auction orders for the next session are taken.
AUCTION_REOPENS = time(19, 0)

_WITH_LIMIT = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
_WITH_STOP = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
_CRYPTO_TYPES = frozenset({OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT})
_CRYPTO_TIFS = frozenset({TimeInForce.GTC, TimeInForce.IOC})
_AUCTION_TIFS = frozenset({TimeInForce.OPG, TimeInForce.CLS})
_AUCTION_TYPES = frozenset({OrderType.MARKET, OrderType.LIMIT})
_CLASS_TIFS = frozenset({TimeInForce.DAY, TimeInForce.GTC})
_LEGS = {OrderClass.SIMPLE: 0, OrderClass.OTO: 1, OrderClass.BRACKET: 2, OrderClass.OCO: 2}
_ONE = Decimal(1)


class FieldContext(NamedTuple):
    """What the field rules may look at besides the terms. `shift_ns` is the session shift."""

    symbol: str
    instrument: Instrument | None
    session: Session
    now_ns: int
    shift_ns: int = 0


Check = Callable[[OrderTerms, FieldContext], Refusal | None]


def normalise(submit: Submit) -> OrderTerms:
    """Return the order's terms with defaults filled in.

    An oco order's `limit_price` is that of its take-profit leg unless it names its own.
    """
    limit_price = submit.limit_price
    if submit.order_class is OrderClass.OCO and limit_price is None and submit.take_profit:
        limit_price = submit.take_profit.limit_price
    return make(
        OrderTerms,
        symbol=submit.symbol,
        side=submit.side,
        type=submit.type,
        qty=submit.qty,
        notional=submit.notional,
        time_in_force=submit.time_in_force,
        limit_price=limit_price,
        stop_price=submit.stop_price,
        trail_price=submit.trail_price,
        trail_percent=submit.trail_percent,
        extended_hours=submit.extended_hours,
        order_class=submit.order_class,
        take_profit=submit.take_profit,
        stop_loss=submit.stop_loss,
        position_intent=submit.position_intent,
        reduce_only=submit.reduce_only,
    )


def _text(value: Decimal | None) -> str:
    """Return a number so that equal numbers give equal text."""
    return "" if value is None else f"{value.normalize():f}"


def trade_content(terms: OrderTerms) -> str:
    """Return symbol, side, type, size and prices as text: equal for orders that look alike."""
    text = (
        f"{terms.symbol}|{terms.side}|{terms.type}"
        f"|{_text(terms.qty)}|{_text(terms.notional)}|{_text(terms.limit_price)}"
    )
    if terms.stop_price is None and terms.trail_price is None and terms.trail_percent is None:
        return text
    trail = f"{_text(terms.trail_price)}|{_text(terms.trail_percent)}"
    return f"{text}|{_text(terms.stop_price)}|{trail}"


def full_content(terms: OrderTerms, content: str, client_order_id: str, strategy: str) -> str:
    """Return a hash of everything a submit says but its time: 32 hex digits.

    `content` is the terms' `trade_content`.
    """
    profit, loss, intent = terms.take_profit, terms.stop_loss, terms.position_intent
    text = (
        f"{content}|{client_order_id}|{strategy}|{terms.time_in_force}"
        f"|{terms.extended_hours}|{terms.order_class}|{terms.reduce_only}"
        f"|{intent or ''}|{_text(profit.limit_price) if profit else ''}"
    )
    if loss:
        text += f"|{_text(loss.stop_price)}|{_text(loss.limit_price)}"
    return blake2b(text.encode(), digest_size=16).hexdigest()


def exit_side(terms: OrderTerms) -> Side:
    """Return the side of the legs: an oco order is itself the exit, others exit against it."""
    if terms.order_class is OrderClass.OCO:
        return terms.side
    return Side.SELL if terms.side is Side.BUY else Side.BUY


def is_fractional(terms: OrderTerms, instrument: Instrument) -> bool:
    """Return whether an equity order is for part of a share; crypto has lots instead."""
    qty = terms.qty
    return qty is not None and instrument.asset_class == "us_equity" and qty % _ONE != 0


# --- checks ---------------------------------------------------------------------------------


def known_symbol(terms: OrderTerms, context: FieldContext) -> Refusal | None:
    """Refuse what no instrument record describes."""
    if context.instrument is None:
        return refuse(Code.UNKNOWN_SYMBOL, "no such instrument", actual=terms.symbol)
    return None


def tradable(terms: OrderTerms, context: FieldContext) -> Refusal | None:
    """Refuse instruments that are switched off."""
    instrument = context.instrument
    if instrument and not instrument.tradable:
        text = "the instrument is not tradable"
        return refuse(Code.NOT_TRADABLE, text, actual=terms.symbol, version=instrument.version)
    return None


def qty_or_notional(terms: OrderTerms, _: FieldContext) -> Refusal | None:
    """Exactly one of the two."""
    if (terms.qty is None) == (terms.notional is None):
        actual = "neither" if terms.qty is None else "both"
        return refuse(Code.QTY_OR_NOTIONAL, "give qty or notional", limit="one", actual=actual)
    return None


def positive_size(terms: OrderTerms, _: FieldContext) -> Refusal | None:
    """Sizes are above 0."""
    size = terms.qty if terms.qty is not None else terms.notional
    if size is not None and size <= 0:
        return refuse(Code.INVALID_QTY, "must be above 0", limit=0, actual=size)
    return None


def _prices(terms: OrderTerms) -> list[tuple[str, Decimal]]:
    """Return the named prices that are set, those of the legs included."""
    if terms.type is OrderType.LIMIT and terms.order_class is OrderClass.SIMPLE:
        limit = terms.limit_price
        if limit is not None and terms.stop_price is None and terms.trail_price is None:
            return [("limit_price", limit)]
    named = [
        ("limit_price", terms.limit_price),
        ("stop_price", terms.stop_price),
        ("trail_price", terms.trail_price),
    ]
    if terms.take_profit:
        named.append(("take_profit.limit_price", terms.take_profit.limit_price))
    if terms.stop_loss:
        named.append(("stop_loss.stop_price", terms.stop_loss.stop_price))
        named.append(("stop_loss.limit_price", terms.stop_loss.limit_price))
    return [(name, price) for name, price in named if price is not None]


def positive_prices(terms: OrderTerms, _: FieldContext) -> Refusal | None:
    """Prices and trails are above 0; a trail in percent is below 100."""
    percent = terms.trail_percent
    for name, price in _prices(terms):
        if price <= 0:
            return refuse(Code.INVALID_PRICE, f"{name} must be above 0", limit=0, actual=price)
    if percent is not None and not 0 < percent < 100:
        text = "trail_percent must be above 0 and below 100"
        return refuse(Code.INVALID_PRICE, text, limit=100, actual=percent)
    return None


def prices_of_type(terms: OrderTerms, _: FieldContext) -> Refusal | None:
    """Each type has its own prices: limit, stop, both, a trail, or none."""
    for name, price, types in (
        ("limit_price", terms.limit_price, _WITH_LIMIT),
        ("stop_price", terms.stop_price, _WITH_STOP),
    ):
        if price is None and terms.type in types:
            return refuse(Code.PRICE_REQUIRED, f"{terms.type.value} orders need {name}")
        if price is not None and terms.type not in types:
            text = f"{terms.type.value} orders have no {name}"
            return refuse(Code.PRICE_NOT_ALLOWED, text, actual=price)
    return None


def trail_of_type(terms: OrderTerms, _: FieldContext) -> Refusal | None:
    """A trailing stop has a trail in money or in percent; other types have none."""
    given = (terms.trail_price is not None) + (terms.trail_percent is not None)
    if terms.type is OrderType.TRAILING_STOP:
        if given != 1:
            text = "give trail_price or trail_percent"
            return refuse(Code.TRAIL_PRICE_OR_PERCENT, text, limit=1, actual=given)
    elif given:
        return refuse(Code.PRICE_NOT_ALLOWED, f"{terms.type.value} orders have no trail")
    return None


def class_legs(terms: OrderTerms, _: FieldContext) -> Refusal | None:
    """Count the legs: bracket and oco have both legs, oto one of them, simple none."""
    wanted = _LEGS[terms.order_class]
    given = (terms.take_profit is not None) + (terms.stop_loss is not None)
    if given != wanted:
        text = f"legs of a {terms.order_class.value} order: take_profit, stop_loss"
        return refuse(Code.CLASS_LEGS, text, limit=wanted, actual=given)
    return None


def class_type(terms: OrderTerms, _: FieldContext) -> Refusal | None:
    """An oco order is of type limit, at its take-profit price; no class but simple trails."""
    kind, order_class = terms.type, terms.order_class
    if order_class is OrderClass.SIMPLE:
        return None
    if kind is OrderType.TRAILING_STOP:
        return refuse(Code.TYPE_NOT_ALLOWED, f"{order_class.value} orders do not trail")
    if order_class is not OrderClass.OCO:
        return None
    if kind is not OrderType.LIMIT:
        text = "oco orders are of type limit"
        return refuse(Code.CLASS_RULES, text, limit="limit", actual=kind.value)
    profit = terms.take_profit
    if profit and terms.limit_price != profit.limit_price:
        text = "an oco order's limit_price is that of its take_profit leg"
        return refuse(Code.CLASS_RULES, text, limit=profit.limit_price, actual=terms.limit_price)
    return None


def class_time_in_force(terms: OrderTerms, _: FieldContext) -> Refusal | None:
    """Orders with legs are day or gtc."""
    tif = terms.time_in_force
    if terms.order_class is not OrderClass.SIMPLE and tif not in _CLASS_TIFS:
        text = f"{terms.order_class.value} orders are day or gtc"
        return refuse(Code.TIME_IN_FORCE_NOT_ALLOWED, text, limit="day, gtc", actual=tif.value)
    return None


def leg_prices(terms: OrderTerms, _: FieldContext) -> Refusal | None:
    """For an exit that sells: stop < entry < take profit; reversed for an exit that buys."""
    if terms.order_class is OrderClass.SIMPLE:
        return None
    entry = None if terms.order_class is OrderClass.OCO else terms.limit_price or terms.stop_price
    ladder = (
        ("stop_loss.stop_price", terms.stop_loss.stop_price if terms.stop_loss else None),
        ("the entry price", entry),
        ("take_profit.limit_price", terms.take_profit.limit_price if terms.take_profit else None),
    )
    steps = [(name, price) for name, price in ladder if price is not None]
    if exit_side(terms) is Side.BUY:
        steps.reverse()
    for (low, low_price), (high, high_price) in pairwise(steps):
        if low_price >= high_price:
            text = f"{low} must be below {high}"
            return refuse(Code.LEG_PRICES, text, limit=high_price, actual=low_price)
    return None


def asset_class_rules(terms: OrderTerms, context: FieldContext) -> Refusal | None:
    """Crypto takes market, limit and stop_limit orders, simple, gtc or ioc."""
    instrument = context.instrument
    if instrument is None or instrument.asset_class != "crypto":
        return None
    if terms.type not in _CRYPTO_TYPES:
        return refuse(Code.TYPE_NOT_ALLOWED, "not for crypto", actual=terms.type.value)
    if terms.time_in_force not in _CRYPTO_TIFS:
        text = "crypto orders are gtc or ioc"
        actual = terms.time_in_force.value
        return refuse(Code.TIME_IN_FORCE_NOT_ALLOWED, text, limit="gtc, ioc", actual=actual)
    if terms.order_class is not OrderClass.SIMPLE:
        return refuse(Code.CLASS_RULES, "crypto orders are simple", actual=terms.order_class.value)
    return None


def notional_rules(terms: OrderTerms, context: FieldContext) -> Refusal | None:
    """By notional: market, simple, of a fractionable instrument; for equities also day."""
    instrument = context.instrument
    if terms.notional is None or instrument is None:
        return None
    if not instrument.fractionable:
        text = "only fractionable instruments trade by notional"
        return refuse(Code.NOT_FRACTIONABLE, text, version=instrument.version)
    wrong = [
        each.value
        for each, wanted in (
            (terms.type, OrderType.MARKET),
            (terms.order_class, OrderClass.SIMPLE),
            (terms.time_in_force, TimeInForce.DAY),
        )
        if each is not wanted
        and not (isinstance(each, TimeInForce) and instrument.asset_class == "crypto")
    ]
    if wrong:
        text = "orders by notional are market, simple and day"
        limit = "market, simple, day"
        return refuse(Code.NOTIONAL_RULES, text, limit=limit, actual=", ".join(wrong))
    return None


def fractional_rules(terms: OrderTerms, context: FieldContext) -> Refusal | None:
    """Parts of a share: day, simple, not trailing, of a fractionable instrument."""
    instrument = context.instrument
    if instrument is None or not is_fractional(terms, instrument):
        return None
    if not instrument.fractionable:
        text = "the instrument trades in whole shares"
        version = instrument.version
        return refuse(Code.NOT_FRACTIONABLE, text, limit=1, actual=terms.qty, version=version)
    if terms.time_in_force is not TimeInForce.DAY:
        text = "fractional orders must be DAY orders"
        actual = terms.time_in_force.value
        return refuse(Code.FRACTIONAL_RULES, text, limit="day", actual=actual)
    if terms.order_class is not OrderClass.SIMPLE:
        text = "fractional orders must be simple orders"
        actual = terms.order_class.value
        return refuse(Code.FRACTIONAL_RULES, text, limit="simple", actual=actual)
    if terms.type is OrderType.TRAILING_STOP:
        text = "fractional orders must be market, limit, stop, or stop_limit orders"
        return refuse(Code.FRACTIONAL_RULES, text, actual=terms.type.value)
    return None


def lot_size(terms: OrderTerms, context: FieldContext) -> Refusal | None:
    """A qty is a multiple of the lot, unless it is a part of a share that may be one."""
    instrument, qty = context.instrument, terms.qty
    if instrument is None or qty is None or qty % instrument.lot_size == 0:
        return None
    if instrument.fractionable and instrument.asset_class == "us_equity":
        return None
    text = f"qty {qty} is no multiple of the lot"
    version = instrument.version
    return refuse(Code.LOT_SIZE, text, limit=instrument.lot_size, actual=qty, version=version)


def min_qty(terms: OrderTerms, context: FieldContext) -> Refusal | None:
    """A qty reaches the instrument's least; fractionable equities have none."""
    instrument, qty = context.instrument, terms.qty
    if instrument is None or qty is None or qty >= instrument.min_qty:
        return None
    if instrument.fractionable and instrument.asset_class == "us_equity":
        return None
    text = "qty is below the least"
    version = instrument.version
    return refuse(Code.MIN_QTY, text, limit=instrument.min_qty, actual=qty, version=version)


def tick_size(terms: OrderTerms, context: FieldContext) -> Refusal | None:
    """Prices are multiples of the tick: 11.055 is refused, 0.6013 passes."""
    instrument = context.instrument
    if instrument is None:
        return None
    for name, price in _prices(terms):
        tick = instrument.tick_size if price >= _ONE else instrument.tick_size_below_1
        if price % tick:
            text = f"{name} {price} is no multiple of the tick (sub-penny)"
            version = instrument.version
            return refuse(Code.TICK_SIZE, text, limit=tick, actual=price, version=version)
    return None


def extended_hours(terms: OrderTerms, _: FieldContext) -> Refusal | None:
    """Outside the regular session: simple limit orders for the day."""
    if not terms.extended_hours:
        return None
    given = (terms.type, terms.time_in_force, terms.order_class)
    wanted = (OrderType.LIMIT, TimeInForce.DAY, OrderClass.SIMPLE)
    if given != wanted:
        text = "extended hours orders must be simple DAY limit orders"
        actual = ", ".join(each.value for each in given)
        return refuse(Code.EXTENDED_HOURS_RULES, text, limit="limit, day, simple", actual=actual)
    return None


def auction_type(terms: OrderTerms, _: FieldContext) -> Refusal | None:
    """Auction orders are market or limit orders."""
    if terms.time_in_force in _AUCTION_TIFS and terms.type not in _AUCTION_TYPES:
        text = f"{terms.time_in_force.value} orders are of type market or limit"
        return refuse(Code.TYPE_NOT_ALLOWED, text, limit="market, limit", actual=terms.type.value)
    return None


@lru_cache(maxsize=16)
def _reopens_ns(date: str) -> int:
    moment = datetime.combine(datetime.fromisoformat(date), AUCTION_REOPENS, NEW_YORK)
    return int(moment.timestamp()) * SECOND


def auction_window(terms: OrderTerms, context: FieldContext) -> Refusal | None:
    """Refuse opg from 2 minutes before the open and cls from 10 before the close, until 19:00.

        ... 09:28 ──opg refused── 19:00 ...      ... 15:50 ──cls refused── 19:00 ...

    Each first moment is refused, 19:00 itself passes.
    """
    tif, session = terms.time_in_force, context.session
    if tif is TimeInForce.OPG:
        cutoff = session.open_ns - OPG_CUTOFF_NS
    elif tif is TimeInForce.CLS:
        cutoff = session.close_ns - CLS_CUTOFF_NS
    else:
        return None
    if cutoff <= context.now_ns < _reopens_ns(session.date) + context.shift_ns:
        text = f"{tif.value} orders are not taken now (times in ns)"
        return refuse(Code.AUCTION_WINDOW, text, limit=cutoff, actual=context.now_ns)
    return None


def intent_side(terms: OrderTerms, _: FieldContext) -> Refusal | None:
    """An intent fits its side: buy_to_* goes with buy, sell_to_* with sell."""
    intent = terms.position_intent
    if intent is None:
        return None
    buys = intent in (PositionIntent.BUY_TO_OPEN, PositionIntent.BUY_TO_CLOSE)
    if buys != (terms.side is Side.BUY):
        text = f"a {terms.side.value} order cannot be {intent.value}"
        return refuse(Code.POSITION_INTENT, text, limit=terms.side.value, actual=intent.value)
    return None


CHECKS: tuple[Check, ...] = (
    known_symbol,
    tradable,
    qty_or_notional,
    positive_size,
    positive_prices,
    class_legs,
    class_type,
    prices_of_type,
    trail_of_type,
    class_time_in_force,
    leg_prices,
    asset_class_rules,
    notional_rules,
    fractional_rules,
    lot_size,
    min_qty,
    tick_size,
    extended_hours,
    auction_type,
    auction_window,
    intent_side,
)


def check_fields(terms: OrderTerms, context: FieldContext) -> Refusal | None:
    """Return the first refusal, or None if the order is well-formed."""
    for check in CHECKS:
        refusal = check(terms, context)
        if refusal is not None:
            return refusal
    return None
